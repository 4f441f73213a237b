"""Experiments as the commands run them: plans from profiles, reports from the broker, releases, shares for devices."""

import contextlib
import math
import secrets
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from paho.mqtt.client import Client, MQTTMessage

from coordinator.accountant import Budget, Spend
from coordinator.errors import NotDeclared, NothingReleased, NotRunning
from coordinator.experiments import Gathered, Plan, Release, blurred, claim, gather, read
from coordinator.shell import line
from coordinator.shell.experiment_store import ExperimentStore
from coordinator.shell.home import endpoints_of, last_endpoints
from coordinator.shell.mqtt_control import Control
from coordinator.shell.privacy_store import PrivacyStore
from coordinator.shell.store import Store
from firmware_configs import designs
from firmware_configs.loader import load
from firmware_configs.messages import ROOT, Desired, ExperimentReport, Shares
from models.experiments.allocation import Proposal, propose
from models.experiments.analysis import Analysis

CONNECT_S = 10.0
QUIET_S = 0.5
"""Retained reports come at once; after so long without one they are all here."""
COLLECT_S = 10.0
POPULATION = "all devices"


class Shown(Struct, frozen=True, kw_only=True):
    """What is known of an experiment."""

    plan: Plan
    release: Release
    analysis: Analysis
    refused: dict[str, str]


def add(home: Path, profile: Path) -> list[Plan]:
    """Take up the experiments of a profile that the devices run.

    Shares that were moved are kept while the plan is the same.

    Raises:
        ProfileError: it cannot be used.
        NotDeclared: it has no experiment, or lets no sums out.
    """
    loaded = load(profile).profile
    found = [place.experiment for place in loaded.placement if place.experiment is not None]
    egress = next((one for one in loaded.egress if one.kind == "experiment"), None)
    if not found or egress is None:
        missing = 'no [[egress]] of kind "experiment"' if found else "no experiment"
        raise NotDeclared(f"{profile} has {missing}", hint="declare it in the profile, on the devices too")
    store = ExperimentStore(home)
    known = {plan.experiment.name: plan for plan in store.plans()}
    made = []
    for experiment in found:
        plan, old = Plan(experiment=experiment, egress=egress), known.get(experiment.name)
        if old is not None and old.hash == plan.hash:
            plan = msgspec.structs.replace(plan, shares=old.shares)
        store.put_plan(plan)
        made.append(plan)
    return made


def collect(home: Path) -> int:
    """Fetch what devices have reported since; returns how many reports came. Without a broker: none."""
    where = last_endpoints(home)
    if where is None:
        return 0
    store, came = ExperimentStore(home), 0
    with contextlib.suppress(NotRunning):
        for device, report in _retained(where.broker, home).items():
            store.put_report(device[0], report)
            came += 1
    return came


def _retained(broker: str, home: Path) -> Mapping[tuple[str, str], ExperimentReport]:
    """(device, experiment) → its report, as the broker keeps them."""
    found: dict[tuple[str, str], ExperimentReport] = {}
    came, subscribed = threading.Event(), threading.Event()

    def on_message(_client: Client, _data: object, message: MQTTMessage) -> None:
        with contextlib.suppress(msgspec.MsgspecError):
            word = msgspec.msgpack.decode(message.payload, type=ExperimentReport)
            _, name = message.topic.rsplit("/", 1)
            if word.experiment == name:
                found[message.topic.split("/")[-3], name] = word
        came.set()

    def prepare(client: Client) -> None:
        client.on_message = on_message
        client.on_connect = lambda one, *_: one.subscribe(f"{ROOT}/+/experiment/+", qos=1)
        client.on_subscribe = lambda *_: subscribed.set()

    client = line.dial(broker, home, prepare)
    try:
        if not subscribed.wait(CONNECT_S):
            raise NotRunning("the broker does not answer", hint="check its log")
        deadline = time.monotonic() + COLLECT_S
        while time.monotonic() < deadline and came.wait(QUIET_S):
            came.clear()
    finally:
        line.hang_up(client)
    return found


def release(home: Path, name: str) -> Shown:
    """Tell the newest sums, once they are accounted for.

    Raises:
        UnknownExperiment, TooFewDevices: nothing is told, nothing is spent.
        PrivacyRefused: the budget of the profile is spent; nothing is told.
    """
    collect(home)
    store = ExperimentStore(home)
    plan = store.plan(name)
    gathered = gather(plan, store.reports(name), [device.name for device in Store(home).devices()])
    before = store.releases(plan)
    number = before[-1].number + 1 if before and plan.noise else 1
    epsilon = _spend(home, plan, number)
    dice = np.random.default_rng(secrets.randbits(256))
    made = Release(
        number=number,
        tables=blurred(plan, gathered, dice.standard_normal),
        noise=plan.noise,
        devices=f"at least {plan.egress.k_min}" if plan.noise else str(gathered.devices),
        privacy=claim(plan, epsilon, number),
        epsilon=epsilon,
        time_ms=int(time.time() * 1_000),
    )
    store.put_release(plan, made)
    return Shown(plan=plan, release=made, analysis=read(plan, made), refused=gathered.refused)


def _spend(home: Path, plan: Plan, number: int) -> float:
    """Enter the release before it is made; returns ε of all of them. The same people are in every plan of a name."""
    privacy = plan.egress.privacy
    if privacy is None or not plan.noise:
        return math.inf
    budget = Budget(epsilon=privacy.epsilon_max or math.inf, delta=privacy.delta)
    spend = Spend(noise_multiplier=privacy.noise_multiplier, rate=1.0)
    account, run = f"experiment {plan.experiment.name}", f"experiment {plan.experiment.name} {plan.hash}"
    return PrivacyStore(home).spend(account, POPULATION, budget, run, number, spend)


def show(home: Path, name: str) -> Shown:
    """The newest release; where no noise was promised and a release costs nothing, a new one.

    Raises:
        NothingReleased: noise was promised and nothing was released yet.
    """
    store = ExperimentStore(home)
    plan = store.plan(name)
    if not plan.noise:
        return release(home, name)
    before = store.releases(plan)
    if not before:
        raise NothingReleased(
            f"nothing of `{name}` was released yet, and a release spends of its privacy budget",
            hint=f"edge-coordinator experiments release {name}",
        )
    return Shown(plan=plan, release=before[-1], analysis=read(plan, before[-1]), refused={})


def standing(home: Path, plan: Plan) -> Shown:
    """What is known here, without asking the broker, releasing or spending anything: to look as often as one likes.

    Raises:
        NothingReleased, TooFewDevices: there is nothing to look at yet.
    """
    if plan.noise:
        return show(home, plan.experiment.name)
    store = ExperimentStore(home)
    enrolled = [device.name for device in Store(home).devices()]
    gathered = gather(plan, store.reports(plan.experiment.name), enrolled)
    made = _unblurred(plan, gathered)
    return Shown(plan=plan, release=made, analysis=read(plan, made), refused=gathered.refused)


def _unblurred(plan: Plan, gathered: Gathered) -> Release:
    """Sums of which no noise was promised."""
    return Release(
        number=1,
        tables=gathered.tables,
        noise=0.0,
        devices=str(gathered.devices),
        privacy=claim(plan, math.inf, 1),
        epsilon=math.inf,
        time_ms=int(time.time() * 1_000),
    )


def allocate(home: Path, name: str, *, dry: bool) -> tuple[Proposal, int]:
    """Move traffic as the newest result allows, and ask the devices; returns what and the number of the shares.

    Raises:
        NotDeclared: the experiment is not adaptive.
        NotRunning: there is no broker to ask by; nothing was changed.
    """
    shown = show(home, name)
    plan = shown.plan
    if plan.experiment.adaptive is None:
        raise NotDeclared(f"`{name}` is not adaptive", hint="add [placement.experiment.adaptive] to the profile")
    now = max(plan.probabilities)
    proposal = propose(plan.experiment, shown.analysis, plan.probabilities[now])
    if dry or not proposal.reasons:
        return proposal, now
    arms = designs.arms(plan.experiment)
    shares = {arm.name: share for arm, share in zip(arms, proposal.shares, strict=True)}
    store = Store(home)
    with Control(endpoints_of(home).broker, store) as control:
        changed = msgspec.structs.replace(plan, shares={**plan.shares, now + 1: shares})
        ExperimentStore(home).put_plan(changed)
        word = Shares(plan=plan.hash, number=now + 1, shares=shares)

        def wanted(old: Desired) -> Desired:
            return msgspec.structs.replace(old, experiments={**old.experiments, name: word})

        control.want([device.name for device in store.devices()], wanted)
    return proposal, now + 1
