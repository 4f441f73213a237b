"""A run in which no update leaves a device: offered, watched and withdrawn as one, whatever it counts."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from numpy.typing import NDArray

from coordinator.errors import FlowerFailed, RoundError, TooFewReports, UnknownBundle, UnknownDevice
from coordinator.shell import flower
from coordinator.shell.home import endpoints_of
from coordinator.shell.job import Job
from coordinator.shell.mqtt_control import Control
from coordinator.shell.pacing import spread_s, window_s
from coordinator.shell.registry_store import Registry
from coordinator.shell.request import Request
from coordinator.shell.run_store import RunStore
from coordinator.shell.store import Store
from firmware_configs.errors import EdgeError
from firmware_configs.messages import RoundOffer
from models import arrays
from models.bundle import Bundle, open_bundle

POLL_S = 0.1
WINDOW_SHARE = 0.5
"""Of the time to join, over which devices may begin."""


def newest(signed: Registry, bundle: str) -> Bundle:
    """The newest version, which the devices are asked about.

    Raises:
        UnknownBundle: nothing of this name is published.
    """
    version = signed.newest(bundle)
    path = signed.find(bundle, version) if version else None
    if path is None:
        raise UnknownBundle(f"no `{bundle}` in the registry", hint="edge-coordinator registry publish FILE")
    return open_bundle(path)


def enrolled(store: Store) -> list[str]:
    """Names of all who may be asked.

    Raises:
        UnknownDevice: nobody is enrolled.
    """
    devices = [device.name for device in store.devices()]
    if not devices:
        raise UnknownDevice("no device is enrolled", hint="edge-coordinator nodes enrol DEVICE --public-key FILE")
    return devices


def new_key() -> str:
    """Of a run that begins now."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid4().hex[:6]}"


def job_of(
    home: Path, key: str, parent: Bundle, devices: int, minimum_reports: int, *, join_s: float, deadline_s: float
) -> Job:
    """The job of such a run; what it counts is for the caller to add."""
    return Job(
        home=str(home),
        key=key,
        bundle=str(parent.path),
        rounds=1,
        minimum_reports=minimum_reports,
        wanted=devices,
        devices=devices,
        join_s=join_s,
        deadline_s=deadline_s,
        epochs=1,
        lr=1.0,
        batch=1,
        negatives=0,
        clip_norm=1.0,
        spread_s=min(spread_s(devices, None), WINDOW_SHARE * join_s),
    )


def gathered(
    home: Path, job: Job, parent: Bundle, devices: list[str], say: Callable[[str], None]
) -> dict[str, NDArray[Any]]:
    """Have the server app ask the devices; what it found, by name. The offer is withdrawn in any case.

    Raises:
        TooFewReports: too few devices told anything; nothing is known then.
        RoundError: it gave no result in time.
    """
    store, endpoints, folder = Store(home), endpoints_of(home), home / "runs" / job.key
    folder.mkdir(parents=True)
    (folder / "job.json").write_bytes(msgspec.json.encode(job))
    request = Request(bundle=parent.spec.name, minimum_reports=job.minimum_reports)
    RunStore(home).begin(job.key, parent.spec.name, parent.spec.version, request, job, int(time.time() * 1_000))
    run = ""
    with Control(endpoints.broker, store) as control:
        try:
            run, app_hash = flower.start_run(home, flower.APP, folder / "job.json")
            offer = RoundOffer(
                run=run,
                bundle=parent.spec.name,
                version=parent.spec.version,
                superlink=endpoints.superlink,
                app_hash=app_hash,
                closes_ms=int((time.time() + job.join_s + stages(job) * job.deadline_s) * 1_000),
                kind="statistic",
                counts=job.counts,
                opens_ms=int(time.time() * 1_000),
                window_ms=int(window_s(job) * 1_000),
            )
            control.want(devices, lambda old: msgspec.structs.replace(old, offer=offer))
            say(f"run {job.key}: counts are asked of {len(devices)} devices")
            return arrays.unpack(_result(store, job, folder).read_bytes(), "result.npz")
        except (EdgeError, KeyboardInterrupt) as error:
            store.end(job.key, failure=error.what if isinstance(error, EdgeError) else "it was interrupted")
            if run:
                with suppress(FlowerFailed):  # it may have ended by itself
                    flower.stop_run(home, run)
            raise
        finally:
            control.want(devices, lambda old: msgspec.structs.replace(old, offer=None))


def stages(job: Job) -> int:
    """Messages a device: a secret sum has four."""
    return 4 if job.secret is not None else 1


def _result(store: Store, job: Job, folder: Path) -> Path:
    until = time.monotonic() + 2 * job.join_s + stages(job) * job.deadline_s + 60
    while time.monotonic() < until:
        if (folder / "result.npz").exists():
            return folder / "result.npz"
        state = store.run(job.key)
        if state is not None and state.failure:
            raise TooFewReports(f"no counts: {state.failure}", hint="nothing is told of fewer devices; see above")
        time.sleep(POLL_S)
    raise RoundError(f"run {job.key} gave no result in time", hint="see the SuperLink's log")
