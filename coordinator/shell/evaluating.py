"""`edge-coordinator evaluate`: how good the newest version is on devices, by group, and a calibration for them.

One round of counts (`coordinator.shell.counting`); the measures and the fit are made of their sum alone.
"""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from coordinator import registry
from coordinator.provenance import DataWindow, Made
from coordinator.shell.origin import code_versions
from coordinator.shell.registry_store import Registry
from coordinator.shell.statistic_run import enrolled, gathered, job_of, new_key, newest
from coordinator.shell.store import Store
from models import score_counts
from models.bundle import Bundle, write_bundle
from models.calibrate import Method
from models.score_counts import I64, Measure
from models.spec import Calibration, verified

OTHER = "other"


class Asked(Struct, frozen=True, kw_only=True):
    """What is asked for."""

    bundle: str
    by: tuple[str, ...] = ()
    """Segments of the profiles; who is in none of them is in `other`."""
    calibrate: Method = "none"
    """Fit this to the counts, and publish it as a new version."""
    publish: bool = False
    """Publish a new version with the measures on its card, also without a calibration."""
    minimum_reports: int = 3
    """Devices that must be added up; profiles may demand more (k_min)."""
    join_s: float = 30.0
    deadline_s: float = 60.0


class Evaluation(Struct, frozen=True, kw_only=True):
    """What came out."""

    run: str
    bundle: str
    version: str
    devices: int
    groups: dict[str, Measure]
    """`all`, each segment, and `other`; with the calibration that the version has."""
    calibrated: dict[str, Measure]
    """The same with the calibration that was fitted; empty: none was. On the very counts it was fitted to."""
    published: str
    """The new version; empty: none."""


def evaluate(home: Path, asked: Asked, say: Callable[[str], None]) -> Evaluation:
    """Ask for counts and tell what they say.

    Raises:
        UnknownBundle: nothing of this name is published.
        UnknownDevice: nobody is enrolled.
        RoundError: too few devices told counts; nothing is told and nothing published.
    """
    home = home.resolve()
    store, signed = Store(home), Registry.existing(home)
    parent = newest(signed, asked.bundle)
    devices = enrolled(store)
    key = new_key()
    table, told = _counts(home, key, parent, asked, devices, say)
    names = (*asked.by, OTHER)
    before = _measures(names, table, parent.spec.calibration)
    fitted = score_counts.calibration(asked.calibrate, list(table)) if asked.calibrate != "none" else None
    after = _measures(names, table, fitted) if fitted is not None else {}
    version = ""
    if asked.publish or fitted is not None:
        version = _publish(signed, parent, fitted, before, after, told, home / "runs" / key)
    if version:
        store.publish_rounds(key, version)
    store.end(key, result=version)
    return Evaluation(
        run=key,
        bundle=asked.bundle,
        version=parent.spec.version,
        devices=told,
        groups=before,
        calibrated=after,
        published=version,
    )


def _counts(
    home: Path, key: str, parent: Bundle, asked: Asked, devices: list[str], say: Callable[[str], None]
) -> tuple[I64, int]:
    """The sum over the devices, and of how many."""
    job = job_of(
        home, key, parent, len(devices), asked.minimum_reports, join_s=asked.join_s, deadline_s=asked.deadline_s
    )
    found = gathered(home, msgspec.structs.replace(job, groups=asked.by), parent, devices, say)
    return np.asarray(found["counts"], np.int64), int(found["devices"][0])


def _measures(names: tuple[str, ...], table: I64, calibration: Calibration) -> dict[str, Measure]:
    whole = {"all": score_counts.measure(table.sum(axis=0), calibration)}
    return whole | {name: score_counts.measure(table[n], calibration) for n, name in enumerate(names)}


def _publish(
    signed: Registry,
    parent: Bundle,
    fitted: Calibration | None,
    before: dict[str, Measure],
    after: dict[str, Measure],
    devices: int,
    folder: Path,
) -> str:
    version = registry.next_version(signed.paths(), parent.spec.name, parent.spec.version)
    spec = msgspec.structs.replace(
        parent.spec,
        version=version,
        parents=(parent.spec.version,),
        calibration=fitted if fitted is not None else parent.spec.calibration,
    )
    files = {name: parent.read(name) for name in parent.files}
    files["card.md"] += card_note(parent.spec.version, version, before, after, devices).encode()
    made = Made(
        run=folder.name,
        rounds=(1,),
        parents={parent.spec.version: parent.sha256},
        window=DataWindow(kind="on devices", until=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), devices=devices),
        parameters={"statistic": "scores", "calibration": spec.calibration.method},
        evaluation={"before": msgspec.to_builtins(before), "after": msgspec.to_builtins(after)},
        code=code_versions(),
    )
    signed.publish(write_bundle(folder, verified(spec), files), made)
    return version


def card_note(parent: str, version: str, before: dict[str, Measure], after: dict[str, Measure], devices: int) -> str:
    """The paragraph of the card that tells the measures by group."""
    said = (
        f"Counts of scores and outcomes of {devices} devices added up, by group; nothing else left them. The examples "
        "are those that the devices hold, also those that they learn from. No noise, so no ε.\n"
    )
    lines = [
        f"\n## Version {version}, from {parent}: measured on devices\n",
        said,
        "| group | examples | share of 1 | log loss | ECE | AUC | ECE with the new calibration |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, one in before.items():
        new = f"{after[name].ece:.4f}" if name in after else "-"
        lines.append(
            f"| {name} | {one.examples} | {one.rate:.4f} | {one.log_loss:.4f} | {one.ece:.4f} | {one.auc:.4f} | {new} |"
        )
    return "\n".join(lines) + "\n"
