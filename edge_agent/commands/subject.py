"""What a person may ask of a device: what it knows about them, a copy, a correction, and to be forgotten."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_agent.commands.options import (
    json_option,
    profile_option,
    reason_option,
    settings_option,
    show,
    state_option,
)

if TYPE_CHECKING:
    from edge_agent.settings import Settings


@click.group()
def subject() -> None:
    """What this device knows about a person; a copy of it; put it right; erase it. Nothing of it leaves."""


@subject.command("ls")
@reason_option
@state_option
@json_option
def list_subjects(reason: str, state_dir: Path, as_json: bool) -> None:
    """Everybody of whom this device holds anything."""
    from edge_agent.shell.access import admit
    from edge_agent.shell.subject import subjects

    admit(state_dir, "subject", what="subject ls", reason=reason)
    found = subjects(state_dir)
    show(found, "\n".join(found) or "nobody", as_json)


@subject.command("show")
@click.argument("subject")
@reason_option
@state_option
@json_option
def show_one(subject: str, reason: str, state_dir: Path, as_json: bool) -> None:
    """All that this device knows about SUBJECT, in plain words (GDPR Art. 15)."""
    from edge_agent.shell.access import admit
    from edge_agent.shell.subject import about
    from edge_agent.subject_told import in_words

    admit(state_dir, "subject", subject=subject, what="subject show", reason=reason)
    found = about(state_dir, subject)
    show(found, "\n".join(in_words(found)), as_json)


@subject.command()
@click.argument("subject")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File for the person, JSON.")
@reason_option
@state_option
@json_option
def export(subject: str, out: Path, reason: str, state_dir: Path, as_json: bool) -> None:
    """Write all that this device knows about SUBJECT as JSON (GDPR Art. 20); its schema: docs/subject.schema.json."""
    import msgspec

    from edge_agent.shell.access import admit
    from edge_agent.shell.subject import about

    admit(state_dir, "subject", subject=subject, what="subject export", reason=reason)
    found = about(state_dir, subject)
    _write(out, msgspec.json.format(msgspec.json.encode(found)))
    counts = {name: len(part) for name, part in found.items() if isinstance(part, list | dict)}
    show({"file": str(out), **counts}, f"{out}: {len(found['decisions'])} decisions and all else", as_json)


@subject.command()
@click.argument("subject")
@click.argument("correction", metavar="FIELD=VALUE")
@reason_option
@settings_option
@json_option
def rectify(subject: str, correction: str, reason: str, settings_path: Path, as_json: bool) -> None:
    """Put right what was last heard of SUBJECT: FIELD=VALUE, one of the fields under `Last heard` of `subject show`.

    What is counted from events (the profile), decisions that were made and examples cannot be put right: a count of
    what happened is not wrong because a value was. Erase them, or send events with right values.
    """
    from edge_agent.shell import rights
    from edge_agent.shell.access import admit

    field, equals, text = correction.partition("=")
    if not equals:
        raise click.UsageError("write FIELD=VALUE")
    settings = _settings(settings_path)
    admit(Path(settings.state_dir), "rights", subject=subject, what=f"subject rectify {field}", reason=reason)
    value = rights.corrected(Path(settings.state_dir), subject, field, text)
    done, _ = rights.fulfil(settings, (subject,), {field: value})
    words = f"{subject}: {field} is {value} now" if done else "put right when the agent starts"
    show({"subject": subject, "field": field, "value": value, "done": done}, words, as_json)


@subject.command()
@click.argument("subject")
@click.option("--person", is_flag=True, help="Also every subject that is the same person here (see `people show`).")
@click.option("--out", type=click.Path(path_type=Path), help="File for the person's copy of the receipt.")
@click.option("--yes", is_flag=True, help="Do not ask again.")
@reason_option
@settings_option
@profile_option
@json_option
@click.pass_context
def erase(
    ctx: click.Context,
    subject: str,
    person: bool,
    out: Path | None,
    yes: bool,
    reason: str,
    settings_path: Path,
    profile: Path | None,
    as_json: bool,
) -> None:
    """Erase everything of SUBJECT from this device, for good (GDPR Art. 17), and write a signed receipt.

    A running agent starts anew for it (a second or two; nothing is lost, the broker keeps messages meanwhile). What is
    counted for everybody together stays, and so does what has left. Events that come later are kept again, unless
    consent says no. Exit code 1 when a trace may be left.
    """
    from edge_agent.shell import rights
    from edge_agent.shell.access import admit
    from firmware_configs.loader import load

    settings = _settings(settings_path)
    admit(Path(settings.state_dir), "rights", subject=subject, what="subject erase", reason=reason)
    named: tuple[str, ...] = (subject,)
    if person:
        named = rights.person(settings, load(profile or Path(settings.profile)).profile, subject)
    if not yes and not as_json:
        click.confirm(f"Erase everything of {', '.join(named)}? It cannot be taken back", abort=True)
    kept = rights.clear(settings, named)
    done, copy = rights.fulfil(settings, named, {})
    if not done or copy is None:
        show({"done": False}, "erased when the agent starts; its log says why not yet", as_json)
        ctx.exit(1)
    import msgspec

    if out is not None:
        _write(out, msgspec.json.format(msgspec.json.encode(copy)))
    receipt = copy.receipt
    data = {**msgspec.to_builtins(copy), "broker": kept}
    lines = [f"{what:<26} {count:>8,} rows" for what, count in sorted(receipt.erased.items())]
    lines += [f"still mentions them: {what}, {count} rows" for what, count in receipt.left.items()]
    if not receipt.compacted:
        lines.append("the file could not be written anew, another process reads it: erase again")
    lines += [kept] if kept else []
    signed = "signed" if receipt.signature else "not signed (no superlink.node_key)"
    lines.append(f"erased in {receipt.took_ms} ms; receipt {receipt.number}, {signed}" + (f": {out}" if out else ""))
    show(data, "\n".join(lines), as_json)
    ctx.exit(1 if receipt.left or not receipt.compacted else 0)


def _settings(path: Path) -> "Settings":
    from edge_agent.settings import load

    return load(path, os.environ)


def _write(out: Path, raw: bytes) -> None:
    from edge_agent.errors import SubjectUnknown
    from firmware_configs import whole_file

    try:
        whole_file.write(out, raw, 0o600)
    except OSError as error:
        raise SubjectUnknown(f"{out}: {error.strerror}", hint="choose another --out") from None
