"""The rounds that this device is offered: taken, put off, refused, resumed after a cut, and what is told of them."""

from collections.abc import Mapping

import msgspec

from edge_agent.batch import Batch
from edge_agent.doors import Doors
from edge_agent.effects import Answer, Log, Train
from edge_agent.egress import spending
from edge_agent.errors import ChildDied, EgressError, RoundRefused, SuperLinkUnreachable
from edge_agent.gate import Gate
from edge_agent.happenings import EgressAsked, LearnerEnded
from edge_agent.learn.checkin import hindrance
from edge_agent.memory.consent import Consents
from firmware_configs.messages import RoundOffer
from firmware_configs.profile import Model, Profile

RESUMES_MAX = 3
"""Times that a learner of one run is started again after it was cut."""
RESUME_MS = 5_000
"""Pause before the first of them; it doubles."""
LOOK_MS = 10_000
"""How often a device that waits looks at itself again."""
CUT = frozenset({ChildDied.code, SuperLinkUnreachable.code})
"""Ends of a learner after which another one may go on: it died, or lost the line."""
WAITING, RUNNING, SENT = "waiting", "running", "sent"


class Offers:
    """One device's rounds.

    Attributes:
        run: the newest that was decided on; empty: none.
        learning: what is told of it: "", "waiting", "waiting: WHY", "running", "sent", "interrupted", or a code.
    """

    def __init__(
        self, profile: Profile, doors: Doors, gate: Gate, consents: Consents, counters: dict[str, int]
    ) -> None:
        self.run, self.learning = "", ""
        self._models: dict[str, Model] = {model.name: model for model in profile.model}
        self._doors, self._gate, self._consents, self._counters = doors, gate, consents, counters
        self._purposes = next((e.purposes for e in profile.egress if e.kind == "update"), None)
        declared = gate.ledger.declared("update")
        self._spending = spending.Spending(declared.privacy if declared is not None else None)
        self._learned: dict[str, int] = {}
        """Bundle → examples counted when a round was last answered."""
        self._cut, self._resumes, self._due_ms = "", 0, 0
        self._done = ""
        """The run whose last answer is away."""

    def restore(self, key: str, value: bytes) -> bool:
        """Take up a row of the room `meta` again; False when it is none of these."""
        if key.startswith(spending.PREFIX):
            self._spending.restore(key, value)
        elif key == "learned":
            self._learned = msgspec.msgpack.decode(value, type=dict[str, int])
        elif key == "run":
            self.run, self.learning = msgspec.msgpack.decode(value, type=tuple[str, str])
            if self.learning == RUNNING:
                # The learner died with the agent; the round may be offered again.
                self.run, self.learning = "", "interrupted"
        else:
            return False
        return True

    @property
    def waits(self) -> bool:
        """Whether an offer is put off."""
        return self.learning.startswith(WAITING)

    def withdrawn(self) -> None:
        """Nothing is offered any more."""
        if self.waits:
            self.learning = ""

    def is_due(self, now_ms: int) -> bool:
        """Whether it is time to look again at an offer that is put off, or to go on after a cut."""
        return (self.waits or bool(self._cut)) and not 0 < self._due_ms - now_ms <= RESUME_MS << RESUMES_MAX

    def consider(self, offer: RoundOffer, batch: Batch, *, may_begin: bool) -> None:
        """Take part in a round when everything that the profile asks for holds."""
        if offer.run == self.run:
            return
        if not may_begin:
            self.learning, self._due_ms = WAITING, 0
            return
        refusal = self._refusal(offer, batch.now_ms)
        if refusal is not None:
            self._set(offer.run, refusal.code, batch)
            batch.effects.append(Log(level="info", code=refusal.code, text=f"{refusal.what}; fix: {refusal.hint}"))
            return
        hindered = "" if offer.run == self._cut else self._hindrance(offer.bundle)
        if hindered:
            self.learning, self._due_ms = f"{WAITING}: {hindered}", batch.now_ms + LOOK_MS
            return
        self._cut = ""
        self._set(offer.run, RUNNING, batch)
        batch.effects.append(
            Train(
                run=offer.run,
                bundle=offer.bundle,
                version=offer.version,
                superlink=offer.superlink,
                app_hash=offer.app_hash,
                closes_ms=offer.closes_ms,
                subjects=self._consents.subjects_allowing(self._purposes or ()),
            )
        )

    def _refusal(self, offer: RoundOffer, now_ms: int) -> RoundRefused | None:
        model, version = self._models.get(offer.bundle), self._version(self._doors.models, offer.bundle)
        if model is None or not model.federated or self._purposes is None:
            return RoundRefused(f"`{offer.bundle}` is not federated here", hint="set federated = true in the profile")
        if offer.closes_ms and offer.closes_ms <= now_ms:
            return RoundRefused(f"round {offer.run} is closed already", hint="nothing to do")
        if version != offer.version:
            return RoundRefused(
                f"the round trains {offer.bundle} {offer.version}, which does not run here", hint="deploy it first"
            )
        if not self._counters.get(f"examples.{offer.bundle}"):
            return RoundRefused(f"no examples for {offer.bundle} yet", hint="wait for events and feedback")
        if not self._consents.subjects_allowing(self._purposes):
            return RoundRefused("nobody here has agreed to improve the models", hint="nothing to do")
        return None

    @staticmethod
    def _version(models: Mapping[str, object], bundle: str) -> str:
        return str(getattr(models.get(bundle), "version", ""))

    def _hindrance(self, bundle: str) -> str:
        # What is not fresh enough for a first round was refused above.
        fresh = self._counters.get(f"examples.{bundle}", 0) - self._learned.get(bundle, 0)
        asked = self._models[bundle].check_in
        return hindrance(asked, self._doors.readings(), fresh if asked.fresh_min > 1 else max(fresh, 1))

    def _set(self, run: str, learning: str, batch: Batch) -> None:
        self.run, self.learning = run, learning
        batch.put("meta", "run", msgspec.msgpack.encode((run, learning)))

    def ask(self, asked: EgressAsked, batch: Batch) -> None:
        """Enter what a learner would send, and keep what it goes on from in the same transaction."""
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
        self.keep(asked.run, asked.state, batch)
        batch.effects.append(Answer(token=asked.token, granted=True))

    def keep(self, run: str, state: bytes, batch: Batch) -> None:
        """What a learner that is cut from now on goes on from."""
        if state and run == self.run:
            batch.put("round", run, state)

    def learned(self, run: str, bundle: str, batch: Batch) -> None:
        """The run's last answer is away: nothing is left to go on from."""
        self._done = run
        self._learned[bundle] = self._counters.get(f"examples.{bundle}", 0)
        batch.put("meta", "learned", msgspec.msgpack.encode(self._learned))
        batch.drop("round", run)
        self._set(run, SENT, batch)
        self._count("rounds.trained")

    def ended(self, ended: LearnerEnded, batch: Batch) -> None:
        """A learner is gone; one that was cut is started again while its round is open."""
        if ended.run == self._done or not ended.code:
            self._set(ended.run, SENT, batch)
            self._count("rounds")
            return
        self._count("rounds.failed")
        if ended.code in CUT and self._resumes < RESUMES_MAX:
            self._cut, self._due_ms = ended.run, batch.now_ms + (RESUME_MS << self._resumes)
            self._resumes += 1
            self._set("", "interrupted", batch)
            return
        self._resumes = 0
        batch.drop("round", ended.run)
        self._set(ended.run, ended.code, batch)

    def forget(self, batch: Batch) -> None:
        """Somebody has withdrawn: what a learner has left may hold their parameters."""
        for run in {self.run, self._cut} - {""}:
            batch.drop("round", run)

    def _count(self, name: str) -> None:
        self._counters[name] = self._counters.get(name, 0) + 1
