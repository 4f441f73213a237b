"""A round's reports looked at one by one: what does not fit is left out, and who keeps not fitting is not asked.

Only of rounds in which single updates are seen and may be looked at: not in secret sums, where there are none, and not
in private rounds, whose account knows nothing of it. Those rounds, too, leave out whoever is in quarantine.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coordinator import aggregate, quarantine
from coordinator.aggregate import Report
from coordinator.quarantine import Claim, Finding, Standing
from coordinator.shell.quarantine_store import QuarantineStore
from coordinator.shell.store import Store
from models import arrays
from models.errors import ModelError

F64 = NDArray[np.float64]
FILE = "direction.npz"


def allowed(home: Path, nodes: Sequence[int]) -> list[int]:
    """The nodes that may be asked: all but those of quarantined devices."""
    inside = QuarantineStore(home).entries()
    shut = {device.node for device in Store(home).devices(revoked=True) if device.name in inside}
    return [node for node in nodes if node not in shut]


def vetted(
    home: Path, run: str, number: int, reports: Sequence[Report], clip_norm: float, sent: float = 0.0
) -> tuple[tuple[Report, ...], tuple[str, ...]]:
    """The reports that count, and why others do not; standings and quarantine are written.

    Args:
        reports: of a round, as they will be averaged; each knows its node and its norm before it was bounded.
        clip_norm: that the round asked for.
        sent: share of the numbers that it asked for, the largest; 0: all.
    """
    if not reports:
        return (), ()
    store = QuarantineStore(home)
    names = {device.node: device.name for device in Store(home).devices(revoked=True)}
    held = store.standings()
    known = {node: held[name] for node, name in names.items() if name in held}
    rows = aggregate.rows(dict.fromkeys(reports[0].delta, np.zeros(0, np.float32)), reports)
    claims = [quarantine.claim_of(report) for report in reports]
    place = home / "runs" / run / FILE
    before = _direction(place, rows.shape[1])
    look = partial(
        quarantine.found, clip_norm=clip_norm, known=known, asked=quarantine.asked_of(run, number), sent=sent
    )
    findings = _found(reports, claims, rows, before, look)
    standings: dict[str, Standing] = {}
    for claim, own in zip(claims, findings, strict=True):
        if claim.node in names:
            standing = known.get(claim.node, Standing())
            standings[names[claim.node]] = quarantine.after(standing, claim, own, run, number)
    entered = {entry.device for entry in store.put(standings)}
    keep = [
        n for n, own in enumerate(findings) if not quarantine.apart(own) and names.get(claims[n].node) not in entered
    ]
    if keep:
        _remember(place, quarantine.direction_after(before, rows[keep]))
    out = [
        f"left out: {', '.join(f'{one.check} {one.value:.3g} over {one.limit:.3g}' for one in own if one.points > 0)}"
        for n, own in enumerate(findings)
        if n not in set(keep)
    ]
    return tuple(reports[n] for n in keep), tuple(out)


def _found(
    reports: Sequence[Report],
    claims: list[Claim],
    rows: F64,
    before: F64 | None,
    look: Callable[[Sequence[Claim], F64, F64 | None], list[tuple[Finding, ...]]],
) -> list[tuple[Finding, ...]]:
    """Reports of one model are compared with each other; a clustered run sends several, and keeps no direction."""
    clusters = sorted({report.cluster for report in reports})
    if len(clusters) == 1:
        return look(claims, rows, before)
    made: list[tuple[Finding, ...]] = [()] * len(reports)
    for cluster in clusters:
        at = [n for n, report in enumerate(reports) if report.cluster == cluster]
        part = look([claims[n] for n in at], rows[at], None)
        for n, own in zip(at, part, strict=True):
            made[n] = own
    return made


def _direction(place: Path, size: int) -> F64 | None:
    """What earlier rounds of the run said; None at first, and where it cannot be read."""
    try:
        found = arrays.unpack(place.read_bytes(), FILE).get("direction")
    except (OSError, ModelError):
        return None
    return np.asarray(found, np.float64) if found is not None and found.shape == (size,) else None


def _remember(place: Path, direction: F64) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_suffix(".part")
    draft.write_bytes(arrays.pack({"direction": direction.astype(np.float32)}))
    draft.replace(place)
