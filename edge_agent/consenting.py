"""A person's newest word on consent: it counts from the next event on, and what it takes back goes."""

from typing import TYPE_CHECKING

import msgspec

from edge_agent.attending import leave
from edge_agent.batch import Batch
from edge_agent.errors import ControlInvalid
from edge_agent.happenings import Message
from edge_agent.limits import ID_MAX
from edge_agent.memory.profile import Profile
from edge_agent.wire import read_word
from firmware_configs import messages

if TYPE_CHECKING:
    from edge_agent.agent import Agent


def on_consent(agent: "Agent", subject: str, message: Message, batch: Batch) -> None:
    """A person's newest word; it counts from the next event on."""
    if not message.payload:
        return  # a cleared retained receipt takes nothing back
    word = read_word(message, messages.Consent, ControlInvalid)
    if len(subject) > ID_MAX:
        return
    _heard(agent, subject, word, batch)


def on_objection(agent: "Agent", subject: str, at_ms: int, batch: Batch) -> None:
    """An event came with Global Privacy Control: as if its sender had said so as a word of consent."""
    word = messages.Consent(purposes={}, time_ms=at_ms, gpc=True)
    if _heard(agent, subject, word, batch) and agent.record:
        topic, payload = messages.Topics(agent.device).of("consent", subject), msgspec.json.encode(word)
        agent.journal(Message(topic=topic, payload=payload, arrived_ms=batch.now_ms, content_type=messages.JSON), batch)


def _heard(agent: "Agent", subject: str, word: messages.Consent, batch: Batch) -> bool:
    """Take a word in; False when it changes nothing, for a newer one is known."""
    if not agent.consents.hear(subject, word.purposes, word.time_ms, batch.now_ms, word.versions, gpc=word.gpc):
        return False
    agent.count("consents")
    batch.put("consent", subject, msgspec.msgpack.encode(agent.consents.word(subject)))
    agent.people.consent_changed(subject, batch)
    agent.control.offers.forget(batch)
    agent.control.consent_changed(subject, batch)
    if not agent.consents.granted(subject) - agent.control.offers.to_be_forgotten:
        # Not only forgotten: until this step is committed, the store would give the old one back.
        agent.profiles.replace(subject, Profile(agent.layouts.now))
        batch.drop("profile", subject)
        leave(agent, subject, batch)
        if agent.outcomes is not None:
            agent.outcomes.forget(subject, batch)
    if agent.experiments is not None:
        agent.experiments.forget(subject, batch)
    if agent.reach is not None:
        agent.reach.consent_changed(subject, batch)
    return True
