"""What a person may ask of a device: what it knows about them, a copy, a correction, and to be forgotten."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_agent.commands.options import json_option, profile_option, settings_option, show, state_option

if TYPE_CHECKING:
    from edge_agent.settings import Settings

WAIT_S = 60.0
"""How long a command waits for a running agent, which ends in order, sends the eraser, and starts again."""


@click.group()
def subject() -> None:
    """What this device knows about a person; a copy of it; put it right; erase it. Nothing of it leaves."""


@subject.command("ls")
@state_option
@json_option
def list_subjects(state_dir: Path, as_json: bool) -> None:
    """Everybody of whom this device holds anything."""
    from edge_agent.shell.subject import subjects

    found = subjects(state_dir)
    show(found, "\n".join(found) or "nobody", as_json)


@subject.command("show")
@click.argument("subject")
@state_option
@json_option
def show_one(subject: str, state_dir: Path, as_json: bool) -> None:
    """All that this device knows about SUBJECT, in plain words (GDPR Art. 15)."""
    from edge_agent.shell.subject import about
    from edge_agent.subject_told import in_words

    found = about(state_dir, subject)
    show(found, "\n".join(in_words(found)), as_json)


@subject.command()
@click.argument("subject")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File for the person, JSON.")
@state_option
@json_option
def export(subject: str, out: Path, state_dir: Path, as_json: bool) -> None:
    """Write all that this device knows about SUBJECT as JSON (GDPR Art. 20); its schema: docs/subject.schema.json."""
    import msgspec

    from edge_agent.shell.subject import about

    found = about(state_dir, subject)
    _write(out, msgspec.json.format(msgspec.json.encode(found)))
    counts = {name: len(part) for name, part in found.items() if isinstance(part, list | dict)}
    show({"file": str(out), **counts}, f"{out}: {len(found['decisions'])} decisions and all else", as_json)


@subject.command()
@click.argument("subject")
@click.argument("correction", metavar="FIELD=VALUE")
@settings_option
@json_option
def rectify(subject: str, correction: str, settings_path: Path, as_json: bool) -> None:
    """Put right what was last heard of SUBJECT: FIELD=VALUE, one of the fields under `Last heard` of `subject show`.

    What is counted from events (the profile), decisions that were made and examples cannot be put right: a count of
    what happened is not wrong because a value was. Erase them, or send events with right values.
    """
    from edge_agent.errors import SubjectUnknown
    from edge_agent.shell.subject import about

    field, equals, text = correction.partition("=")
    if not equals:
        raise click.UsageError("write FIELD=VALUE")
    settings = _settings(settings_path)
    held = about(Path(settings.state_dir), subject)["held_fields"]
    if field not in held:
        hint = f"held are {', '.join(held) or 'none'}; the rest is counted from events: erase it, or send right events"
        raise SubjectUnknown(f"no field `{field}` is held of `{subject}`", hint=hint)
    value = _like(held[field]["value"], text, field)
    done, _ = _fulfil(settings, (subject,), {field: value})
    words = f"{subject}: {field} is {value} now" if done else "put right when the agent starts"
    show({"subject": subject, "field": field, "value": value, "done": done}, words, as_json)


@subject.command()
@click.argument("subject")
@click.option("--person", is_flag=True, help="Also every subject that is the same person here (see `people show`).")
@click.option("--out", type=click.Path(path_type=Path), help="File for the person's copy of the receipt.")
@click.option("--yes", is_flag=True, help="Do not ask again.")
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
    settings_path: Path,
    profile: Path | None,
    as_json: bool,
) -> None:
    """Erase everything of SUBJECT from this device, for good (GDPR Art. 17), and write a signed receipt.

    A running agent starts anew for it (a second or two; nothing is lost, the broker keeps messages meanwhile). What is
    counted for everybody together stays, and so does what has left. Events that come later are kept again, unless
    consent says no. Exit code 1 when a trace may be left.
    """
    settings = _settings(settings_path)
    named = _person(settings, profile, subject) if person else (subject,)
    if not yes and not as_json:
        click.confirm(f"Erase everything of {', '.join(named)}? It cannot be taken back", abort=True)
    kept = _clear(settings, named)
    done, copy = _fulfil(settings, named, {})
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


def _fulfil(settings: "Settings", subjects: tuple[str, ...], fields: dict[str, Any]) -> tuple[bool, Any]:
    """Leave a wish, and see it fulfilled: by the running agent's next start, or here when none runs."""
    from edge_agent.shell import eraser
    from edge_agent.shell.vitals import ask
    from firmware_configs.erasure import Copy

    state_dir = Path(settings.state_dir)
    running = ask(state_dir) is not None
    wish = eraser.leave(state_dir, subjects, fields)
    path = state_dir / eraser.name_of(wish)
    if not running:
        eraser.take_up(settings)
    deadline = time.monotonic() + WAIT_S
    while (path.exists() or (running and ask(state_dir) is None)) and time.monotonic() < deadline:
        time.sleep(0.05)
    if path.exists():
        return False, None
    found = [one for one in eraser.receipts(state_dir) if one.id == wish.id]
    return True, Copy(receipt=found[0], nonce=wish.nonce) if found else None


def _clear(settings: "Settings", subjects: tuple[str, ...]) -> str:
    """Take the consent that the broker retains away, or it would be told again; why not, in words."""
    from edge_agent.shell import visit
    from firmware_configs.errors import EdgeError
    from firmware_configs.messages import Topics

    try:
        for subject in subjects:
            visit.publish(settings, Topics(settings.device).of("consent", subject), b"")
    except EdgeError as error:
        return f"the broker may still hold a consent: {error.what}; fix: {error.hint}"
    return ""


def _settings(path: Path) -> "Settings":
    from edge_agent.settings import load

    return load(path, os.environ)


def _person(settings: "Settings", profile: Path | None, subject: str) -> tuple[str, ...]:
    from edge_agent.shell.clock import wall_ms
    from edge_agent.shell.kin import graph
    from firmware_configs.loader import load

    now_ms = wall_ms()
    found = graph(Path(settings.state_dir), load(profile or Path(settings.profile)).profile, now_ms)
    return found.subjects(subject, now_ms) if found is not None else (subject,)


def _like(old: float | str | bool, text: str, field: str) -> float | str | bool:
    """A value of the same type as the one that is held."""
    if isinstance(old, bool):
        if text not in {"true", "false"}:
            raise click.UsageError(f"{field} is true or false")
        return text == "true"
    if isinstance(old, str):
        return text
    try:
        return float(text)
    except ValueError:
        raise click.UsageError(f"{field} is a number") from None


def _write(out: Path, raw: bytes) -> None:
    from edge_agent.errors import SubjectUnknown

    draft = out.with_name(f".{out.name}.part")
    try:
        draft.touch(mode=0o600)
        draft.write_bytes(raw)
        draft.replace(out)
    except OSError as error:
        raise SubjectUnknown(f"{out}: {error.strerror}", hint="choose another --out") from None
