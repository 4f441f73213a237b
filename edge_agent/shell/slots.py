"""Two places for the profile that came from the registry: the one that runs, and the one before or the one to come.

A new profile is laid into the free place and tried at the next start. One that cannot be read, or under which the
agent does not live for CONFIRM_S twice, gives way to the one before: the other place, or the settings' own file.
"""

import contextlib
import os
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

FOLDER: Final = "profiles"
POINTER: Final = "slot.json"
CONFIRM_S: Final = 10.0
STARTS_MAX: Final = 2
GIVEN_UP_MAX: Final = 16
State = Literal["staged", "trying", "good"]


class Slot(Struct, frozen=True, kw_only=True):
    """A place and what lies there; `file` empty: the settings' own profile."""

    file: str = ""
    documents: dict[str, str] = {}
    """profile, experiment → NAME-VERSION."""


class Pointer(Struct, frozen=True, kw_only=True):
    """Which place is used."""

    active: Slot = Slot()
    before: Slot = Slot()
    state: State = "good"
    starts: int = 0
    given_up: dict[str, str] = {}
    """NAME-VERSION → why it is not taken again."""


def read(state_dir: Path) -> Pointer:
    """The pointer; one that is not there, or torn, says that the settings' own profile runs."""
    try:
        return msgspec.json.decode((state_dir / FOLDER / POINTER).read_bytes(), type=Pointer)
    except (OSError, msgspec.MsgspecError):
        return Pointer()


def choose(state_dir: Path, own: Path) -> Path:
    """The profile to start with; counts the starts of one that is on trial."""
    held = read(state_dir)
    if held.state != "good":
        if held.state == "trying" and held.starts >= STARTS_MAX:
            give_up(state_dir, f"the agent ended {held.starts} times within {CONFIRM_S:.0f} s under it")
            return choose(state_dir, own)
        _write(state_dir, msgspec.structs.replace(held, state="trying", starts=held.starts + 1))
    return in_use(state_dir, own)


def in_use(state_dir: Path, own: Path) -> Path:
    """The profile of the place that is used."""
    held = read(state_dir)
    path = state_dir / FOLDER / held.active.file
    return path if held.active.file and path.is_file() else own


def stage(state_dir: Path, kind: str, label: str, content: bytes) -> None:
    """Lay a profile into the free place, and have it tried at the next start."""
    held = read(state_dir)
    running = held.before if held.state == "staged" else held.active
    file = "b.toml" if running.file == "a.toml" else "a.toml"
    if file in (held.active.file, held.before.file):
        # While it is filled nothing leads there: a power cut must not leave a new profile under an old one's name.
        state: State = "good" if held.state == "staged" else held.state
        held = msgspec.structs.replace(held, active=running, before=Slot(), state=state)
        _write(state_dir, held)
    _lay(state_dir / FOLDER / file, content)
    documents = {"profile": label} if kind == "profile" else {**running.documents, kind: label}
    new = Slot(file=file, documents=documents)
    _write(state_dir, msgspec.structs.replace(held, active=new, before=running, state="staged", starts=0))


def confirm(state_dir: Path) -> None:
    """The agent lives under it."""
    held = read(state_dir)
    if held.state == "trying":
        _write(state_dir, msgspec.structs.replace(held, state="good", starts=0))


def give_up(state_dir: Path, reason: str) -> None:
    """Back to the one before."""
    held = read(state_dir)
    labels = set(held.active.documents.values()) - set(held.before.documents.values())
    given_up = dict(list({**held.given_up, **dict.fromkeys(labels, reason)}.items())[-GIVEN_UP_MAX:])
    _write(state_dir, Pointer(active=held.before, given_up=given_up))


def _write(state_dir: Path, pointer: Pointer) -> None:
    _lay(state_dir / FOLDER / POINTER, msgspec.json.encode(pointer))


def _lay(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    with contextlib.suppress(OSError):
        descriptor = os.open(path.parent, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
