"""Open Bandit's uniform log, lived through again: what would a learning policy have earned?

For each impression in the order of time a policy first says with which probability it would have shown the logged item
(of the campaign's, at that position), then learns from that item's click. So it knows only what came before, and its
value is IPS, SNIPS and DR over those probabilities; DR's reward model is cross-fitted on the same log and no part of
any policy. Nothing is tuned here: there are 46 clicks, and each setting looked at would be a draw of a lottery.

The policy of the other log (Bernoulli Thompson sampling, `bts`) is rebuilt from the propensities it logged in the same
week: for each item and position the last one before, made to sum to one. Its own log says what it really earned.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models import datasets, intervals
from models.datasets import Impression
from models.intervals import Estimate
from models.offpolicy.confidence import Confidence, Interval, Value, estimates, relative
from models.offpolicy.estimators import Fitted, Rounds, on_policy, snips
from models.offpolicy.reward_model import fit, folds
from models.offpolicy.support import Caution, Support, cautions, support
from tests.benchmarks.bandit.sides import F64, Learner, Setting, Stopwatch

Index = NDArray[np.int64]
ORDERS = 5


class Log(Struct, frozen=True, kw_only=True):
    """A campaign's log as numbers.

    Attributes:
        x: float64 (n, columns), user features and position, one-hot.
        action, position: int64 (n,), from 0.
        click, propensity, time: float64 (n,).
        items: the item of each action.
    """

    x: F64
    action: Index
    position: Index
    click: F64
    propensity: F64
    time: F64
    items: tuple[str, ...]


class Outcome(Struct, frozen=True, kw_only=True):
    """One policy on the uniform log."""

    name: str
    estimates: dict[str, Value]
    relative_value_snips: float
    """Of the uniform policy's mean on the same log."""
    relative_interval: Interval
    """95 %, bootstrapped over impressions, both at once."""
    support: Support
    cautions: tuple[Caution, ...]
    decide_us: float = 0.0
    learn_us: float = 0.0


class Replayed(Struct, frozen=True, kw_only=True):
    """The uniform log and everybody on it."""

    campaign: str
    impressions: int
    clicks: int
    items: int
    uniform: Estimate
    """Mean click of the uniform policy: on its own log, Wilson interval."""
    bts_on_policy: Estimate
    """Mean click of `bts` on its own log."""
    policies: tuple[Outcome, ...]


def replay(campaign: str, folder: Path | None, settings: Sequence[Setting], confidence: Confidence) -> Replayed:
    """Read both logs and let every policy live through the uniform one."""
    rows, own = (datasets.read_open_bandit(policy, campaign, folder) for policy in ("random", "bts"))
    log, other = read(rows, rows + own), read(own, rows + own)
    held = {
        "uniform": (np.full((len(log.action), len(log.items)), 1.0 / len(log.items)), {}),
        "bts": (rebuilt(log, other), {}),
    }
    for setting in settings:
        held[setting.name] = mixed(setting, log)
    policies = tuple(judged(name, log, distribution, confidence, spent) for name, (distribution, spent) in held.items())
    return Replayed(
        campaign=campaign,
        impressions=len(rows),
        clicks=int(log.click.sum()),
        items=len(log.items),
        uniform=intervals.wilson(float(log.click.sum()), len(rows)),
        bts_on_policy=intervals.wilson(float(other.click.sum()), len(own)),
        policies=policies,
    )


def read(rows: Sequence[Impression], known: Sequence[Impression]) -> Log:
    """Impressions as numbers; columns and items are those of `known`, so that two logs share them."""
    columns = sorted({f"{n}={value}" for row in known for n, value in enumerate(row.user)})
    columns += sorted({f"position={row.position}" for row in known})
    at = {name: n for n, name in enumerate(columns)}
    items = tuple(sorted({row.item for row in known}, key=lambda item: (len(item), item)))
    positions = sorted({row.position for row in known})
    x = np.zeros((len(rows), len(columns)))
    for n, row in enumerate(rows):
        for index, value in enumerate(row.user):
            x[n, at[f"{index}={value}"]] = 1.0
        x[n, at[f"position={row.position}"]] = 1.0
    return Log(
        x=x,
        action=np.array([items.index(row.item) for row in rows]),
        position=np.array([positions.index(row.position) for row in rows]),
        click=np.array([float(row.click) for row in rows]),
        propensity=np.array([row.propensity for row in rows]),
        time=np.array([row.time for row in rows]),
        items=items,
    )


def mixed(setting: Setting, log: Log) -> tuple[F64, dict[str, float]]:
    """`lived` for a policy that calls the items by numbers in one of `ORDERS` orders, drawn by chance.

    Ties, and in Vowpal Wabbit the hashes of names, go by the numbers: with so few clicks the value of one order alone
    is an accident (0.9 to 1.9 of uniform for Vowpal Wabbit; ours does not move).
    """
    count = len(log.items)
    total, spent = np.zeros((len(log.action), count)), []
    for seed in range(ORDERS):
        number = np.random.default_rng(seed).permutation(count)
        renamed = msgspec.structs.replace(log, action=number[log.action])
        found, took = lived(setting.make(count, log.x.shape[1]), renamed)
        total += found[:, number]
        spent.append(took)
    return total / ORDERS, {kind: float(np.median([took[kind] for took in spent])) for kind in spent[0]}


def lived(learner: Learner, log: Log) -> tuple[F64, dict[str, float]]:
    """(the policy's distribution at each impression (n, items), microseconds a call)."""
    found, watch = np.zeros((len(log.action), len(log.items))), Stopwatch()
    for n, action in enumerate(log.action.tolist()):
        context = learner.prepare(log.x[n])
        with watch.timing("decide"):
            found[n] = learner.distribution(context)
        with watch.timing("learn"):
            learner.learn(context, action, float(log.click[n]), float(log.propensity[n]))
    watch.calls = len(log.action)
    return found, watch.us()


def rebuilt(log: Log, other: Log) -> F64:
    """The other log's policy at each impression of this one, float64 (n, items); see the module."""
    positions = int(max(log.position.max(), other.position.max())) + 1
    last = np.zeros((positions, len(log.items)))
    for n in range(len(other.action) - 1, -1, -1):  # before an item's first, its first
        last[other.position[n], other.action[n]] = other.propensity[n]
    found = np.zeros((len(log.action), len(log.items)))
    seen = 0
    for n, time in enumerate(log.time):
        while seen < len(other.time) and other.time[seen] <= time:
            last[other.position[seen], other.action[seen]] = other.propensity[seen]
            seen += 1
        row = last[log.position[n]]
        found[n] = row / row.sum()
    return found


def judged(name: str, log: Log, distribution: F64, confidence: Confidence, spent: Mapping[str, float]) -> Outcome:
    """A policy's value from its distribution at each impression."""
    each = np.arange(len(log.action))
    rounds = Rounds(
        reward=log.click,
        logged=log.propensity,
        evaluated=np.clip(distribution[each, log.action], 0.0, 1.0),
        fitted=_fitted(log, distribution),
    )
    ratio, interval = relative(snips(rounds), on_policy(rounds), None, confidence)
    found = support(rounds)
    return Outcome(
        name=name,
        estimates=estimates(rounds, None, confidence),
        relative_value_snips=ratio,
        relative_interval=interval,
        support=found,
        cautions=cautions(rounds, found),
        **spent,
    )


def _fitted(log: Log, distribution: F64) -> Fitted:
    """Shrunk click rates of item and position, each fold's from the other folds."""
    items, count = len(log.items), len(log.action)
    group = log.position * items + log.action
    groups = (int(log.position.max()) + 1) * items
    nothing = np.zeros((count, 0))
    taken, direct, own = np.zeros(count), np.zeros(count), folds(count, None, seed=0)
    for fold in np.unique(own):
        here, there = own == fold, own != fold
        means = fit(group[there], nothing[there], log.click[there], groups).means.reshape(-1, items)
        taken[here] = means[log.position[here], log.action[here]]
        direct[here] = (distribution[here] * means[log.position[here]]).sum(axis=1)
    return Fitted(taken=taken, direct=direct)
