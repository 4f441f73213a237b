"""`edge-coordinator train` and its neighbours: publish, deploy, train, and see it arrive."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from msgspec import Struct

from coordinator import rounds
from coordinator.errors import FlowerFailed, RoundError, UnknownBundle, UnknownDevice
from coordinator.rounds import Round
from coordinator.shell import flower
from coordinator.shell.choosing import asynchronous_of, strategy_of
from coordinator.shell.home import endpoints_of
from coordinator.shell.job import Job, Private
from coordinator.shell.mqtt_control import Control
from coordinator.shell.private_run import claim_of, private_of, refuse_beyond_budget
from coordinator.shell.publishing import publish_result
from coordinator.shell.registry_store import Registry, Target
from coordinator.shell.request import Request, refuse_compression
from coordinator.shell.secret_grid import Secret
from coordinator.shell.store import Store
from coordinator.strategies.layers import read_layer
from firmware_configs.errors import EdgeError
from firmware_configs.messages import Desired, Reported, RoundOffer
from models.bundle import Bundle, open_bundle

POLL_S = 0.1


class Outcome(Struct, frozen=True, kw_only=True):
    """What came out."""

    run: str
    bundle: str
    parent: str
    version: str
    strategy: str
    rounds: list[Round]
    privacy: str
    devices: int
    reported: int
    """Devices that said that the new version runs, in time."""
    seconds: float
    request: Request
    """What was asked for in effect: the command line over the file over the defaults."""


def publish(home: Path, path: Path) -> Target:
    """Sign a bundle into the registry."""
    return Registry.existing(home).publish(path)


def deploy(home: Path, bundle: str, version: str, devices: list[str] | None = None) -> list[str]:
    """Ask devices to run a published version; returns whom.

    Raises:
        UnknownBundle: it is not published.
        UnknownDevice: nobody is enrolled, or not this one.
    """
    store, endpoints = Store(home), endpoints_of(home)
    if Registry.existing(home).find(bundle, version) is None:
        raise UnknownBundle(f"{bundle} {version} is not in the registry", hint="edge-coordinator registry publish FILE")
    known = [device.name for device in store.devices()]
    for device in devices or []:
        store.device(device)
    asked = devices or known
    if not asked:
        raise UnknownDevice("no device is enrolled", hint="edge-coordinator nodes enrol DEVICE --public-key FILE")
    with Control(endpoints.broker, store) as control:
        control.want(asked, lambda old: _with_bundle(old, bundle, version, endpoints.registry))
    return asked


def _with_bundle(old: Desired, bundle: str, version: str, registry_url: str) -> Desired:
    return msgspec.structs.replace(old, bundles={**old.bundles, bundle: version}, registry=registry_url)


def train(home: Path, request: Request, say: Callable[[str], None]) -> Outcome:
    """Run federated rounds, publish the result as a new signed version, and deploy it.

    Args:
        say: takes progress lines.
    Raises:
        RoundError: the run was abandoned; nothing is published.
    """
    started = time.monotonic()
    strategy_of(request)  # what cannot go together is refused before anything begins
    home = home.resolve()
    store, endpoints, signed = Store(home), endpoints_of(home), Registry.existing(home)
    parent = _parent(signed, request.bundle)
    devices = [device.name for device in store.devices()]
    if not devices:
        raise UnknownDevice("no device is enrolled", hint="edge-coordinator nodes enrol DEVICE --public-key FILE")
    key = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid4().hex[:6]}"
    with Control(endpoints.broker, store) as control:
        version = _learn(home, key, request, parent, control, devices, say)
        say(f"published {request.bundle} {version}")
        control.want(devices, lambda old: _with_bundle(old, request.bundle, version, endpoints.registry))
        control.wait_for(lambda told: _arrived(told, devices, request.bundle, version) == len(devices), request.wait_s)
        arrived = _arrived(control.reported(), devices, request.bundle, version)
    finished = store.rounds(key)
    return Outcome(
        run=key,
        bundle=request.bundle,
        parent=parent.spec.version,
        version=version,
        strategy=request.strategy,
        rounds=finished,
        privacy=claim_of(home, request.bundle, private_of(request, len(devices)), request.clip_norm, finished),
        devices=len(devices),
        reported=arrived,
        seconds=round(time.monotonic() - started, 2),
        request=request,
    )


def _learn(
    home: Path,
    key: str,
    request: Request,
    parent: Bundle,
    control: Control,
    devices: list[str],
    say: Callable[[str], None],
) -> str:
    """Offer the run, follow its rounds, publish; returns the new version. The offer is withdrawn in any case."""
    store, signed = Store(home), Registry.existing(home)
    folder = home / "runs" / key
    refuse_compression(request)
    private = private_of(request, len(devices))
    if private is not None:
        refuse_beyond_budget(home, request.bundle, private, request.rounds)
    job = _job(home, key, parent, request, folder, private, len(devices))
    store.begin(key, request.bundle, parent.spec.version)
    run = ""
    try:
        run, app_hash = flower.start_run(home, flower.APP, job)
        offer = _offer(request, parent, run, endpoints_of(home).superlink, app_hash)
        control.want(devices, lambda old: msgspec.structs.replace(old, offer=offer))
        say(f"run {key}: offered to {len(devices)} devices")
        result = _follow(store, key, folder, request, say)
        claimed = claim_of(home, request.bundle, private, request.clip_norm, store.rounds(key))
        version = publish_result(signed, parent, result, store.rounds(key), request, folder, claimed)
    except (EdgeError, KeyboardInterrupt) as error:
        _give_up(home, key, run, error.what if isinstance(error, EdgeError) else "it was interrupted")
        raise
    finally:
        control.want(devices, lambda old: msgspec.structs.replace(old, offer=None))
    for row in store.rounds(key):
        store.put_round(rounds.advance(row, "published"))
    store.end(key, result=version)
    return version


def _give_up(home: Path, key: str, run: str, reason: str) -> None:
    """Abandon what is left of a run."""
    store = Store(home)
    store.end(key, failure=reason)
    for row in store.rounds(key):
        if row.state not in rounds.ENDED:
            store.put_round(rounds.abandon(row, reason))
    if run:
        with suppress(FlowerFailed):  # it may have ended by itself
            flower.stop_run(home, run)


def _parent(signed: Registry, bundle: str) -> Bundle:
    newest = signed.newest(bundle)
    path = signed.find(bundle, newest) if newest else None
    if path is None:
        known = ", ".join(sorted({target.bundle for target in signed.published()})) or "none"
        raise UnknownBundle(
            f"no `{bundle}` in the registry", hint=f"published: {known}; edge-coordinator registry publish"
        )
    parent = open_bundle(path)
    if parent.spec.train is None or not parent.spec.of_share("shared"):
        raise UnknownBundle(
            f"`{bundle}` has no train step or shares nothing", hint="rounds need both; see edge-models inspect"
        )
    return parent


def _job(
    home: Path, key: str, parent: Bundle, request: Request, folder: Path, private: Private | None, devices: int
) -> Path:
    own, strategy = parent.spec.train, strategy_of(request)
    if own is None:
        raise UnknownBundle("the bundle has no train step", hint="see edge-models inspect")
    job = Job(
        home=str(home),
        key=key,
        bundle=str(parent.path),
        rounds=request.rounds,
        minimum_reports=request.minimum_reports,
        wanted=request.wanted,
        join_s=request.join_s,
        deadline_s=request.deadline_s,
        epochs=request.epochs or own.epochs,
        lr=request.lr or own.lr,
        batch=own.batch,
        negatives=own.negatives,
        clip_norm=request.clip_norm,
        prox_mu=strategy.options.get("prox_mu", 0.0),
        strategy=strategy,
        layers=tuple(map(read_layer, request.layers)),
        asynchronous=asynchronous_of(request, devices),
        devices=devices,
        seed=request.seed,
        rule=request.rule,
        hostile_share=request.hostile_share,
        top_k=request.top_k,
        random_k=request.random_k,
        private=private,
        secret=_secret(request, private),
    )
    folder.mkdir(parents=True)
    path = folder / "job.json"
    path.write_bytes(msgspec.json.encode(job))
    return path


def _secret(request: Request, private: Private | None) -> Secret | None:
    if not request.secret_sum:
        return None
    by_devices = private is not None and private.noise_by == "devices"
    return Secret(
        bits=request.secret_bits,
        vanish=request.vanish,
        multiplier=private.noise_multiplier if private is not None and by_devices else 0.0,
    )


def _offer(request: Request, parent: Bundle, run: str, superlink: str, app_hash: str) -> RoundOffer:
    open_s = request.join_s + request.rounds * request.deadline_s
    return RoundOffer(
        run=run,
        bundle=request.bundle,
        version=parent.spec.version,
        superlink=superlink,
        app_hash=app_hash,
        closes_ms=int((time.time() + open_s) * 1_000),
    )


def _follow(store: Store, key: str, folder: Path, request: Request, say: Callable[[str], None]) -> Path:
    """Wait for the run's result, telling each round as it ends."""
    told: set[int] = set()
    deadline = time.monotonic() + request.join_s + request.rounds * request.deadline_s + 60
    while True:
        for row in store.rounds(key):
            if row.state == "accounted" and row.number not in told:
                told.add(row.number)
                say(
                    f"round {row.number}: {row.reports} of {row.asked} reports, loss {row.loss_before:.4f} → "
                    f"{row.loss_after:.4f}, {row.bytes_up:,} bytes up, {row.seconds:.1f} s"
                )
        if (folder / "result.npz").exists():
            return folder / "result.npz"
        state = store.run(key)
        if state is not None and state.failure:
            raise RoundError(f"run {key} was abandoned: {state.failure}", hint="nothing was published; see above")
        if time.monotonic() > deadline:
            raise RoundError(f"run {key} gave no result in time", hint="see the SuperLink's log")
        time.sleep(POLL_S)


def _arrived(told: dict[str, Reported], devices: list[str], bundle: str, version: str) -> int:
    def runs(device: str) -> bool:
        state = told[device].bundles.get(bundle) if device in told else None
        return state is not None and state.version == version and state.state == "active"

    return sum(runs(device) for device in devices)


def rounds_table(home: Path) -> list[dict[str, Any]]:
    """Runs with their rounds, newest first."""
    store = Store(home)
    return [
        {**msgspec.to_builtins(run), "rounds": [msgspec.to_builtins(row) for row in store.rounds(run.key)]}
        for run in store.runs()
    ]
