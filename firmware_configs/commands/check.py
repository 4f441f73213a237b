"""`edge-audit check`: profiles against all rules."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from firmware_configs.commands.options import bundle_option, deliver, document, json_option, needs, out_option

if TYPE_CHECKING:
    from firmware_configs.rules import Finding
    from firmware_configs.waivers import Waiver

COLOURS = {"error": "red", "warning": "yellow", "note": "blue"}
FORMATS = ("text", "json", "sarif", "junit", "github")
FAIL_ON = {"error": ("error",), "warning": ("error", "warning"), "note": ("error", "warning", "note")}


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@bundle_option
@click.option("--against", type=click.Path(path_type=Path), help="The version before: widening needs approval then.")
@click.option("--select", multiple=True, help="Only rules whose code begins so, such as DM2; repeat.")
@click.option("--ignore", multiple=True, help="Do not count this whole code; needs --reason and --until; repeat.")
@click.option("--reason", default="", help="With --ignore: why it is right as it is, in a sentence.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="With --ignore: the last day on which that holds.")
@click.option("--waivers", type=click.Path(path_type=Path), help="File of waivers. Default: edge-audit.toml, if here.")
@click.option(
    "--fail-on", default="warning", show_default=True, type=click.Choice(list(FAIL_ON)), help="Worst allowed."
)
@click.option("--format", "form", default="text", show_default=True, type=click.Choice(FORMATS))
@out_option
@json_option
@click.pass_context
def check(
    ctx: click.Context,
    paths: Sequence[Path],
    bundles: Sequence[Path],
    against: Path | None,
    select: Sequence[str],
    ignore: Sequence[str],
    reason: str,
    until: datetime.datetime | None,
    waivers: Path | None,
    fail_on: str,
    form: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Check profiles (files or folders) against the rules.

    Exit code 0 when there is nothing worse than a note, 1 with findings, 2 when it was asked for in a wrong way.
    A finding that is right as it is may be waived, by --ignore or in a file: with a reason, until a day.
    """
    from firmware_configs.audit import OTHERS, audit, chosen, profiles_in, ran
    from firmware_configs.loader import load
    from firmware_configs.shown import line
    from firmware_configs.waivers import waived

    rules, held = chosen(select), [*_asked(ignore, reason, until), *_written(waivers)]
    previous = load(against).profile if against is not None else None
    declared = needs(bundles)
    files, passed = profiles_in(paths)
    for path in passed:
        if path.name in OTHERS:
            continue
        click.echo(f"passed over {line(str(path))}: no profile (name it to have it checked)", err=True)
    found = [finding for path in files for finding in audit(path, declared, rules, previous)]
    today = datetime.datetime.now(datetime.UTC).date()
    findings = waived(found, held, today, ran(rules, previous), [line(str(path)) for path in files])
    deliver(_told(findings, files, "json" if as_json else form, colours=out is None), out)
    ctx.exit(1 if any(f.level in FAIL_ON[fail_on] and not f.waived for f in findings) else 0)


def _asked(codes: Sequence[str], reason: str, until: datetime.datetime | None) -> "list[Waiver]":
    from firmware_configs.errors import UsageError
    from firmware_configs.rules import ALL
    from firmware_configs.waivers import Waiver

    known = {rule.code for rule in ALL}
    codes = [code.upper() for code in codes]
    for code in codes:
        if many := [one for one in known if one.startswith(code) and one != code]:
            what = f"`{code}` is the beginning of {len(many)} codes, and one reason cannot be right for all of them"
            raise UsageError(what, hint=f"--ignore takes whole codes, and may be repeated: --ignore {min(many)}")
        if code not in known:
            raise UsageError(f"there is no rule `{code}`", hint="list them: edge-audit rules")
    if codes and (len(reason.strip()) < 15 or until is None):
        hint = '--reason "why it is right as it is" --until 2027-01-31'
        raise UsageError("--ignore needs a written reason and a day on which it ends", hint=hint)
    return [Waiver(code=code, reason=reason.strip(), until=until.date()) for code in codes if until is not None]


def _written(path: Path | None) -> "tuple[Waiver, ...]":
    from firmware_configs.waivers import NAME, read_waivers

    here = Path(NAME)
    if path is None:
        return read_waivers(here) if here.exists() else ()
    return read_waivers(path)


def _told(findings: "Sequence[Finding]", files: Sequence[Path], form: str, *, colours: bool) -> str:
    import msgspec

    if form == "json":
        return document({"profiles": len(files), "findings": msgspec.to_builtins(findings)})
    if form == "sarif":
        from importlib.metadata import version

        from firmware_configs.report import sarif

        return document(sarif.document(findings, version("edgeward")))
    if form == "junit":
        from firmware_configs.report import junit
        from firmware_configs.shown import line as plain

        return junit.document(findings, [plain(str(path)) for path in files])
    if form == "github":
        from firmware_configs.report import github

        return "\n".join(github.line(finding) for finding in findings)
    from firmware_configs.shown import counted as count

    lines = [_line(finding, colours=colours) for finding in findings]
    counted = [finding for finding in findings if not finding.waived]
    serious = sum(finding.level != "note" for finding in counted)
    waived = f", {len(findings) - len(counted)} waived" if len(findings) > len(counted) else ""
    told = (count(len(files), "profile"), count(serious, "finding"), count(len(counted) - serious, "note"))
    return "\n".join([*lines, f"{', '.join(told)}{waived}"])


def _line(finding: "Finding", *, colours: bool) -> str:
    level = click.style(finding.level, fg=COLOURS[finding.level]) if colours else finding.level
    where = f" {finding.where}" if finding.where else ""
    at = f"{finding.path}:{finding.line}" if finding.line else finding.path
    if finding.waived:
        return f"{at}:{where} {finding.code} waived: {finding.what}\n    because: {finding.waived}"
    return f"{at}:{where} {finding.code} {level}: {finding.what}\n    fix: {finding.fix}"
