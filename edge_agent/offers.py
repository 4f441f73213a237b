"""The rounds that this device is offered: taken, put off, refused, resumed after a cut, and what is told of them."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from edge_agent.batch import Batch
from edge_agent.doors import Doors
from edge_agent.effects import Answer, Erase, Log, Train
from edge_agent.egress import spending
from edge_agent.errors import ChildDied, EgressError, EgressUndeclared, RoundRefused, SuperLinkUnreachable
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


class Taken(Struct):
    """What a learner was given.

    Attributes:
        subjects: whose examples it has.
        bundle: of the offer.
        kind: of the offer.
        withdrawn: whether one of them has withdrawn since it began.
    """

    subjects: tuple[str, ...]
    bundle: str
    kind: str
    withdrawn: bool = False


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
        self._statistic = next((e.purposes for e in profile.egress if e.kind == "statistic"), None)
        self._unlearn = next((e.unlearn for e in profile.egress if e.kind == "update"), None)
        self._taken: dict[str, Taken] = {}
        """Run → what its learner, which has not ended yet, was given."""
        declared = gate.ledger.declared("update")
        self._spending = spending.Spending(declared.privacy if declared is not None else None)
        self._learned: dict[str, int] = {}
        """Bundle → examples counted when a round was last answered."""
        self._cut, self._resumes, self._due_ms = "", 0, 0
        self._left = ""
        """The run in which the agent was cut: its learner's state may still be stored."""
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
                self._left, self.run, self.learning = self.run, "", "interrupted"
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
        hindered = "" if offer.run == self._cut else self._hindrance(offer)
        if hindered:
            self.learning, self._due_ms = f"{WAITING}: {hindered}", batch.now_ms + LOOK_MS
            return
        self._cut = ""
        self._set(offer.run, RUNNING, batch)
        subjects = self._subjects(offer)
        self._taken[offer.run] = Taken(subjects, offer.bundle, offer.kind)
        batch.effects.append(
            Train(
                run=offer.run,
                bundle=offer.bundle,
                version=offer.version,
                superlink=offer.superlink,
                app_hash=offer.app_hash,
                closes_ms=offer.closes_ms,
                subjects=subjects,
                unlearn=offer.kind == "unlearn",
                statistic=offer.kind == "statistic",
            )
        )

    @property
    def to_be_forgotten(self) -> frozenset[str]:
        """The purpose that is only there to be forgotten by, if the profile has one."""
        return frozenset([self._unlearn] if self._unlearn else [])

    def is_void(self, run: str) -> bool:
        """Whether a learner makes nothing for people that is kept: it only counts, or they withdrew."""
        taken = self._taken.get(run)
        return taken is not None and (taken.kind != "train" or taken.withdrawn)

    def _subjects(self, offer: RoundOffer) -> tuple[str, ...]:
        """Whose examples a round may use: who agrees, or of a last update who withdrew and agrees to that."""
        if offer.kind == "train":
            return self._consents.subjects_allowing(self._purposes or ())
        if offer.kind == "statistic":
            return self._consents.subjects_allowing(self._statistic or ())
        if self._unlearn is None:
            return ()
        asked = self._consents.subjects_allowing([self._unlearn])
        return tuple(one for one in asked if not self._agrees(self._models[offer.bundle], one))

    def _agrees(self, model: Model, subject: str) -> bool:
        """Whether the subject's own word lets a model learn from it."""
        return self._consents.own_allowed({*model.purposes, *(self._purposes or ())}, subject)

    def consent_changed(self, subject: str, batch: Batch) -> list[str]:
        """Destroy a subject's examples for the models that it no longer lets learn; returns the names of these.

        Only for a last update that the subject has agreed to are examples held on to; nothing is learned from them.
        """
        refused = [model for model in self._models.values() if not self._agrees(model, subject)]
        for model in refused:
            if not (model.federated and self._unlearn and self._consents.own_allowed([self._unlearn], subject)):
                batch.effects.append(Erase(shelf="example", group=model.name, subject=subject))
        # What the learner has made of the subject's examples meanwhile does not leave.
        for taken in self._taken.values():
            counts = self._consents.own_allowed(self._statistic or (), subject)
            kept = {"train": not refused, "statistic": counts and not refused, "unlearn": True}[taken.kind]
            taken.withdrawn = taken.withdrawn or (subject in taken.subjects and not kept)
        return [model.name for model in refused]

    def _refusal(self, offer: RoundOffer, now_ms: int) -> RoundRefused | None:
        model, version = self._models.get(offer.bundle), self._version(self._doors.models, offer.bundle)
        if offer.kind == "statistic" and self._statistic is None:
            return RoundRefused("no statistics leave this device", hint='add an [[egress]] of kind "statistic"')
        if model is None or not model.federated or (self._purposes is None and offer.kind != "statistic"):
            return RoundRefused(f"`{offer.bundle}` is not federated here", hint="set federated = true in the profile")
        if offer.closes_ms and offer.closes_ms <= now_ms:
            return RoundRefused(f"round {offer.run} is closed already", hint="nothing to do")
        if version != offer.version:
            return RoundRefused(
                f"the round trains {offer.bundle} {offer.version}, which does not run here", hint="deploy it first"
            )
        if not self._counters.get(f"examples.{offer.bundle}"):
            return RoundRefused(f"no examples for {offer.bundle} yet", hint="wait for events and feedback")
        if not self._subjects(offer):
            nobody = "asked to be taken out of it" if offer.kind == "unlearn" else "has agreed to improve the models"
            return RoundRefused(f"nobody here {nobody}", hint="nothing to do")
        return None

    @staticmethod
    def _version(models: Mapping[str, object], bundle: str) -> str:
        return str(getattr(models.get(bundle), "version", ""))

    def _hindrance(self, offer: RoundOffer) -> str:
        # What is not fresh enough for a first round was refused above.
        fresh = self._counters.get(f"examples.{offer.bundle}", 0) - self._learned.get(offer.bundle, 0)
        asked = self._models[offer.bundle].check_in
        # New examples are what training waits for, and nothing else.
        waits = offer.kind == "train" and asked.fresh_min > 1
        return hindrance(asked, self._doors.readings(), fresh if waits else max(fresh, asked.fresh_min, 1))

    def _set(self, run: str, learning: str, batch: Batch) -> None:
        for other in {self.run, self._cut, self._left} - {run, ""} if run else ():
            batch.drop("round", other)  # nobody goes on with it any more
            self._left = "" if other == self._left else self._left
        self.run, self.learning = run, learning
        batch.put("meta", "run", msgspec.msgpack.encode((run, learning)))

    def ask(self, asked: EgressAsked, batch: Batch) -> None:
        """Enter what a learner would send, and keep what it goes on from in the same transaction."""
        total, told, taken = 0.0, asked.privacy, self._taken.get(asked.run)
        try:
            if taken is not None and taken.withdrawn and asked.kind in {"update", "statistic"}:
                raise EgressUndeclared("consent was withdrawn while the round ran", hint="the next round counts")
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
        if taken is not None and taken.kind == "unlearn" and asked.kind == "update":
            # Before it leaves: no second one can be made, and nothing is held on to for it.
            for subject in taken.subjects:
                batch.effects.append(Erase(shelf="example", group=taken.bundle, subject=subject))
        batch.effects.append(Answer(token=asked.token, granted=True))

    def keep(self, run: str, state: bytes, batch: Batch) -> None:
        """What a learner that is cut from now on goes on from."""
        # What one has made who began before somebody withdrew holds their parameters, and what rounding took of them.
        taken = self._taken.get(run)
        if state and run == self.run and not (taken is not None and taken.withdrawn):
            batch.put("round", run, state)

    def learned(self, run: str, bundle: str, batch: Batch) -> None:
        """The run's last answer is away: nothing is left to go on from."""
        self._done = run
        if not self.is_void(run):
            self._learned[bundle] = self._counters.get(f"examples.{bundle}", 0)
            batch.put("meta", "learned", msgspec.msgpack.encode(self._learned))
        batch.drop("round", run)
        self._set(run, SENT, batch)
        taken = self._taken.get(run)
        words = {"train": "trained", "unlearn": "unlearned", "statistic": "counted"}
        kind = words[taken.kind] if taken is not None else "trained"
        self._count(f"rounds.{'withdrawn' if taken is not None and taken.withdrawn else kind}")

    def ended(self, ended: LearnerEnded, batch: Batch) -> None:
        """A learner is gone; one that was cut is started again while its round is open."""
        self._taken.pop(ended.run, None)
        if ended.run == self._done or not ended.code:
            self._set(ended.run, SENT, batch)
            self._count("rounds")
            return
        self._count("rounds.failed")
        if ended.code in CUT and self._resumes < RESUMES_MAX:
            self._cut, self._due_ms = ended.run, batch.now_ms + (RESUME_MS << self._resumes)
            self._resumes += 1
            self._set("", "interrupted", batch)
            # An agent that starts again knows of the state that is stored.
            batch.put("meta", "run", msgspec.msgpack.encode((ended.run, RUNNING)))
            return
        self._resumes = 0
        batch.drop("round", ended.run)
        self._set(ended.run, ended.code, batch)

    def forget(self, batch: Batch) -> None:
        """Somebody has withdrawn: what a learner has left may hold their parameters."""
        for run in {self.run, self._cut, self._left} - {""}:
            batch.drop("round", run)

    def _count(self, name: str) -> None:
        self._counters[name] = self._counters.get(name, 0) + 1
