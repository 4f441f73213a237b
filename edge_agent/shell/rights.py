"""A person's rights, exercised beside the running agent: a correction or an erasure is left as a wish and awaited.

Commands and the device's page stand on it, so that they do the same.
"""

import math
import time
from pathlib import Path

from edge_agent.errors import SubjectUnknown
from edge_agent.settings import Settings
from edge_agent.shell import eraser, visit
from edge_agent.shell.clock import wall_ms
from edge_agent.shell.subject import about
from edge_agent.shell.vitals import ask
from firmware_configs.erasure import Copy
from firmware_configs.errors import EdgeError, UsageError
from firmware_configs.messages import Topics
from firmware_configs.profile import Profile

WAIT_S = 60.0
"""How long to wait for a running agent, which ends in order, sends the eraser, and starts again."""


def fulfil(
    settings: Settings, subjects: tuple[str, ...], fields: dict[str, float | str | bool]
) -> tuple[bool, Copy | None]:
    """Leave a wish, and see it fulfilled: by the running agent's next start, or here when none runs.

    Args:
        fields: held fields to put right; empty: everything of the subjects is to be erased.
    Returns:
        Whether it is done, and the person's copy of the receipt of an erasure.
    Raises:
        ErasureFailed, StoreError: nothing was changed.
    """
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


def clear(settings: Settings, subjects: tuple[str, ...]) -> str:
    """Take the consent that the broker retains away, or it would be told again; why not, in words."""
    try:
        for subject in subjects:
            visit.publish(settings, Topics(settings.device).of("consent", subject), b"")
    except EdgeError as error:
        return f"the broker may still hold a consent: {error.what}; fix: {error.hint}"
    return ""


def person(settings: Settings, profile: Profile, subject: str) -> tuple[str, ...]:
    """All subjects that are the same person here, the subject among them."""
    from edge_agent.shell.kin import graph

    now_ms = wall_ms()
    found = graph(Path(settings.state_dir), profile, now_ms)
    return found.subjects(subject, now_ms) if found is not None else (subject,)


def corrected(state_dir: Path, subject: str, field: str, text: str) -> float | str | bool:
    """The value that a held field is to have, of the same type as the one that is held.

    Raises:
        SubjectUnknown: nothing is known of the subject, or no such field is held.
        UsageError: the text is no such value.
    """
    held = about(state_dir, subject)["held_fields"]
    if field not in held:
        hint = f"held are {', '.join(held) or 'none'}; the rest is counted from events: erase it, or send right events"
        raise SubjectUnknown(f"no field `{field}` is held of `{subject}`", hint=hint)
    old = held[field]["value"]
    if isinstance(old, bool):
        if text not in {"true", "false"}:
            raise UsageError(f"{field} is true or false", hint="write one of the two")
        return text == "true"
    if isinstance(old, str):
        return text
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{field} is a number", hint="write it with digits")
    return value
