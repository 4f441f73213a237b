"""`edge-audit`: for people who must be able to prove what a device does. No Python needed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from firmware_configs.cli_group import JSON_HELP, EdgeGroup

if TYPE_CHECKING:
    from firmware_configs.lineage import BundleNeeds
    from firmware_configs.rules import Finding

SHIPPED_BUNDLES = Path(__file__).parent.parent / "models" / "zoo" / "bundles"
COLOURS = {"error": "red", "warning": "yellow", "note": "blue"}

json_option = click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
bundle_option = click.option(
    "--bundle",
    "bundles",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Bundle file whose declared inputs count; repeat. Default: the shipped ones.",
)


@click.group(
    "edge-audit",
    cls=EdgeGroup,
    examples="""
    edge-audit show firmware_configs/profiles/home-gateway.toml
    edge-audit check firmware_configs/profiles
    edge-audit lineage firmware_configs/profiles/home-gateway.toml
    edge-audit why co2 firmware_configs/profiles/home-gateway.toml
    edge-audit rules DM001
    """,
)
def main() -> None:
    """Read device profiles: what is collected, why, for how long, what is decided, and what may leave."""


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@bundle_option
@json_option
@click.pass_context
def check(ctx: click.Context, paths: Sequence[Path], bundles: Sequence[Path], as_json: bool) -> None:
    """Check profiles (files or folders) against all rules.

    Exit code 0 when there is nothing worse than a note, 1 with findings, 2 when a path is wrong.
    """
    import msgspec

    from firmware_configs.audit import audit, profiles_in

    needs = _needs(bundles)
    files = profiles_in(paths)
    findings = [finding for path in files for finding in audit(path, needs)]
    serious = [finding for finding in findings if finding.level != "note"]
    if as_json:
        click.echo(json.dumps({"profiles": len(files), "findings": msgspec.to_builtins(findings)}, indent=2))
    else:
        for finding in findings:
            _print_finding(finding)
        click.echo(f"{len(files)} profiles, {len(serious)} findings, {len(findings) - len(serious)} notes")
    ctx.exit(1 if serious else 0)


def _print_finding(finding: "Finding") -> None:
    level = click.style(finding.level, fg=COLOURS[finding.level])
    where = f" {finding.where}" if finding.where else ""
    click.echo(f"{finding.path}:{where} {finding.code} {level}: {finding.what}\n    fix: {finding.fix}")


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
def show(path: Path) -> None:
    """Tell a profile in words."""
    from firmware_configs.audit import in_words
    from firmware_configs.loader import load

    for line in in_words(load(path).profile):
        click.echo(line)


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
@bundle_option
@json_option
def lineage(path: Path, bundles: Sequence[Path], as_json: bool) -> None:
    """Show how each field gets from the sensor to what leaves; derived, not written."""
    import msgspec

    from firmware_configs.lineage import derive
    from firmware_configs.loader import load

    derived = derive(load(path).profile, _needs(bundles))
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(derived), indent=2))
        return
    width = max((len(step.source) for step in derived.steps), default=0)
    for step in derived.steps:
        click.echo(f"{step.source:<{width}}  →  {step.target}{f'  ({step.how})' if step.how else ''}")
    click.echo(f"unused fields: {', '.join(derived.unused) or 'none'}")
    if derived.missing:
        click.echo(f"missing: {'; '.join(derived.missing)}")


@main.command()
@click.argument("field")
@click.argument("path", type=click.Path(path_type=Path))
@bundle_option
def why(field: str, path: Path, bundles: Sequence[Path]) -> None:
    """Say what FIELD is needed for."""
    from firmware_configs.errors import UsageError
    from firmware_configs.lineage import derive
    from firmware_configs.lineage import why as reasons
    from firmware_configs.loader import load

    profile = load(path).profile
    known = [f.name for source in profile.source for f in source.field]
    if field not in known:
        raise UsageError(f"{path} collects no `{field}`", hint=f"it collects: {', '.join(known)}")
    steps = reasons(derive(profile, _needs(bundles)), field)
    for step in steps:
        click.echo(f"{step.source}  →  {step.target}{f'  ({step.how})' if step.how else ''}")
    if not steps:
        click.echo(f"nothing needs `{field}`: do not collect it")


@main.command()
@click.argument("code", required=False)
@json_option
def rules(code: str | None, as_json: bool) -> None:
    """List the rules, or explain one."""
    from firmware_configs.errors import UsageError
    from firmware_configs.rules import ALL

    chosen = [rule for rule in ALL if code in (None, rule.code)]
    if not chosen:
        raise UsageError(f"there is no rule `{code}`", hint="list them: edge-audit rules")
    if as_json:
        told: list[dict[str, Any]] = [
            {"code": rule.code, "level": rule.level, "title": rule.title, "why": rule.why} for rule in chosen
        ]
        click.echo(json.dumps(told, indent=2))
        return
    for rule in chosen:
        click.echo(f"{rule.code}  {rule.level:<8} {rule.title}")
        if code:
            click.echo(f"  {rule.why}")


def _needs(bundles: Sequence[Path]) -> list["BundleNeeds"]:
    from firmware_configs.bundle_needs import read_needs

    return [read_needs(path) for path in (bundles or sorted(SHIPPED_BUNDLES.glob("*.edgeward")))]


if __name__ == "__main__":
    main()
