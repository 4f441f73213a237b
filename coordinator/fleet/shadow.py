"""What is wanted of a device against what it runs: revisions, conflicts, differences.

The rules are those of cloud device shadows and twins (AWS IoT Device Shadow, Azure device twin): the wanted state has a
number that only rises; a writer may name the number that it saw, and is refused when another one wrote meanwhile; the
device echoes the number of what it took, and the difference of both is what is still to be done.
"""

from collections.abc import Callable

import msgspec
from msgspec import Struct

from coordinator.errors import RevisionConflict
from firmware_configs.messages import Desired, Reported

Change = Callable[[Desired], Desired]


class Difference(Struct, frozen=True, kw_only=True):
    """One thing that is not as it is wanted."""

    what: str
    """`revision`, or `bundle NAME`."""
    wanted: str
    runs: str
    """Empty: nothing."""
    why: str = ""
    """In the device's words, where it said."""


def revise(
    held: Desired, change: Change, *, device: str, by: str, above: int = 0, if_revision: int | None = None
) -> Desired:
    """The next wanted state of a device.

    Args:
        held: the newest one.
        change: old state → new state; revision, device and writer are set here.
        by: id of this coordinator.
        above: a revision that must be passed, such as the one that the device reports.
        if_revision: the number that the writer saw; None: it does not care.
    Raises:
        RevisionConflict: another one was written meanwhile.
    """
    if if_revision is not None and held.revision != if_revision:
        raise RevisionConflict(
            f"`{device}`: revision {held.revision} is wanted now, not {if_revision}",
            hint=f"look at it (edge-coordinator fleet show {device}), then pass --if-revision {held.revision}",
        )
    revision = max(held.revision, above) + 1
    return msgspec.structs.replace(change(held), revision=revision, device=device, by=by)


def differences(desired: Desired, reported: Reported | None) -> list[Difference]:
    """What of the wanted state does not hold on the device; nothing is listed for a state that was never wanted."""
    if not desired.revision:
        return []
    if reported is None:
        return [Difference(what="revision", wanted=str(desired.revision), runs="", why="it has reported nothing")]
    found = []
    if reported.revision != desired.revision:
        found.append(
            Difference(what="revision", wanted=str(desired.revision), runs=str(reported.revision), why=reported.ignored)
        )
    for name, version in sorted(desired.bundles.items()):
        state = reported.bundles.get(name)
        if state is not None and state.version == version and state.state in {"active", "shadow", "canary"}:
            continue
        serves = "" if state is None else state.serving or (state.version if state.state == "active" else "")
        why = "" if state is None else f"{state.state}: {state.reason}" if state.reason else state.state
        found.append(Difference(what=f"bundle {name}", wanted=version, runs=serves, why=why))
    for kind, label in sorted(desired.documents.items()):
        state, version = reported.documents.get(kind), label.rpartition("-")[2]
        if state is not None and (state.version, state.state) == (version, "active"):
            continue
        why = "" if state is None else f"{state.state}: {state.reason}" if state.reason else state.state
        # Of a document that is refused the report tells why, not what runs meanwhile.
        runs = state.version if state is not None and state.state == "active" else ""
        found.append(Difference(what=kind, wanted=label, runs=runs, why=why))
    return found
