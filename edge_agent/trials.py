"""A new version of a bundle beside the old one: who is served by which, what is counted, and when one of them goes.

shadow: both score, the old one decides. canary: the new one decides for a share of the subjects. full: the new one
decides for all, and is watched for a while. Which version serves changes only with a happening (`BundleReady`,
`BundleStaged`, `BundleWithdrawn`), so a replay of the journal goes the same way whatever the clock says.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from edge_agent.batch import Batch
from edge_agent.doors import Doors
from edge_agent.effects import Log, Switch
from edge_agent.infer.model import LoadedModel
from edge_agent.sources import HOUSEHOLD
from firmware_configs.histogram import bucket_of
from firmware_configs.messages import Sums, Tally
from firmware_configs.profile import Model, Stage, Swap

LATENCY_MIN_S = 0.001
"""A call below this is quick enough, however much quicker the old version was."""
ALPHA = 0.001
"""How often, at most, a version that earns no less than is allowed is ever sent back for its reward, however often one
looks (`bounded_difference`). Small, because a fleet is many devices, each of which looks for itself."""
LOOK_GROWTH = 1.1
"""By how much the rewards must have grown since the last look: bounds cost more than a decision does."""


class Side(Struct):
    """What is counted of one version."""

    decisions: int = 0
    errors: int = 0
    """Calls that failed, and decisions that overran their budget."""
    calls: int = 0
    seconds: float = 0.0
    rewards: int = 0
    reward: float = 0.0
    """The sum; each in [0, 1]."""
    squares: float = 0.0
    """The sum of their squares."""
    buckets: dict[int, int] = msgspec.field(default_factory=dict)
    """Calls by how long they took, as in `firmware_configs.histogram`."""

    @property
    def mean_s(self) -> float:
        return self.seconds / self.calls if self.calls else 0.0

    @property
    def mean_reward(self) -> float:
        return self.reward / self.rewards if self.rewards else 0.0

    @property
    def earned(self) -> tuple[float, float, float]:
        """Rewards, their sum, the sum of their squares."""
        return float(self.rewards), self.reward, self.squares

    def tally(self) -> Tally:
        """As it is told."""
        return Tally(
            decisions=self.decisions,
            errors=self.errors,
            calls=dict(self.buckets),
            rewards=self.rewards,
            reward=self.reward,
            squares=self.squares,
        )


class Trial(Struct, kw_only=True):
    """One new version against the one that it is to replace, or has replaced."""

    version: str
    base: str
    """Empty: nothing served before."""
    stage: Stage
    new: Side = msgspec.field(default_factory=Side)
    old: Side = msgspec.field(default_factory=Side)
    compared: int = 0
    agreed: int = 0
    """How often both had the same best candidate."""
    difference: float = 0.0
    """Sum of the absolute differences of the chosen item's score."""
    looked: int = 0
    """Rewards of both at the last look at how far they differ."""

    def figures(self) -> dict[str, float]:
        """For the report, in the units that people read."""
        found = {
            "decisions": self.new.decisions,
            "errors": self.new.errors,
            "ms": round(self.new.mean_s * 1_000, 4),
            "ms_old": round(self.old.mean_s * 1_000, 4),
            "rewards": self.new.rewards,
            "rewards_old": self.old.rewards,
            "reward": round(self.new.mean_reward, 4),
            "reward_old": round(self.old.mean_reward, 4),
        }
        if self.compared:
            found["agreement"] = round(self.agreed / self.compared, 4)
            found["score_difference"] = round(self.difference / self.compared, 6)
        return found

    def sums(self) -> Sums:
        """For a rollout, which adds them up."""
        return Sums(new=self.new.tally(), old=self.old.tally(), compared=self.compared, agreed=self.agreed)

    def look(self) -> bool:
        """Whether there are enough new rewards to look again; looking at fewer moments is as valid as at all."""
        seen = self.new.rewards + self.old.rewards
        if seen < self.looked * LOOK_GROWTH or seen == self.looked:
            return False
        self.looked = seen
        return True


_unpack = msgspec.msgpack.Decoder(Trial).decode


def unpack(packed: bytes) -> Trial | None:
    """The trial of a stored form; None when another version of the agent stored it otherwise."""
    try:
        trial = _unpack(packed)
    except msgspec.MsgspecError:
        return None
    for side in (trial.new, trial.old):
        if side.reward > 0.0 and not side.squares:
            side.squares = side.reward  # stored before squares were counted: the most that they can be
    return trial


def broken(trial: Trial, limits: Swap) -> str:
    """Which budget the new version has broken, in words; empty: none."""
    new, old = trial.new, trial.old
    # From the first failures on: what would be too many of `decisions_min` is too many.
    if new.errors > limits.error_max * max(new.decisions, limits.decisions_min):
        return f"{new.errors} of {new.decisions} decisions failed or overran, at most {limits.error_max:g} may"
    if min(new.calls, old.calls) >= limits.decisions_min and new.mean_s > max(
        LATENCY_MIN_S, limits.latency_ratio_max * old.mean_s
    ):
        return f"a call takes {new.mean_s * 1_000:.2f} ms, the old version's {old.mean_s * 1_000:.2f}"
    # The bounds lie around the means: where those do not differ by so much, there is nothing to work out.
    drops = old.mean_reward - new.mean_reward > limits.reward_drop_max
    if min(new.rewards, old.rewards) >= limits.decisions_min and drops and trial.look():
        # Most devices never get so far, and the module takes long to load.
        from models.experiments.sequences import bounded_difference

        _, high = bounded_difference(old.earned, new.earned, ALPHA)
        if high < -limits.reward_drop_max:
            return f"its mean reward is {new.mean_reward:.3f}, the old version's {old.mean_reward:.3f}"
    return ""


def next_stage(trial: Trial, limits: Swap) -> Stage | None:
    """Where the trial goes when nothing is broken; None: it stays where it is."""
    if trial.stage == "shadow" and trial.new.decisions >= limits.shadow_decisions:
        return "canary"
    if trial.stage == "canary":
        # Of few people, perhaps nobody is drawn: then there is nothing to wait for.
        nobody = not trial.new.decisions and trial.old.decisions >= limits.canary_decisions / limits.canary_share
        if nobody or trial.new.decisions >= limits.canary_decisions:
            return "full"
    return None


def in_canary(secret: bytes, name: str, version: str, drawn: str, share: float) -> bool:
    """Whether a subject, or an event about nobody, is among those that the new version serves."""
    digest = hmac.new(secret, f"canary\x00{name}\x00{version}\x00{drawn}".encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8]) < share * 2.0**64


class Trials:
    """The trials of one device, by bundle.

    Attributes:
        running: bundle's name → its trial; empty most of the time, and then nothing here costs anything.
    """

    def __init__(self, models: Iterable[Model], doors: Doors) -> None:
        self.running: dict[str, Trial] = {}
        self._limits = {model.name: model.swap for model in models}
        self._doors = doors
        self._dirty: set[str] = set()
        self.watched: frozenset[str] = frozenset()
        """Bundles that a rollout watches: their trials go on until it lets go."""
        self._asked: set[str] = set()
        """Trials whose end or next stage the shell was asked for, and has not answered."""

    def restore(self, name: str, packed: bytes) -> None:
        """Take up a trial that a restart cut off; what it was about to ask for, it asks again."""
        trial = unpack(packed)
        if trial is not None:
            self.running[name] = trial
            self._dirty.add(name)

    def limits(self, name: str) -> Swap:
        """The profile's budgets for a bundle."""
        return self._limits.get(name, Swap())

    def begin(self, name: str, version: str, base: str, stage: Stage, batch: Batch) -> None:
        """Start counting; what the old one costs and earns is known from an earlier stage of the same version."""
        known = self.running.get(name)
        old = Side()
        if known is not None and known.version == version:
            old = msgspec.structs.replace(known.old, decisions=0, errors=0)
        self.end(name, batch)
        if stage == "full" and (not base or not (self.limits(name).watched_decisions or name in self.watched)):
            return
        self.running[name] = Trial(version=version, base=base, stage=stage, old=old)
        self._dirty.add(name)

    def end(self, name: str, batch: Batch) -> None:
        """Forget the trial."""
        self._asked.discard(name)
        self._dirty.discard(name)
        if self.running.pop(name, None) is not None:
            batch.drop("meta", key_of(name))

    def is_tried(self, name: str, version: str) -> bool:
        """Whether this version is on trial now."""
        trial = self.running.get(name)
        return trial is not None and trial.version == version

    def answered(self, name: str) -> None:
        """The shell has answered."""
        self._asked.discard(name)

    def serving(self, names: Sequence[str], subject: str, event_id: str) -> list[LoadedModel]:
        """The models that decide for a subject, in the order of `names`; those that are not there are left out.

        A canary is drawn by subject, so that a person meets one version; what is about nobody, by event.
        """
        active = self._doors.models
        if not self.running:
            return [active[name] for name in names if name in active]
        drawn = event_id if subject == HOUSEHOLD else subject
        found = (self._one(name, drawn) for name in names)
        return [model for model in found if model is not None]

    def _one(self, name: str, drawn: str) -> LoadedModel | None:
        trial, model = self.running.get(name), self._doors.trials.get(name)
        if (
            trial is not None
            and model is not None
            and trial.stage == "canary"
            and trial.version == model.version
            and in_canary(self._doors.secret, name, trial.version, drawn, self.limits(name).canary_share)
        ):
            return model
        return self._doors.models.get(name)

    def shadows(self, names: Sequence[str]) -> list[LoadedModel]:
        """The models in shadow of some of these."""
        return [
            model
            for name in names
            if (trial := self.running.get(name)) is not None
            and trial.stage == "shadow"
            and (model := self._doors.trials.get(name)) is not None
            and model.version == trial.version
        ]

    def called(self, model: LoadedModel, seconds: float, *, failed: bool) -> None:
        """One call of a model on trial, or of the one that it is compared with."""
        side = self._side(model.name, model.version)
        if side is None:
            return
        side.errors += failed
        if not failed:
            side.calls += 1
            side.seconds += seconds
            number = bucket_of(seconds * 1_000)
            side.buckets[number] = side.buckets.get(number, 0) + 1

    def decided(self, models: Iterable[LoadedModel], *, overran: bool) -> None:
        """One decision by these models."""
        for model in models:
            side = self._side(model.name, model.version)
            if side is not None:
                side.decisions += 1
                side.errors += overran

    def compared(self, model: LoadedModel, *, agreed: bool, difference: float) -> None:
        """One decision for which a version in shadow scored too."""
        trial = self.running[model.name]
        trial.compared += 1
        trial.agreed += agreed
        trial.difference += difference

    def rewarded(self, bundles: dict[str, str], value: float) -> None:
        """An outcome of a decision that these versions made."""
        if not self.running:
            return
        for name, version in bundles.items():
            side = self._side(name, version)
            if side is not None:
                side.rewards += 1
                side.reward += value
                side.squares += value * value

    def watch(self, names: Iterable[str]) -> None:
        """What a rollout watches from now on; whose trial is over without it, is kept with the next step."""
        self.watched = frozenset(names)
        self._dirty |= self.running.keys()

    def _is_over(self, name: str, trial: Trial) -> bool:
        enough = trial.new.decisions >= self.limits(name).watched_decisions
        return trial.stage == "full" and name not in self.watched and enough

    def _side(self, name: str, version: str) -> Side | None:
        trial = self.running.get(name)
        if trial is None or version not in {trial.version, trial.base}:
            return None
        self._dirty.add(name)
        return trial.new if version == trial.version else trial.old

    def settle(self, batch: Batch) -> list[str]:
        """Store what was counted in this step, and ask for what follows from it.

        Returns:
            Bundles whose new version is kept from now on.
        """
        kept = []
        for name in sorted(self._dirty):
            trial, limits = self.running[name], self.limits(name)
            if name not in self._asked:
                asked = _asked(name, trial, limits)
                if asked is not None:
                    self._asked.add(name)
                    batch.effects.append(asked)
                    batch.effects.append(Log(level="info", code="swap", text=_told(asked, trial)))
                elif self._is_over(name, trial):
                    kept.append(name)
                    continue
            batch.put("meta", key_of(name), msgspec.msgpack.encode(trial))
        self._dirty.clear()
        for name in kept:
            self.end(name, batch)
        return kept


def key_of(name: str) -> str:
    """Where a trial is stored in the room `meta`."""
    return f"trial:{name}"


def _asked(name: str, trial: Trial, limits: Swap) -> Switch | None:
    if reason := broken(trial, limits):
        if trial.stage == "full":
            return Switch(name=name, version=trial.base, to="full", reason=reason)
        return Switch(name=name, version=trial.version, to="out", reason=reason)
    stage = next_stage(trial, limits)
    return Switch(name=name, version=trial.version, to=stage) if stage is not None else None


def _told(asked: Switch, trial: Trial) -> str:
    if asked.reason:
        return f"{asked.name} {trial.version} gives way to {trial.base or 'nothing'}: {asked.reason}"
    return f"{asked.name} {asked.version} goes from {trial.stage} to {asked.to} after {trial.new.decisions} decisions"
