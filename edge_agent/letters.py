"""E-mails and pushes on their way out: entered before they leave, tried until they are taken or no longer worth it."""

import hashlib
from typing import TYPE_CHECKING

from edge_agent.batch import Batch
from edge_agent.decide.delivery import Delivery
from edge_agent.effects import Post
from edge_agent.egress import letter as letters
from edge_agent.egress.letter import Adapter, Letter
from edge_agent.errors import BudgetSpent, EgressError
from edge_agent.happenings import Posted
from edge_agent.limits import DAY_MS, FUTURE_MS_MAX, LETTERS_MAX, LETTERS_SENT_MAX
from firmware_configs.consistency.channels import KINDS

if TYPE_CHECKING:
    from edge_agent.agent import Agent
    from edge_agent.reaching import Reach


class Letters:
    """All letters that wait. Nothing here changes a decision: what the world answers is not part of a replay."""

    def __init__(self, agent: "Agent", reach: "Reach") -> None:
        self._agent, self._reach = agent, reach
        self._waiting: dict[str, Letter] = {}
        self._out: set[str] = set()
        """Keys that the shell is trying now."""

    def restore(self, packed: bytes) -> None:
        """Take up a letter again; whether an interrupted try reached anybody is not known, so it is tried again."""
        found = letters.unpack(packed)
        self._waiting[found.key] = found

    def write(self, one: Delivery, channel: str, adapter: Adapter, batch: Batch) -> None:
        """A new letter, due now."""
        self._add(
            Letter(
                key=letters.key_of(one.word.id, channel, retraction=False),
                decision=one.word.id,
                placement=one.word.placement,
                channel=channel,
                adapter=adapter,
                subject=one.word.subject,
                person=one.person,
                title=one.title,
                text=one.text,
                importance=one.rank,
                made_ms=batch.now_ms,
                expires_ms=one.expires_ms,
                due_ms=batch.now_ms,
            ),
            batch,
        )

    def take_back(self, one: Delivery, channel: str, adapter: Adapter, reason: str, batch: Batch) -> str:
        """One that waits is dropped; one that was sent is taken back where the adapter can. What was done, in words."""
        key = letters.key_of(one.word.id, channel, retraction=False)
        held = self._waiting.get(key)
        if held is not None:
            self._drop(held, batch)
            if key not in self._out and not held.tries:
                return "it had not been sent"
        if adapter == "smtp":
            return "an e-mail that was sent cannot be taken back"
        self._add(
            Letter(
                key=letters.key_of(one.word.id, channel, retraction=True),
                decision=one.word.id,
                placement=one.word.placement,
                channel=channel,
                adapter=adapter,
                subject=one.word.subject,
                person=one.person,
                title="",
                text=reason,
                retracts=key,
                importance=one.rank,
                made_ms=batch.now_ms,
                expires_ms=max(one.until_ms, batch.now_ms) + DAY_MS,
                due_ms=batch.now_ms,
            ),
            batch,
        )
        return "a retraction follows it"

    def pump(self, batch: Batch) -> None:
        """Hand over what is due, at most as many as one sender takes along."""
        if not self._waiting:
            return
        now_ms = batch.now_ms
        for one in list(self._waiting.values()):
            if one.key in self._out:
                continue
            if one.made_ms > now_ms + FUTURE_MS_MAX:
                one.due_ms = min(one.due_ms, now_ms)  # written by a clock that was ahead
            if one.expires_ms <= now_ms:
                self._give_up(one, "expired", "given up: it is no longer worth sending", batch)
            elif one.due_ms <= now_ms and len(self._out) < LETTERS_SENT_MAX:
                self._try(one, batch)

    def _try(self, one: Letter, batch: Batch) -> None:
        """Consent, then the ledger, then the way out; in this order, at every try."""
        agent, kind = self._agent, KINDS[one.adapter]
        egress = agent.gate.ledger.declared(kind)
        place = agent.placements.get(one.placement)
        purposes = (*(egress.purposes if egress else ()), *(place.placement.purposes if place else ()))
        # What was sent may be taken back whatever the person says now.
        if not one.retracts and (place is None or not agent.consents.all_allowed(purposes, one.subject)):
            self._give_up(one, "consent", "not sent: consent was withdrawn", batch)
            return
        content = letters.content(one)
        try:
            entered, key, row = agent.gate.ledger.enter(
                kind, size=len(content), sha256=hashlib.sha256(content).hexdigest(), now_ms=batch.now_ms
            )
        except EgressError as error:
            agent.count(f"withheld.{kind}.{error.code}")
            one.due_ms = batch.now_ms + (DAY_MS - batch.now_ms % DAY_MS)
            if not isinstance(error, BudgetSpent) or one.due_ms >= one.expires_ms:
                self._give_up(one, "withheld", f"not sent: {error.what}", batch)
                return
            batch.put("letter", one.key, letters.pack(one), one.expires_ms)
            return
        batch.put("ledger", key, row)
        one.entered, one.tries = entered.seq, one.tries + 1
        batch.put("letter", one.key, letters.pack(one), one.expires_ms)
        self._out.add(one.key)
        batch.effects.append(Post(entered=entered, key=one.key, letter=letters.pack(one)))

    def posted(self, said: Posted, batch: Batch) -> None:
        """What came of a try."""
        agent = self._agent
        self._out.discard(said.key)
        one = self._waiting.get(said.key)
        if one is None:
            return
        name = f"letters.{KINDS[one.adapter]}"
        if said.outcome == "sent":
            agent.count(f"{name}.sent")
            self._drop(one, batch)
            self._reach.note(one.decision, f"{one.channel}: {'taken back' if one.retracts else 'sent'}", batch)
        elif said.outcome == "refused":
            self._give_up(one, "refused", f"refused: {said.reason}", batch)
        else:
            agent.count(f"{name}.again")
            one.due_ms = letters.next_try_ms(one, batch.now_ms, said.wait_s)
            if one.due_ms >= one.expires_ms:
                self._give_up(one, "expired", f"given up after {one.tries} tries: {said.reason}", batch)
                return
            batch.put("letter", one.key, letters.pack(one), one.expires_ms)
            self._reach.note(one.decision, f"{one.channel}: not taken yet ({said.reason})", batch)

    def _add(self, one: Letter, batch: Batch) -> None:
        if one.key in self._waiting:
            return
        self._waiting[one.key] = one
        batch.put("letter", one.key, letters.pack(one), one.expires_ms)
        while len(self._waiting) > LETTERS_MAX:
            least = min(self._waiting.values(), key=lambda held: (held.importance, held.made_ms, held.key))
            self._give_up(least, "crowded", f"given up: {LETTERS_MAX} others wait", batch)

    def _give_up(self, one: Letter, how: str, text: str, batch: Batch) -> None:
        self._agent.count(f"letters.{KINDS[one.adapter]}.{how}")
        self._drop(one, batch)
        self._reach.note(one.decision, f"{one.channel}: {text}", batch)

    def _drop(self, one: Letter, batch: Batch) -> None:
        del self._waiting[one.key]
        batch.drop("letter", one.key)
