"""What the coordinator wants, what this device runs, and the rounds it takes part in."""

from collections.abc import Mapping

import msgspec

from edge_agent import wishes
from edge_agent.batch import Batch
from edge_agent.bundles import Bundles
from edge_agent.documents import Documents
from edge_agent.doors import Doors
from edge_agent.effects import Log
from edge_agent.gate import Gate
from edge_agent.happenings import (
    BundleAsked,
    BundleFailed,
    BundleReady,
    BundleStaged,
    BundleWithdrawn,
    DocumentFailed,
    EgressAsked,
    Happening,
    Learned,
    LearnerEnded,
    RoundTaken,
)
from edge_agent.infer.model import Array, LoadedModel
from edge_agent.learn import parameters
from edge_agent.maintenance import Windows
from edge_agent.memory.consent import Consents
from edge_agent.memory.subjects import Kept
from edge_agent.offers import Offers
from edge_agent.trials import Trials
from firmware_configs.messages import BundleState, Desired
from firmware_configs.profile import Profile
from firmware_configs.targets import Kind

PERSONAL_MAX = 1_024
"""Subjects' personal parameters in memory."""


class Control:
    """Desired and reported state, bundles and rounds of one device."""

    def __init__(
        self,
        profile: Profile,
        device: str,
        doors: Doors,
        gate: Gate,
        consents: Consents,
        trials: Trials,
        counters: dict[str, int],
    ) -> None:
        self._device, self._doors, self._gate = device, doors, gate
        self._counters = counters
        self._desired, self._ignored = Desired(revision=0), ""
        self._windows = Windows(profile.maintenance, doors.local_ms)
        self._trials = trials
        self._bundles = Bundles(profile, doors, trials, self._count)
        self.offers = Offers(profile, doors, gate, consents, counters)
        self._documents = Documents(doors)
        self._resumed = self._waits = False
        self._reported_ms = 0
        self._grows = tuple(f"examples.{model.name}" for model in profile.model if model.federated)
        self._told: dict[str, int] = {}
        """Counter of examples → what the newest status said, since this start."""
        # Before anything was learned nobody has any: then no event need ask the store.
        self._has_personal = doors.holds("personal")
        self._personal: Kept[dict[str, Array]] = Kept(
            lambda key: doors.recall("personal", key), _unpacked, dict, PERSONAL_MAX
        )

    def restore(self, key: str, value: bytes) -> None:
        """Take up a row of the room `meta` again."""
        if key == "desired":
            self._desired = msgspec.msgpack.decode(value, type=Desired)
            self._bundles.wanted = self._desired.bundles
            self._windows.narrow(self._desired.maintenance)
            self._trials.watch(self._desired.watch)
        elif not self.offers.restore(key, value):
            self._bundles.restore(key, value)

    def connected(self, batch: Batch) -> None:
        """The broker is there: say who we are, and take up what a crash cut off."""
        self._gate.announce(batch)
        self._gate.enter_will(batch)
        self._say_status(batch)
        if not self._resumed:
            self._resumed = True
            self._pursue(self._desired, batch)
        self.report(batch)

    def trim(self) -> None:
        """Let go of personal parameters that were not needed lately."""
        self._personal.trim()

    def bundles(self) -> dict[str, BundleState]:
        """What runs, by name."""
        return self._bundles.states()

    def status(self, batch: Batch) -> None:
        """Say that we are up, and how trials stand."""
        self._say_status(batch)
        if self._trials.running:
            self.report(batch)

    def tell_growth(self, batch: Batch) -> None:
        """Between two statuses, once a second: tell a count of examples that has come to be at least twice as large.

        A coordinator asks nobody of whom it knows too few, so the first example is worth a message, and the thousand
        and first is not. There are no more such messages in a device's life than doublings.
        """
        if any(self._counters.get(name, 0) >= max(1, 2 * self._told.get(name, 0)) for name in self._grows):
            self._say_status(batch)

    def _say_status(self, batch: Batch) -> None:
        self._told = {name: self._counters.get(name, 0) for name in self._grows}
        self._gate.status(batch)

    def desired(self, desired: Desired, batch: Batch) -> bool:
        """Take a newer wish of the coordinator; one that is stale, contradicts or is another's changes nothing.

        Returns:
            Whether it holds now.
        """
        if desired == self._desired:
            return True  # the retained one, once more
        ignored = wishes.refusal(desired, self._desired, self._device, self._doors.coordinator)
        if ignored:
            self._count(f"desired.{ignored.split(':')[0]}")
            batch.effects.append(Log(level="warning", code="desired", text=f"ignored: {ignored}"))
            if ignored != self._ignored:
                self._ignored = ignored
                self.report(batch)
            return False
        self._desired, self._ignored = desired, ""
        batch.put("meta", "desired", msgspec.msgpack.encode(desired))
        self._windows.narrow(desired.maintenance)
        self._pursue(desired, batch)
        self.report(batch)
        return True

    def _pursue(self, desired: Desired, batch: Batch) -> None:
        opened = self._windows.opened(batch.now_ms, batch.settled_ms)
        self._bundles.pursue(desired, batch, may_begin=opened)
        self._documents.pursue(desired, batch, may_begin=opened)
        if desired.offer is not None:
            taken = self.offers.run
            self.offers.consider(desired.offer, batch, may_begin=opened)
            if desired.offer.examples_min > 1 and self.offers.run != taken:
                # The coordinator goes by what was told last, and then there may have been too few.
                self._say_status(batch)
        else:
            self.offers.withdrawn()
        self._waits = not opened and (self._bundles.waiting or self._documents.waiting or self.offers.waits)

    def tick(self, batch: Batch) -> None:
        """Once a second: what waited for a maintenance window, or for the device to be ready, may begin."""
        due = self._waits or self.offers.is_due(batch.now_ms)
        if due and self._windows.opened(batch.now_ms, batch.settled_ms):
            waited, told = self._waits, self.offers.learning
            self._pursue(self._desired, batch)
            if waited or self.offers.learning != told:
                self.report(batch)

    def is_wanted(self, kind: Kind, name: str, version: str) -> bool:
        """Whether this is what the coordinator wants now; a bundle also when it has no wish for one of the name."""
        if kind == "bundle":
            return self._bundles.wanted.get(name, version) == version
        return self._desired.documents.get(kind) == f"{name}-{version}"

    def hear(self, happening: Happening, batch: Batch) -> bool:
        """Take in news of bundles and learners; True when the active models changed."""
        match happening:
            case BundleReady() | BundleStaged() | BundleWithdrawn() | BundleFailed() | BundleAsked():
                changed = self._bundles.hear(happening, batch)
                self.report(batch)
                return changed
            case DocumentFailed():
                self._documents.failed(happening)
                opened = self._windows.opened(batch.now_ms, batch.settled_ms)
                self._documents.pursue(self._desired, batch, may_begin=opened)
                self.report(batch)
            case EgressAsked():
                self.offers.ask(happening, batch)
            case RoundTaken(run=run, state=state):
                self.offers.keep(run, state, batch)
            case Learned():
                self._learned(happening, batch)
            case LearnerEnded():
                self.offers.ended(happening, batch)
                self.report(batch)
            case _:
                pass
        return False

    def consent_changed(self, subject: str, batch: Batch) -> None:
        """Destroy what was learned from a subject that no longer agrees: its own parameters, and its examples."""
        for model in self.offers.consent_changed(subject, batch):
            key = personal_key(model, subject)
            batch.drop("personal", key)
            if self._has_personal:
                self._personal.replace(key, {})

    def _learned(self, learned: Learned, batch: Batch) -> None:
        # Of people who withdrew, before or meanwhile, nothing that was made is held on to.
        kept = {} if self.offers.is_void(learned.run) else learned.personal
        for subject, packed in kept.items():
            key = personal_key(learned.bundle, subject)
            batch.put("personal", key, packed)
            self._personal.replace(key, _unpacked(packed))
            self._has_personal = True
        self.offers.learned(learned.run, learned.bundle, batch)

    def personal(self, model: LoadedModel, subject: str) -> Mapping[str, Array]:
        """The subject's own parameters for a model; what no longer fits its shapes starts again."""
        if not self._has_personal:
            return {}
        held = self._personal.get(personal_key(model.name, subject))
        # Parameters of the shared part are in it too, where rounds train a copy of it for each person.
        return {name: value for name, value in held.items() if value.shape == model.shapes.get(name)}

    def report(self, batch: Batch) -> None:
        """Say what runs here."""
        self._reported_ms = batch.now_ms
        states = self._bundles.states()
        self._gate.reported(
            self._desired.revision,
            states,
            self.offers.learning,
            self.offers.run,
            batch,
            ignored=self._ignored,
            documents=self._documents.states(),
        )

    def settle(self, batch: Batch) -> None:
        """The end of a step in which trials run."""
        ended = self._bundles.settle(batch)
        if ended or self._is_report_due(batch.now_ms):
            self.report(batch)

    def _is_report_due(self, now_ms: int) -> bool:
        """Whether a rollout waits for figures; after a leap of the clock rather at once than late."""
        running = self._trials.running
        periods = [watch.every_s for name, watch in self._desired.watch.items() if name in running]
        return bool(periods) and not 0 <= now_ms - self._reported_ms < 1_000 * min(periods)

    def _count(self, name: str) -> None:
        self._counters[name] = self._counters.get(name, 0) + 1


def personal_key(bundle: str, subject: str) -> str:
    """The room `personal` holds one row for each bundle and subject."""
    return f"{bundle}\x00{subject}"


def _unpacked(packed: bytes) -> dict[str, Array]:
    return dict(parameters.unpack(packed))
