"""`edge-coordinator evaluate`: how good the newest version is on devices, by group, and a calibration for them.

One round of counts (`coordinator.shell.counting`); the measures and the fit are made of their sum alone.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import msgspec
import numpy as np
from msgspec import Struct

from coordinator import registry
from coordinator.errors import FlowerFailed, RoundError, TooFewReports, UnknownBundle, UnknownDevice
from coordinator.provenance import DataWindow, Made
from coordinator.shell import flower
from coordinator.shell.home import endpoints_of
from coordinator.shell.job import Job
from coordinator.shell.mqtt_control import Control
from coordinator.shell.origin import code_versions
from coordinator.shell.registry_store import Registry
from coordinator.shell.request import Request
from coordinator.shell.run_store import RunStore
from coordinator.shell.store import Store
from firmware_configs.errors import EdgeError
from firmware_configs.messages import RoundOffer
from models import arrays, score_counts
from models.bundle import Bundle, open_bundle, write_bundle
from models.calibrate import Method
from models.score_counts import I64, Measure
from models.spec import Calibration, verified

POLL_S = 0.1
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
    newest = signed.newest(asked.bundle)
    path = signed.find(asked.bundle, newest) if newest else None
    if path is None:
        raise UnknownBundle(f"no `{asked.bundle}` in the registry", hint="edge-coordinator registry publish FILE")
    parent = open_bundle(path)
    devices = [device.name for device in store.devices()]
    if not devices:
        raise UnknownDevice("no device is enrolled", hint="edge-coordinator nodes enrol DEVICE --public-key FILE")
    key = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid4().hex[:6]}"
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
    """The sum over the devices, and of how many. The offer is withdrawn in any case."""
    store, endpoints, folder = Store(home), endpoints_of(home), home / "runs" / key
    folder.mkdir(parents=True)
    job = Job(
        home=str(home),
        key=key,
        bundle=str(parent.path),
        rounds=1,
        minimum_reports=asked.minimum_reports,
        wanted=len(devices),
        devices=len(devices),
        join_s=asked.join_s,
        deadline_s=asked.deadline_s,
        epochs=1,
        lr=1.0,
        batch=1,
        negatives=0,
        clip_norm=1.0,
        groups=asked.by,
    )
    (folder / "job.json").write_bytes(msgspec.json.encode(job))
    request = Request(bundle=asked.bundle, minimum_reports=asked.minimum_reports)
    RunStore(home).begin(key, asked.bundle, parent.spec.version, request, job, int(time.time() * 1_000))
    run = ""
    with Control(endpoints.broker, store) as control:
        try:
            run, app_hash = flower.start_run(home, flower.APP, folder / "job.json")
            offer = RoundOffer(
                run=run,
                bundle=asked.bundle,
                version=parent.spec.version,
                superlink=endpoints.superlink,
                app_hash=app_hash,
                closes_ms=int((time.time() + asked.join_s + asked.deadline_s) * 1_000),
                kind="statistic",
            )
            control.want(devices, lambda old: msgspec.structs.replace(old, offer=offer))
            say(f"run {key}: counts are asked of {len(devices)} devices")
            found = arrays.unpack(_result(store, key, folder, asked).read_bytes(), "result.npz")
        except (EdgeError, KeyboardInterrupt) as error:
            store.end(key, failure=error.what if isinstance(error, EdgeError) else "it was interrupted")
            if run:
                with suppress(FlowerFailed):  # it may have ended by itself
                    flower.stop_run(home, run)
            raise
        finally:
            control.want(devices, lambda old: msgspec.structs.replace(old, offer=None))
    return np.asarray(found["counts"], np.int64), int(found["devices"][0])


def _result(store: Store, key: str, folder: Path, asked: Asked) -> Path:
    until = time.monotonic() + 2 * asked.join_s + asked.deadline_s + 60
    while time.monotonic() < until:
        if (folder / "result.npz").exists():
            return folder / "result.npz"
        state = store.run(key)
        if state is not None and state.failure:
            raise TooFewReports(f"no counts: {state.failure}", hint="nothing is told of fewer devices; see above")
        time.sleep(POLL_S)
    raise RoundError(f"run {key} gave no result in time", hint="see the SuperLink's log")


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
