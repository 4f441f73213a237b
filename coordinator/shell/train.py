"""`edge-coordinator train` and its neighbours: publish, deploy, train, and see it arrive."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import msgspec
from msgspec import Struct

from coordinator import registry, rounds
from coordinator.eligibility import Demands
from coordinator.errors import NotRunning, RoundStateInvalid, UnknownBundle, UnknownDevice, UnknownRun
from coordinator.rounds import Round
from coordinator.shell import result_rollout
from coordinator.shell.admitting import meant
from coordinator.shell.choosing import asynchronous_of, refuse_contradictions, strategy_of
from coordinator.shell.driving import close, drive, with_bundle
from coordinator.shell.home import endpoints_of
from coordinator.shell.job import Job, Private
from coordinator.shell.mqtt_control import Control
from coordinator.shell.pacing import spread_s
from coordinator.shell.private_run import claim_of, private_of, refuse_beyond_budget
from coordinator.shell.registry_store import Registry, Target
from coordinator.shell.request import Request
from coordinator.shell.rollouts import refuse_while_rolling_out
from coordinator.shell.run_store import RunStore, unfinished
from coordinator.shell.secret_grid import Secret
from coordinator.shell.store import Store
from coordinator.strategies.layers import read_layer
from firmware_configs.messages import Reported
from models.bundle import Bundle, open_bundle


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
    rollout: str = ""
    """Key of the rollout by which devices are asked, where it is by one."""
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
        control.want(asked, lambda old: with_bundle(old, bundle, version, endpoints.registry))
    return asked


def train(home: Path, request: Request, say: Callable[[str], None]) -> Outcome:
    """Run federated rounds, publish the result as a new signed version, and deploy it.

    Args:
        say: takes progress lines.
    Raises:
        RoundError: the run was abandoned; nothing is published.
        RunUnfinished: another run of this bundle has not ended.
        RolloutTaken: a rollout of this bundle has not ended.
        PlanUnfit: nobody could take part in the rollout that is asked for.
    """
    refuse_contradictions(request)
    staged = result_rollout.plan_of(request)
    home = home.resolve()
    refuse_while_rolling_out(home, request.bundle)
    store, endpoints, signed = Store(home), endpoints_of(home), Registry.existing(home)
    parent = _parent(signed, request.bundle)
    devices = asked_of(home, store, request, parent)
    private = private_of(request, len(devices))
    if private is not None:
        refuse_beyond_budget(home, request.bundle, private, request.rounds)
    if staged is not None:
        version = registry.next_version(signed.paths(), request.bundle, parent.spec.version)
        result_rollout.refuse_unfit(home, staged, version)
    key = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid4().hex[:6]}"
    with Control(endpoints.broker, store) as control:
        job = _job(home, key, parent, request, private, len(devices))
        folder = home / "runs" / key
        folder.mkdir(parents=True)
        result_rollout.keep(folder, request)
        RunStore(home).begin(key, request.bundle, parent.spec.version, request, job, int(time.time() * 1_000))
        return _driven(home, key, control, say)


def asked_of(home: Path, store: Store, request: Request, parent: Bundle) -> list[str]:
    """The devices that a run is offered to.

    Raises:
        UnknownDevice: there is none.
    """
    if not store.devices():
        raise UnknownDevice("no device is enrolled", hint="edge-coordinator nodes enrol DEVICE --public-key FILE")
    asked = meant(home, demands_of(request), parent.spec.name, parent.spec.version)
    if not asked:
        raise UnknownDevice(
            "the run is for none of the enrolled devices",
            hint="see who would be asked, and why not: edge-coordinator cohort, with the same --where and --class",
        )
    return asked


def demands_of(request: Request) -> Demands:
    """Which devices a run is for."""
    return Demands(where=request.where, classes=request.classes, examples_min=request.examples_min)


def resume(home: Path, key: str, say: Callable[[str], None]) -> Outcome:
    """Go on with a run that was cut off, or that failed, from its last durable state.

    Raises:
        UnknownRun: there is none of this key.
        RoundStateInvalid: it is done, or was given up.
        RoundError: as `train`.
    """
    home = home.resolve()
    store, plan = Store(home), RunStore(home).plan(key)
    state = store.run(key)
    if state is None or plan.given_up:
        raise RoundStateInvalid(f"run {key} was given up: {state.failure if state else ''}", hint="train again")
    if plan.job.counts:
        raise RoundStateInvalid(
            f"run {key} counts, and is not gone on with",
            hint=f"edge-coordinator rounds abandon {key} --reason WHY, then evaluate again",
        )
    if state.ended and state.result:
        raise RoundStateInvalid(f"run {key} is done: it made {state.bundle} {state.result}", hint="nothing to do")
    others = [run.key for run in store.runs() if run.bundle == state.bundle and not run.ended and run.key != key]
    if others:
        raise unfinished(others[0], state.bundle)
    endpoints = endpoints_of(home)
    with Control(endpoints.broker, store) as control:
        return _driven(home, key, control, say)


def abandon(home: Path, key: str, reason: str) -> list[Round]:
    """Give a run up for good: nothing of it is published, what it has spent stays spent; returns its rounds.

    Raises:
        UnknownRun: there is none of this key.
        RoundStateInvalid: its result is published.
    """
    home = home.resolve()
    store, plans = Store(home), RunStore(home)
    state = store.run(key)
    if state is None:
        raise UnknownRun(f"no run `{key}`", hint="edge-coordinator rounds ls")
    if state.result:
        raise RoundStateInvalid(
            f"run {key} has published {state.bundle} {state.result}",
            hint=f"deploy another version, or finish it: edge-coordinator rounds resume {key}",
        )
    plans.give_up(key, reason)
    with suppress(UnknownRun):
        close(home, key, reason)
    for row in store.rounds(key):
        if row.state not in rounds.ENDED:
            store.put_round(rounds.abandon(row, reason))
    for path in (home / "runs" / key).glob("re*"):
        path.unlink(missing_ok=True)
    with suppress(NotRunning), Control(endpoints_of(home).broker, store) as control:
        offered = [d.name for d in store.devices() if (store.desired(d.name).offer)]
        control.want(offered, lambda old: msgspec.structs.replace(old, offer=None))
    return store.rounds(key)


def _driven(home: Path, key: str, control: Control, say: Callable[[str], None]) -> Outcome:
    """Drive a run to its end, and see its result arrive."""
    started = time.monotonic()
    plan = RunStore(home).plan(key)
    request, job = plan.request, plan.job
    driven = drive(home, key, control, say)
    version, devices = driven.version, driven.devices
    control.wait_for(lambda told: _arrived(told, devices, request.bundle, version) == len(devices), request.wait_s)
    store = Store(home)
    finished, run = store.rounds(key), store.run(key)
    return Outcome(
        run=key,
        bundle=request.bundle,
        parent=run.version if run is not None else "",
        version=version,
        strategy=request.strategy,
        rounds=finished,
        privacy=claim_of(home, request.bundle, job.private, request.clip_norm, rounds.done_of(finished)),
        devices=len(devices),
        rollout=driven.rollout,
        reported=_arrived(control.reported(), devices, request.bundle, version),
        seconds=round(time.monotonic() - started, 2),
        request=request,
    )


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


def _job(home: Path, key: str, parent: Bundle, request: Request, private: Private | None, devices: int) -> Job:
    own, strategy = parent.spec.train, strategy_of(request)
    if own is None:
        raise UnknownBundle("the bundle has no train step", hint="see edge-models inspect")
    return Job(
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
        demands=demands_of(request),
        strategy=strategy,
        layers=tuple(map(read_layer, request.layers)),
        asynchronous=asynchronous_of(request, devices),
        devices=devices,
        seed=request.seed,
        unlearn=request.unlearn,
        rule=request.rule,
        hostile_share=request.hostile_share,
        top_k=request.top_k,
        random_k=request.random_k,
        private=private,
        secret=_secret(request, private),
        over_selection=request.over_selection,
        retries=request.retries,
        back_off_s=request.back_off_s,
        spread_s=spread_s(devices, request.spread_s),
        keep_reports=request.keep_reports,
    )


def _secret(request: Request, private: Private | None) -> Secret | None:
    if not request.secret_sum:
        return None
    by_devices = private is not None and private.noise_by == "devices"
    return Secret(
        bits=request.secret_bits,
        vanish=request.vanish,
        collude=request.collude,
        grace_s=request.grace_s,
        multiplier=private.noise_multiplier if private is not None and by_devices else 0.0,
    )


def _arrived(told: dict[str, Reported], devices: list[str], bundle: str, version: str) -> int:
    def runs(device: str) -> bool:
        state = told[device].bundles.get(bundle) if device in told else None
        return state is not None and state.version == version and state.state == "active"

    return sum(runs(device) for device in devices)
