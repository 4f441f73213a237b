"""`edge-coordinator drift`: how far a fleet, or a cohort of it, has moved from what was usual on each of its devices.

One secret sum over the devices, with the noise that the profile promises; everything told here is made of that sum, so
telling it again costs nothing.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec import Struct

from coordinator.errors import NotDeclared, NothingReleased, UnknownDevice
from coordinator.fleet.selection import parse, select
from coordinator.shell.fleet_store import FleetStore
from firmware_configs.fleet_drift import DriftShape, drift_shape_of
from firmware_configs.loader import load
from firmware_configs.profile import Egress, Privacy, Profile
from models.fleet_drift import Moved, moved

if TYPE_CHECKING:
    from coordinator.shell.declared_sum import Asked

FILE = "drift.json"


class FleetDrift(Struct, frozen=True, kw_only=True):
    """What came out."""

    run: str
    bundle: str
    version: str
    profile: str
    cohort: str
    """The selection that was asked; empty: all devices."""
    devices: int
    privacy: str
    """The claim, in words."""
    epsilon: float | None
    """Of all sums of this bundle so far; None: no noise was promised."""
    deviation: float
    """Of the noise on each number."""
    detectors: list[Moved]
    made_ms: int


def declared(profile: Path, model: str) -> tuple[Profile, DriftShape, Egress, Privacy]:
    """What the profile lets be added up of its detectors.

    Raises:
        ProfileError: it cannot be used.
        NotDeclared: nothing.
    """
    loaded = load(profile).profile
    shape = drift_shape_of(loaded, model)
    egress = next((one for one in loaded.egress if one.kind == "statistic"), None)
    if shape is None or egress is None or egress.privacy is None:
        hint = "set fleet = true in a [[drift]], with an [[egress]] of kind statistic and privacy, on the devices too"
        raise NotDeclared(f"{profile} lets no detector that `{model}` depends on be added up", hint=hint)
    return loaded, shape, egress, egress.privacy


def look(
    home: Path, bundle: str, profile: Path, where: Sequence[str], asked: "Asked", say: Callable[[str], None]
) -> FleetDrift:
    """Ask the devices of a cohort for a sum, and tell what it says.

    Args:
        where: selections, as `fleet ls --where` takes them; empty: all devices.
    Raises:
        NotDeclared, SelectionInvalid, UnknownBundle, UnknownDevice: nobody was asked.
        PrivacyRefused: the budget is spent; nobody was asked.
        RoundError: no sum came about; nothing is known and nothing is spent.
    """
    from coordinator.shell.declared_sum import add_up  # with Flower, which whoever only reads needs not

    home = home.resolve()
    loaded, shape, egress, promised = declared(profile, bundle)
    devices = None
    if where:
        views = select(FleetStore(home).views(), parse(where))
        devices = [view.name for view in views if not view.revoked]
        if not devices:
            raise UnknownDevice(f"no device is {','.join(where)}", hint="see: edge-coordinator fleet ls --where …")
    found = add_up(home, bundle, shape, egress, promised, devices, asked, say)
    made = FleetDrift(
        run=found.run,
        bundle=bundle,
        version=found.version,
        profile=f"{loaded.name} {loaded.version}",
        cohort=",".join(where),
        devices=found.devices,
        privacy=found.privacy,
        epsilon=found.epsilon,
        deviation=found.deviation,
        detectors=moved(found.total, shape, promised.clip_norm, found.deviation, np.random.default_rng(0)),
        made_ms=int(time.time() * 1_000),
    )
    (home / "runs" / found.run / FILE).write_bytes(msgspec.json.encode(made))
    return made


def newest(home: Path) -> list[FleetDrift]:
    """What was found last of each bundle and cohort, the newest first."""
    found: dict[tuple[str, str], FleetDrift] = {}
    made = [msgspec.json.decode(path.read_bytes(), type=FleetDrift) for path in (home / "runs").glob(f"*/{FILE}")]
    for one in sorted(made, key=lambda one: one.made_ms, reverse=True):
        found.setdefault((one.bundle, one.cohort), one)
    return list(found.values())


def last(home: Path, bundle: str, where: Sequence[str] = ()) -> FleetDrift:
    """What was found last of a bundle and a cohort, without asking anybody.

    Raises:
        NothingReleased: nothing was.
    """
    cohort = ",".join(where)
    for one in newest(home):
        if (one.bundle, one.cohort) == (bundle, cohort):
            return one
    of = f"`{bundle}`, {cohort or 'all devices'}"
    raise NothingReleased(f"the drift of {of} was never added up", hint="edge-coordinator drift BUNDLE --profile FILE")


def in_words(found: FleetDrift) -> list[str]:
    """The same for people."""
    who = f"{found.devices} devices ({found.cohort or 'all'})"
    lines = [
        f"{found.bundle} {found.version} on {who}, by detectors of {found.profile}",
        f"  {found.privacy}",
        "  detector             index   between           ",
    ]
    for one in found.detectors:
        high = f"{one.high:.3f}" if one.high is not None else "?"
        lines.append(f"  {one.name:<20} {one.psi:.3f}   {one.low:.3f} and {high:<9} {one.verdict}: {one.what}")
    return lines
