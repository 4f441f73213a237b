"""What the coordinator wants, what this device runs, and the rounds it takes part in."""

from collections.abc import Mapping

import msgspec

from edge_agent import wishes
from edge_agent.batch import Batch
from edge_agent.bundles import Bundles
from edge_agent.doors import Doors
from edge_agent.effects import Answer, Log, Train
from edge_agent.egress import spending
from edge_agent.errors import EgressError, RoundRefused
from edge_agent.gate import Gate
from edge_agent.happenings import (
    BundleAsked,
    BundleFailed,
    BundleReady,
    BundleStaged,
    BundleWithdrawn,
    EgressAsked,
    Happening,
    Learned,
    LearnerEnded,
)
from edge_agent.infer.model import Array, LoadedModel
from edge_agent.learn import parameters
from edge_agent.maintenance import Windows
from edge_agent.memory.consent import Consents
from edge_agent.memory.subjects import Kept
from edge_agent.trials import Trials
from firmware_configs.messages import Desired, RoundOffer
from firmware_configs.profile import Model, Profile

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
        self._models: dict[str, Model] = {model.name: model for model in profile.model}
        self._device, self._doors, self._gate, self._consents = device, doors, gate, consents
        self._counters = counters
        self._update_purposes = next((e.purposes for e in profile.egress if e.kind == "update"), None)
        declared = gate.ledger.declared("update")
        self._spending = spending.Spending(declared.privacy if declared is not None else None)
        self._desired, self._ignored = Desired(revision=0), ""
        self._windows = Windows(profile.maintenance, doors.local_ms)
        self._trials = trials
        self._bundles = Bundles(profile, doors, trials, self._count)
        self._run, self._learning = "", ""
        self._resumed = self._waits = False
        self._reported_ms = 0
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
        elif key == "run":
            self._run, self._learning = msgspec.msgpack.decode(value, type=tuple[str, str])
            if self._learning == "running":
                # The learner died with the agent; the round may be offered again.
                self._run, self._learning = "", "interrupted"
        elif key.startswith(spending.PREFIX):
            self._spending.restore(key, value)
        else:
            self._bundles.restore(key, value)

    def connected(self, batch: Batch) -> None:
        """The broker is there: say who we are, and take up what a crash cut off."""
        self._gate.status(batch)
        if not self._resumed:
            self._resumed = True
            self._pursue(self._desired, batch)
        self.report(batch)

    def trim(self) -> None:
        """Let go of personal parameters that were not needed lately."""
        self._personal.trim()

    def status(self, batch: Batch) -> None:
        """Say that we are up, and how trials stand."""
        self._gate.status(batch)
        if self._trials.running:
            self.report(batch)

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
        if desired.offer is not None:
            self._consider(desired.offer, batch, may_begin=opened)
        elif self._learning == "waiting":
            self._learning = ""
        self._waits = not opened and (self._bundles.waiting or self._learning == "waiting")

    def tick(self, batch: Batch) -> None:
        """Once a second: what waited for a maintenance window begins when one opens."""
        if self._waits and self._windows.opened(batch.now_ms, batch.settled_ms):
            self._pursue(self._desired, batch)
            self.report(batch)

    def wanted(self, name: str) -> str:
        """The version of a bundle that the coordinator wants; empty: it has no wish."""
        return self._bundles.wanted.get(name, "")

    def _runs(self, name: str, version: str) -> bool:
        model = self._doors.models.get(name)
        return model is not None and model.version == version

    def _consider(self, offer: RoundOffer, batch: Batch, *, may_begin: bool) -> None:
        """Take part in a round when everything that the profile asks for holds."""
        if offer.run == self._run:
            return
        if not may_begin:
            self._learning = "waiting"
            return
        refusal = self._refusal(offer, batch.now_ms)
        if refusal is not None:
            self._set_round(offer.run, refusal.code, batch)
            batch.effects.append(Log(level="info", code=refusal.code, text=f"{refusal.what}; fix: {refusal.hint}"))
            return
        self._set_round(offer.run, "running", batch)
        batch.effects.append(
            Train(
                run=offer.run,
                bundle=offer.bundle,
                version=offer.version,
                superlink=offer.superlink,
                app_hash=offer.app_hash,
                closes_ms=offer.closes_ms,
                subjects=self._consents.subjects_allowing(self._update_purposes or ()),
            )
        )

    def _refusal(self, offer: RoundOffer, now_ms: int) -> RoundRefused | None:
        model = self._models.get(offer.bundle)
        if model is None or not model.federated or self._update_purposes is None:
            return RoundRefused(f"`{offer.bundle}` is not federated here", hint="set federated = true in the profile")
        if offer.closes_ms and offer.closes_ms <= now_ms:
            return RoundRefused(f"round {offer.run} is closed already", hint="nothing to do")
        if not self._runs(offer.bundle, offer.version):
            return RoundRefused(
                f"the round trains {offer.bundle} {offer.version}, which does not run here", hint="deploy it first"
            )
        if not self._counters.get(f"examples.{offer.bundle}"):
            return RoundRefused(f"no examples for {offer.bundle} yet", hint="wait for events and feedback")
        if not self._consents.subjects_allowing(self._update_purposes):
            return RoundRefused("nobody here has agreed to improve the models", hint="nothing to do")
        return None

    def _set_round(self, run: str, learning: str, batch: Batch) -> None:
        self._run, self._learning = run, learning
        batch.put("meta", "run", msgspec.msgpack.encode((run, learning)))

    def hear(self, happening: Happening, batch: Batch) -> bool:
        """Take in news of bundles and learners; True when the active models changed."""
        match happening:
            case BundleReady() | BundleStaged() | BundleWithdrawn() | BundleFailed() | BundleAsked():
                changed = self._bundles.hear(happening, batch)
                self.report(batch)
                return changed
            case EgressAsked():
                self._answer(happening, batch)
            case Learned():
                self._learned(happening, batch)
            case LearnerEnded(run=run, code=code):
                self._set_round(run, code or "sent", batch)
                self._count("rounds.failed" if code else "rounds")
                self.report(batch)
            case _:
                pass
        return False

    def _answer(self, asked: EgressAsked, batch: Batch) -> None:
        total, told = 0.0, asked.privacy
        try:
            if asked.mu_squared > 0.0:
                total, cost = self._spending.after(asked.bundle, asked.mu_squared)
                told = f"{asked.privacy}; {cost}"
            _, key, row = self._gate.ledger.enter(
                asked.kind, size=asked.bytes, sha256=asked.sha256, now_ms=batch.now_ms, privacy=told
            )
        except EgressError as error:
            self._count(f"withheld.{asked.kind}.{error.code}")
            batch.effects.append(Answer(token=asked.token, granted=False, reason=str(error)))
            return
        if asked.mu_squared > 0.0:
            batch.put("meta", *self._spending.enter(asked.bundle, total))
        batch.put("ledger", key, row)
        batch.effects.append(Answer(token=asked.token, granted=True))

    def _learned(self, learned: Learned, batch: Batch) -> None:
        for subject, packed in learned.personal.items():
            key = personal_key(learned.bundle, subject)
            batch.put("personal", key, packed)
            self._personal.replace(key, _unpacked(packed))
            self._has_personal = True
        self._count("rounds.trained")

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
        self._gate.reported(self._desired.revision, states, self._learning, self._run, batch, ignored=self._ignored)

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
