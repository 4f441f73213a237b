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
from edge_agent.learn import pacing
from edge_agent.learn.checkin import hindrance
from edge_agent.memory.consent import Consents
from firmware_configs.business import secret_metrics_of
from firmware_configs.messages import Counts, RoundOffer
from firmware_configs.profile import Model, Profile

RESUMES_MAX = 3
"""Times that a learner of one run is started again after it was cut."""
LOOK_MS = 10_000
"""How often a device that waits looks at itself again."""
CUT = frozenset({ChildDied.code, SuperLinkUnreachable.code})
"""Ends of a learner after which another one may go on: it died, or lost the line."""
LONGEST_PAUSE_MS = pacing.pause_ms(1.0, RESUMES_MAX)
NO_EXAMPLES: frozenset[Counts] = frozenset({"bandit", "drift", "metrics"})
"""Counts that are made of something else than training examples."""
WAITING, RUNNING, SENT = "waiting", "running", "sent"


class Taken(Struct):
    """What a learner was given.

    Attributes:
        subjects: whose examples it has.
        bundle: of the offer.
        kind: of the offer.
        counts: of the offer.
        withdrawn: whether one of them has withdrawn since it began.
    """

    subjects: tuple[str, ...]
    bundle: str
    kind: str
    counts: Counts = ""
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
        self._class = profile.device.class_
        self._models: dict[str, Model] = {model.name: model for model in profile.model}
        self._doors, self._gate, self._consents, self._counters = doors, gate, consents, counters
        self._purposes = next((e.purposes for e in profile.egress if e.kind == "update"), None)
        self._statistic = next((e.purposes for e in profile.egress if e.kind == "statistic"), None)
        own = secret_metrics_of(profile)
        self._measured = own.purposes if own is not None else None
        self._watched = any(detector.fleet for detector in profile.drift)
        self._unlearn = next((e.unlearn for e in profile.egress if e.kind == "update"), None)
        self._taken: dict[str, Taken] = {}
        """Run → what its learner, which has not ended yet, was given."""
        declared = gate.ledger.declared("update")
        counts = gate.ledger.declared("statistic")
        self._spending = {
            "update": spending.Spending(declared.privacy if declared is not None else None),
            "statistic": spending.Spending(counts.privacy if counts is not None else None, spending.SUM),
            "metric": spending.Spending(own.privacy if own is not None else None, spending.METRICS),
        }
        self._learned: dict[str, int] = {}
        """Bundle → examples counted when a round was last answered."""
        self._cut, self._resumes, self._due_ms = "", 0, 0
        self._seen: tuple[str, int] = ("", 0)
        """The newest offer's run, and when it was first seen, unix ms."""
        self._left = ""
        """The run in which the agent was cut: its learner's state may still be stored."""
        self._done = ""
        """The run whose last answer is away."""

    def restore(self, key: str, value: bytes) -> bool:
        """Take up a row of the room `meta` again; False when it is none of these."""
        if own := next((one for one in self._spending.values() if one.is_of(key)), None):
            own.restore(key, value)
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
        return (self.waits or bool(self._cut)) and not 0 < self._due_ms - now_ms <= LONGEST_PAUSE_MS

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
        begun = offer.run in {self._cut, self._left}
        turn_ms = batch.now_ms if begun else self._turn_ms(offer, batch.now_ms)
        if turn_ms > batch.now_ms:
            self.learning = f"{WAITING}: others begin first"
            self._due_ms = min(turn_ms, batch.now_ms + LOOK_MS)
            return
        hindered = "" if offer.run == self._cut else self._hindrance(offer)
        if hindered:
            self.learning, self._due_ms = f"{WAITING}: {hindered}", batch.now_ms + LOOK_MS
            return
        self._cut = ""
        self._set(offer.run, RUNNING, batch)
        subjects = self._subjects(offer)
        self._taken[offer.run] = Taken(subjects, offer.bundle, offer.kind, offer.counts)
        batch.effects.append(
            Train(
                run=offer.run,
                bundle=offer.bundle,
                version=offer.version,
                superlink=offer.superlink,
                app_hash=offer.app_hash,
                closes_ms=offer.closes_ms,
                subjects=subjects,
                examples_min=offer.examples_min,
                unlearn=offer.kind == "unlearn",
                statistic=offer.kind == "statistic",
                counts=offer.counts,
            )
        )

    def _turn_ms(self, offer: RoundOffer, now_ms: int) -> int:
        """When this device begins with the round, unix ms."""
        run, seen_ms = self._seen
        # A clock that leaps back begins anew.
        if run != offer.run or seen_ms > now_ms:
            self._seen = (offer.run, seen_ms := now_ms)
        return pacing.turn_ms(self._share(offer.run, "turn"), seen_ms, offer.opens_ms, offer.window_ms, offer.closes_ms)

    def _share(self, run: str, what: str) -> float:
        """A number in [0, 1) that nobody without this device's key can tell."""
        from edge_agent.decide.bandit.draw import uniforms

        return float(uniforms(self._doors.secret, f"round\x00{run}\x00{what}", 1)[0])

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
            return self._consents.subjects_allowing(self._counted(offer.counts) or ())
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
            counts = self._consents.own_allowed(self._counted(taken.counts) or (), subject)
            learned_from = not refused or taken.counts == "metrics"
            kept = {"train": not refused, "statistic": counts and learned_from, "unlearn": True}[taken.kind]
            taken.withdrawn = taken.withdrawn or (subject in taken.subjects and not kept)
        return [model.name for model in refused]

    def _refusal(self, offer: RoundOffer, now_ms: int) -> RoundRefused | None:
        model, version = self._models.get(offer.bundle), self._version(self._doors.models, offer.bundle)
        metrics = offer.kind == "statistic" and offer.counts == "metrics"
        if offer.kind == "statistic" and self._counted(offer.counts) is None:
            kind, how = ("metric", ", with secret_sum = true") if metrics else ("statistic", "")
            return RoundRefused(f"no {kind}s leave this device so", hint=f'add an [[egress]] of kind "{kind}"{how}')
        declared = model is not None and (model.subgroups is not None or self._watched or metrics)
        counted = offer.kind == "statistic" and declared
        if not counted and (
            model is None or not model.federated or (self._purposes is None and offer.kind != "statistic")
        ):
            return RoundRefused(f"`{offer.bundle}` is not federated here", hint="set federated = true in the profile")
        if offer.closes_ms and offer.closes_ms <= now_ms:
            return RoundRefused(f"round {offer.run} is closed already", hint="nothing to do")
        # What decisions came to is the same whatever version decides now.
        if not version or (version != offer.version and not metrics):
            return RoundRefused(
                f"the round trains {offer.bundle} {offer.version}, which does not run here", hint="deploy it first"
            )
        if offer.classes and self._class not in offer.classes:
            what = f"the round is for {', '.join(offer.classes)}, this device is of class {self._class}"
            return RoundRefused(what, hint="nothing to do")
        # A round that trains waits for the first example; see `_hindrance`.
        by_examples = offer.kind == "unlearn" or (offer.kind == "statistic" and offer.counts not in NO_EXAMPLES)
        if by_examples and not self._counters.get(f"examples.{offer.bundle}"):
            return RoundRefused(f"no examples for {offer.bundle} yet", hint="wait for events and feedback")
        if not self._subjects(offer):
            nobody = "asked to be taken out of it" if offer.kind == "unlearn" else "has agreed to improve the models"
            return RoundRefused(f"nobody here {nobody}", hint="nothing to do")
        return None

    def _counted(self, counts: Counts) -> tuple[str, ...] | None:
        """For what these counts leave; None: they do not."""
        return self._measured if counts == "metrics" else self._statistic

    @staticmethod
    def _version(models: Mapping[str, object], bundle: str) -> str:
        return str(getattr(models.get(bundle), "version", ""))

    def _hindrance(self, offer: RoundOffer) -> str:
        held = self._counters.get(f"examples.{offer.bundle}", 0)
        needed = max(offer.examples_min, 1 if offer.kind == "train" else 0)
        if held < needed:
            return f"{held} examples, the round is for devices with {needed}"
        fresh = held - self._learned.get(offer.bundle, 0)
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
            if taken is not None and taken.withdrawn and asked.kind in {"update", "statistic", "metric"}:
                raise EgressUndeclared("consent was withdrawn while the round ran", hint="the next round counts")
            if asked.mu_squared > 0.0:
                total, cost = self._spending[asked.kind].after(asked.bundle, asked.mu_squared)
                told = f"{asked.privacy}; {cost}"
            _, key, row = self._gate.ledger.enter(
                asked.kind, size=asked.bytes, sha256=asked.sha256, now_ms=batch.now_ms, privacy=told
            )
        except EgressError as error:
            self._count(f"withheld.{asked.kind}.{error.code}")
            batch.effects.append(Answer(token=asked.token, granted=False, reason=str(error)))
            return
        if asked.mu_squared > 0.0:
            batch.put("meta", *self._spending[asked.kind].enter(asked.bundle, total))
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
            share = self._share(ended.run, f"pause {self._resumes}")
            self._cut, self._due_ms = ended.run, batch.now_ms + pacing.pause_ms(share, self._resumes)
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
