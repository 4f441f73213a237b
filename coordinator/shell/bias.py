"""`edge-coordinator bias`: whom a model serves worse, and who is shown what, by the groups that a profile names.

One secret sum over the devices (`coordinator.shell.grouped`), with the noise that the profile promises; everything told
here is made of that sum, so telling it again costs nothing.
"""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from coordinator.errors import NotDeclared, NothingReleased
from coordinator.shell.declared_sum import Asked, add_up
from firmware_configs.loader import load
from firmware_configs.profile import Egress, Privacy, Profile, Subgroups
from firmware_configs.subgroups import Shape, shape_of
from models import subgroups
from models.subgroups import Gap, Group

FILE = "bias.json"


class Bias(Struct, frozen=True, kw_only=True):
    """What came out."""

    run: str
    bundle: str
    version: str
    profile: str
    devices: int
    privacy: str
    """The claim, in words."""
    epsilon: float | None
    """Of all sums of this bundle so far; None: no noise was promised."""
    deviation: float
    """Of the noise on each number."""
    groups: dict[str, Group]
    exposures: dict[str, dict[str, dict[str, float]]]
    gaps: list[Gap]
    made_ms: int


def declared(profile: Path, model: str) -> tuple[Profile, Shape, Subgroups, Egress, Privacy]:
    """What the profile says of the model's groups.

    Raises:
        ProfileError: it cannot be used.
        NotDeclared: it compares no groups of the model.
    """
    loaded = load(profile).profile
    shape = shape_of(loaded, model)
    own = next((one.subgroups for one in loaded.model if one.name == model), None)
    egress = next((one for one in loaded.egress if one.kind == "statistic"), None)
    if shape is None or own is None or egress is None or egress.privacy is None:
        hint = "declare [model.subgroups] and an [[egress]] of kind statistic with privacy, on the devices too"
        raise NotDeclared(f"{profile} compares no groups of `{model}`", hint=hint)
    return loaded, shape, own, egress, egress.privacy


def look(home: Path, bundle: str, profile: Path, asked: Asked, say: Callable[[str], None]) -> Bias:
    """Ask the devices for a sum, and tell what it says.

    Raises:
        NotDeclared, UnknownBundle, UnknownDevice: nobody was asked.
        PrivacyRefused: the budget is spent; nobody was asked.
        RoundError: no sum came about; nothing is known and nothing is spent.
    """
    home = home.resolve()
    loaded, shape, own, egress, promised = declared(profile, bundle)
    found = add_up(home, bundle, shape, egress, promised, None, asked, say)
    limits = {
        "auc": own.auc_gap_max,
        "calibration": own.calibration_gap_max,
        "exposure": own.exposure_gap_max,
    }
    made = Bias(
        run=found.run,
        bundle=bundle,
        version=found.version,
        profile=f"{loaded.name} {loaded.version}",
        devices=found.devices,
        privacy=found.privacy,
        epsilon=found.epsilon,
        deviation=found.deviation,
        groups=subgroups.groups_of(found.total, shape),
        exposures=subgroups.exposures_of(found.total, shape),
        gaps=subgroups.gaps(found.total, shape, found.deviation, limits, np.random.default_rng(0)),
        made_ms=int(time.time() * 1_000),
    )
    (home / "runs" / found.run / FILE).write_bytes(msgspec.json.encode(made))
    return made


def last(home: Path, bundle: str) -> Bias:
    """What was found last of a bundle, without asking anybody.

    Raises:
        NothingReleased: nothing was.
    """
    made = [msgspec.json.decode(path.read_bytes(), type=Bias) for path in sorted((home / "runs").glob(f"*/{FILE}"))]
    own = [one for one in made if one.bundle == bundle]
    if not own:
        raise NothingReleased(f"groups of `{bundle}` were never compared", hint="edge-coordinator bias --profile FILE")
    return max(own, key=lambda one: one.made_ms)


def in_words(found: Bias) -> list[str]:
    """The same for people."""
    lines = [f"{found.bundle} {found.version} on {found.devices} devices, by groups of {found.profile}"]
    lines += [f"  {found.privacy}", "  group                   examples  rate    AUC     chance less rate"]
    for name, one in found.groups.items():
        lines.append(f"  {name:<20} {one.mass:>11,.0f}  {one.rate:6.3f}  {one.auc:6.3f}  {one.calibration:+7.3f}")
    for place, groups in found.exposures.items():
        for name, shares in groups.items():
            told = ", ".join(f"{item or 'a model’s choice'} {share:.3f}" for item, share in shares.items())
            lines.append(f"  shown first at {place}, {name}: {told}")
    for gap in found.gaps:
        who = f" ({gap.between[0]} above {gap.between[1]})" if gap.between[0] else ""
        lines.append(
            f"  {gap.verdict}: gap in {gap.what} {gap.value:.3f}{who}, between {gap.low:.3f} and {gap.high:.3f}; "
            f"at most {gap.limit:g} is declared"
        )
    return lines
