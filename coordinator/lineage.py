"""From the data that a version learned from to the devices that run it: one tree, from values, and its text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from coordinator.progress import loss_text
from coordinator.provenance import Made
from coordinator.rounds import Round
from firmware_configs.messages import Desired, Reported

Running = Literal["serves", "on trial", "fetching", "failed", "returned", "waiting"]


class OnDevice(Struct, frozen=True, kw_only=True):
    """What one device has to do with a version."""

    device: str
    wanted: bool
    running: Running | None = None
    """None: it has not said anything of this version."""
    reason: str = ""


class Version(Struct, frozen=True, kw_only=True):
    """One version, where it came from and where it went.

    Attributes:
        attestation: `signed` by the bundle's role; `none`; or what is wrong with it.
        rounds: those of its run that this home still has in its database.
        children: versions that were made from it.
    """

    bundle: str
    version: str
    sha256: str
    fleets: tuple[str, ...] = ()
    attestation: str = "none"
    made: Made = Made()
    rounds: tuple[Round, ...] = ()
    children: tuple[str, ...] = ()
    rollouts: tuple[str, ...] = ()
    devices: tuple[OnDevice, ...] = ()


def on_devices(
    bundle: str, version: str, desired: Mapping[str, Desired], reported: Mapping[str, Reported]
) -> tuple[OnDevice, ...]:
    """The devices that are wanted to run a version, or that say something of it."""
    found = []
    for device in sorted({*desired, *reported}):
        wanted = desired.get(device, Desired(revision=0)).bundles.get(bundle) == version
        running, reason = _running(bundle, version, reported.get(device))
        if wanted or running is not None:
            found.append(OnDevice(device=device, wanted=wanted, running=running, reason=reason))
    return tuple(found)


def _running(bundle: str, version: str, told: Reported | None) -> tuple[Running | None, str]:
    state = told.bundles.get(bundle) if told is not None else None
    if state is None:
        return None, ""
    if state.serving == version and state.version != version:
        return "serves", ""
    if state.version != version:
        return None, ""
    match state.state:
        case "active":
            return "serves", ""
        case "shadow" | "canary":
            return "on trial", state.state
        case other:
            return other, state.reason


def tree(versions: Sequence[Version]) -> str:
    """For people: the version that was asked for, then its parents, oldest last."""
    return "\n".join(line for depth, one in enumerate(versions) for line in _lines(one, depth))


def _lines(one: Version, depth: int) -> Iterable[str]:
    indent = "   " * depth
    made = one.made
    head = f"{indent}{'└─ from ' if depth else ''}{one.bundle} {one.version}"
    yield f"{head}  sha256 {one.sha256[:16]}…" if one.sha256 else f"{head}  (no longer published)"
    indent += "   " if depth else ""
    yield f"{indent}├─ data: {_window(made)}"
    if made.run:
        yield f"{indent}├─ run {made.run}: {made.parameters.get('strategy', '?')}, {len(made.rounds)} rounds"
        for row in one.rounds:
            yield (f"{indent}│  ├─ round {row.number}: {row.reports} of {row.asked} reports, loss {loss_text(row)}")
    for version, digest in sorted(made.parents.items()):
        yield f"{indent}├─ parent {version}{f' sha256 {digest[:16]}…' if digest else ''}"
    if made.privacy:
        yield f"{indent}├─ privacy: {_privacy(made)}"
    if made.evaluation:
        told = ", ".join(f"{name} {value}" for name, value in made.evaluation.items())
        yield f"{indent}├─ evaluation: {told}"
    if made.code:
        yield f"{indent}├─ code: {', '.join(f'{name} {version}' for name, version in made.code.items())}"
    yield f"{indent}├─ attestation: {one.attestation}{f', fleets {chr(44).join(one.fleets)}' if one.fleets else ''}"
    for rollout in one.rollouts:
        yield f"{indent}├─ rollout {rollout}"
    if one.children:
        yield f"{indent}├─ made from it: {', '.join(one.children)}"
    yield f"{indent}└─ devices: {_summary(one.devices)}"
    for device in one.devices:
        said = device.running or "has not said"
        reason = f" ({device.reason})" if device.reason else ""
        yield f"{indent}   ├─ {device.device}: {said}{reason}{'' if device.wanted else ', not wanted any more'}"


def _window(made: Made) -> str:
    window = made.window
    if window.kind == "on devices":
        since = window.since or "as far back as each device keeps"
        return f"on devices, {since} until {window.until}, {window.devices} or more devices a round"
    return {"declared": "as its card declares it; it was handed in"}.get(window.kind, window.kind)


def _privacy(made: Made) -> str:
    told = made.privacy
    if "epsilon" in told:
        epsilon = f"ε {float(told['epsilon']):.4g} at δ {told.get('delta')}"
        return f"{epsilon}, unit {told.get('unit')}, {told.get('accountant')}"
    return str(told.get("claim", "nothing is claimed"))


def _summary(devices: Sequence[OnDevice]) -> str:
    counts: dict[str, int] = {}
    for one in devices:
        word = one.running or "have not said"
        counts[word] = counts.get(word, 0) + 1
    return ", ".join(f"{count} {word}" for word, count in counts.items()) or "none"
