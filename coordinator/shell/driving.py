"""Drives a run from where it stands to devices that run its result. Each step is written down before the next.

One command at a time drives a run. The server app that does its rounds lives on when the command is killed, and the
next command joins it; when the server app is killed, the command starts another, which goes on from the last state.
"""

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from coordinator import registry, rounds
from coordinator.errors import (
    FlowerFailed,
    NotRunning,
    PlanUnfit,
    RolloutTaken,
    RoundError,
    RunInterrupted,
    RunStopped,
    RunTerminated,
    UnknownDevice,
)
from coordinator.progress import loss_text
from coordinator.provenance import Made
from coordinator.shell import fault, flower, result_rollout
from coordinator.shell.admitting import meant
from coordinator.shell.checkpoint import write_durably
from coordinator.shell.hold import APP_LOCK, COMMAND_LOCK, hold, is_held
from coordinator.shell.home import endpoints_of
from coordinator.shell.job import Job
from coordinator.shell.mqtt_control import Control
from coordinator.shell.origin import made_of_run
from coordinator.shell.pacing import closes_ms, longest_s, window_s
from coordinator.shell.private_run import claim_of
from coordinator.shell.publishing import draft_result
from coordinator.shell.registry_store import Registry, Target
from coordinator.shell.request import Request
from coordinator.shell.rollouts import refuse_while_rolling_out
from coordinator.shell.run_store import RunPlan, RunStore
from coordinator.shell.stopping import Terminated, heeded
from coordinator.shell.store import Store
from coordinator.shell.watch import answers
from firmware_configs.errors import EdgeError
from firmware_configs.messages import Desired, RoundOffer
from models.bundle import open_bundle

POLL_S = 0.1
START_S = 120.0
"""For the SuperLink to start the server app."""
LINK_S = 2.0
"""How often the SuperLink is looked for."""
SESSIONS = 4
"""Server apps that one command starts, when they end by themselves."""

Say = Callable[[str], None]


class Driven(Struct, frozen=True, kw_only=True):
    """Where a run came to."""

    version: str
    """Of its result, which is published."""
    devices: list[str] = []
    """Who is asked to run it at once."""
    rollout: str = ""
    """Key of the rollout by which others are asked."""


class Driver:
    """One command's hold on a run. Use `drive`."""

    def __init__(self, home: Path, key: str, control: Control, say: Say) -> None:
        self._home, self._key, self._control, self._say = home, key, control, say
        self._store, self._plans = Store(home), RunStore(home)
        self._folder = home / "runs" / key
        self._result = self._folder / "result.npz"
        self._endpoints = endpoints_of(home)
        self._devices = [device.name for device in self._store.devices()]
        self._told: set[int] = set()

    @cached_property
    def _asked(self) -> list[str]:
        """Devices that the run is for."""
        job = self._plans.plan(self._key).job
        spec = open_bundle(Path(job.bundle)).spec
        return meant(self._home, job.demands, spec.name, spec.version)

    def rounds(self) -> None:
        """Do the rounds that are not done yet.

        Raises:
            RoundError: they cannot be done; nothing is published.
            RunInterrupted: the SuperLink or its server app is gone.
        """
        for _ in range(SESSIONS):
            if self._result.exists():
                return
            try:
                if self._session():
                    return
            finally:
                with suppress(NotRunning):
                    self._control.want(self._devices, lambda old: replace(old, offer=None))
            note = self._plans.plan(self._key).note
            self._say(f"run {self._key}: {note or 'its server app was killed'}; it is started again")
        raise RunInterrupted(
            f"the server app of run {self._key} ended {SESSIONS} times", hint="see the SuperLink's log"
        )

    def _session(self) -> bool:
        """Start a server app, or join the one that lives, and follow it; False when it ended by itself."""
        plan = self._plans.plan(self._key)
        if self._is_alive(plan):
            session, run, app_hash = plan.session, plan.flower, flower.hash_of(flower.APP)
            self._say(f"run {self._key}: its server app is at work; joined")
        else:
            if plan.flower:
                with suppress(FlowerFailed):  # it may have ended by itself
                    flower.stop_run(self._home, plan.flower)
            session = self._plans.next_session(self._key)
            job = replace(plan.job, session=session, enrolled=len(self._asked), control=self._endpoints.control)
            path = self._folder / f"job-{session}.json"
            write_durably(path, msgspec.json.encode(job))
            fault.point("session")
            run, app_hash = flower.start_run(self._home, flower.APP, path)
            self._plans.set_flower(self._key, session, run)
        fault.point("started")
        offer = self._offer(plan, run, app_hash)
        self._control.want(self._asked, lambda old: replace(old, offer=offer))
        self._say(f"run {self._key}: offered to {len(self._asked)} devices")
        return self._follow(plan, session)

    def _is_alive(self, plan: RunPlan) -> bool:
        """Whether the newest session's server app is at work, on the SuperLink that there is."""
        if not (is_held(self._folder / APP_LOCK) and plan.started == plan.session and plan.flower):
            return False
        try:
            job = msgspec.json.decode((self._folder / f"job-{plan.session}.json").read_bytes(), type=Job)
        except (OSError, msgspec.MsgspecError):
            return False
        return job.control == self._endpoints.control

    def _offer(self, plan: RunPlan, run: str, app_hash: str) -> RoundOffer:
        return RoundOffer(
            run=run,
            bundle=plan.request.bundle,
            version=open_bundle(Path(plan.job.bundle)).spec.version,
            superlink=self._endpoints.superlink,
            app_hash=app_hash,
            closes_ms=closes_ms(plan.job, time.time()),
            classes=plan.job.demands.classes,
            examples_min=plan.job.demands.examples_min,
            window_ms=int(window_s(plan.job) * 1_000),
            opens_ms=int(time.time() * 1_000),
            kind="unlearn" if plan.job.unlearn else "train",
        )

    def _follow(self, plan: RunPlan, session: int) -> bool:
        """Wait for the result, telling each round as it ends; False when the server app is gone without one."""
        began = looked = time.monotonic()
        while True:
            self._tell()
            # In this order: a server app that has ended may have left a result.
            plan = self._plans.plan(self._key)
            gone = plan.started == session and not is_held(self._folder / APP_LOCK)
            state = self._store.run(self._key)
            if self._result.exists():
                return True
            if state is None or state.ended or plan.session != session:
                why = state.failure if state is not None else "it is gone"
                raise RoundError(f"run {self._key} was abandoned: {why}", hint=self._kept())
            if gone:
                return False
            now = time.monotonic()
            if plan.started != session and now - began > START_S:
                raise RunInterrupted("the SuperLink starts no server app", hint="see the SuperLink's log")
            if now - began > longest_s(plan.job) + START_S:
                raise RunInterrupted("the server app gave no result in time", hint="see the SuperLink's log")
            if now - looked > LINK_S:
                looked = now
                if not answers(self._endpoints.control):
                    raise RunInterrupted("the SuperLink is gone", hint="start it: edge-coordinator up")
            time.sleep(POLL_S)

    def _kept(self) -> str:
        done = len(rounds.done_of(self._store.rounds(self._key)))
        if not done:
            return "nothing was published; see above"
        return f"nothing was published; {done} rounds are kept: edge-coordinator rounds resume {self._key}"

    def _tell(self) -> None:
        for row in rounds.done_of(self._store.rounds(self._key)):
            if row.number not in self._told:
                self._told.add(row.number)
                self._say(
                    f"round {row.number}: {row.reports} of {row.asked} reports, loss {loss_text(row)}, "
                    f"{row.bytes_up:,} bytes up, {row.seconds:.1f} s"
                )

    def publish(self) -> str:
        """Publish the result, unless an earlier command has done it; returns its version."""
        state = self._store.run(self._key)
        if state is not None and state.result:
            return state.result
        signed, plan = Registry.existing(self._home), self._plans.plan(self._key)
        target = _target(signed, plan)
        if target is None or target.sha256 != plan.sha256:
            plan, path, made = self._draft(signed, plan)
            fault.point("drafted")
            signed.publish(path, made)
            fault.point("signed")
        self._store.publish_rounds(self._key, plan.version)
        fault.point("published")
        self._say(f"published {plan.request.bundle} {plan.version}")
        return plan.version

    def _draft(self, signed: Registry, plan: RunPlan) -> tuple[RunPlan, Path, Made]:
        """The new version's file, and its name and content written down before the registry is asked."""
        request, job = plan.request, plan.job
        done = rounds.done_of(self._store.rounds(self._key))
        claimed = claim_of(self._home, request.bundle, job.private, request.clip_norm, done)
        parent = open_bundle(Path(job.bundle))
        version = registry.next_version(signed.paths(), request.bundle, parent.spec.version)
        path = draft_result(parent, self._result, done, request, self._folder, version, claimed)
        self._plans.draft(self._key, version, hashlib.sha256(path.read_bytes()).hexdigest())
        return self._plans.plan(self._key), path, made_of_run(signed, parent, done, request, claimed)

    def deploy(self, request: Request, version: str) -> Driven:
        """Ask devices to run the result, as the request says; doing it twice changes nothing.

        Raises:
            RolloutTaken: another rollout of the bundle was begun meanwhile; the result is published and waits.
            PlanUnfit: nobody can take part in its rollout any more; the result is published, and the run is over.
        """
        bundle, done = request.bundle, Driven(version=version)
        try:
            if request.rollout:
                begun = result_rollout.begin(self._home, self._folder, bundle, version)
                done = replace(done, rollout=begun.key)
                self._say(f"rollout {begun.key}: {len(begun.members)} devices in {len(begun.plan.cohort)} cohorts")
            elif request.deploy:
                refuse_while_rolling_out(self._home, bundle)
                self._control.want(
                    self._devices, lambda old: with_bundle(old, bundle, version, self._endpoints.registry)
                )
                done = replace(done, devices=self._devices)
        except RolloutTaken as error:
            raise RolloutTaken(
                f"{bundle} {version} is published, and not deployed: {error.what}",
                hint=f"{error.hint}; then: edge-coordinator rounds resume {self._key}",
            ) from error
        except (PlanUnfit, UnknownDevice) as error:
            self._store.end(self._key, result=version)
            raise PlanUnfit(
                f"{bundle} {version} is published, and not rolled out: {error.what}",
                hint=f"{error.hint}; then: edge-coordinator deploy {bundle} {version}, with --rollout PLAN or without",
            ) from error
        fault.point("deployed")
        self._store.end(self._key, result=version)
        return done

    def clear(self) -> None:
        """Withdraw the offer: there is nothing to take part in any more."""
        if any(self._store.desired(name).offer for name in self._devices):
            self._control.want(self._devices, lambda old: replace(old, offer=None))


def drive(home: Path, key: str, control: Control, say: Say) -> Driven:
    """Bring a run to its end.

    Raises:
        RoundError: it failed; nothing is published. Rounds that are done are kept.
        RunInterrupted: something that it needs is gone; it can be gone on with.
        RolloutTaken: a rollout of the bundle was begun meanwhile; it can be gone on with.
        PlanUnfit: nobody can take part in the result's rollout; the result is published.
        RunStopped: by Ctrl-C or SIGTERM; the run is left as it stands and can be gone on with.
        AlreadyRunning: another command drives it.
    """
    store = Store(home)
    with hold(home / "runs" / key / COMMAND_LOCK), heeded():
        driver = Driver(home, key, control, say)
        try:
            driver.rounds()
            driver.clear()
            return driver.deploy(RunStore(home).plan(key).request, driver.publish())
        except (RunInterrupted, NotRunning, FlowerFailed) as error:
            if not rounds.begun(store.rounds(key)):
                close(home, key, error.what)
                raise
            hint = f"{error.hint}; then: edge-coordinator rounds resume {key}"
            raise RunInterrupted(f"run {key} was cut off: {error.what}", hint=hint) from error
        except EdgeError as error:
            close(home, key, error.what)
            raise
        except KeyboardInterrupt as sign:
            raise _stopped(driver, home, key, sign) from None


def _stopped(driver: Driver, home: Path, key: str, sign: KeyboardInterrupt) -> RunStopped:
    """Ask nobody any more, and leave the run as it stands: its finished rounds, and what they cost, are not undone.

    Giving a run up for good is a decision of its own: `rounds abandon`.
    """
    with suppress(NotRunning):
        driver.clear()
    run = RunStore(home).plan(key).flower
    if run:
        with suppress(FlowerFailed):  # it may have ended by itself
            flower.stop_run(home, run)
    done = len(rounds.done_of(Store(home).rounds(key)))
    kind, by = (RunTerminated, "SIGTERM") if isinstance(sign, Terminated) else (RunStopped, "Ctrl-C")
    return kind(
        f"run {key} was stopped by {by}; it is unfinished, {done} rounds are kept",
        hint=f"edge-coordinator rounds resume {key}, or rounds abandon {key} --reason WHY",
    )


def close(home: Path, key: str, reason: str) -> None:
    """A run has failed: its open round is abandoned, what is done is kept, and Flower's part is ended."""
    store, plans = Store(home), RunStore(home)
    state = store.run(key)
    if state is not None and state.result:
        return  # published: what is left is to deploy it
    store.end(key, failure=reason)
    for row in store.rounds(key):
        if row.state in ("planned", "open", "closing"):
            store.put_round(rounds.abandon(row, reason))
    run = plans.plan(key).flower
    if run:
        with suppress(FlowerFailed):  # it may have ended by itself
            flower.stop_run(home, run)


def with_bundle(old: Desired, bundle: str, version: str, registry_url: str) -> Desired:
    """The desired state with one bundle's version in it."""
    return replace(old, bundles={**old.bundles, bundle: version}, registry=registry_url)


def _target(signed: Registry, plan: RunPlan) -> Target | None:
    """What stands in the registry under the version that the result was given."""
    wanted = (plan.request.bundle, plan.version)
    return next((one for one in signed.published() if (one.bundle, one.version) == wanted), None)
