"""Learning: events and outcomes become examples, and rewards for the bandit."""

from typing import TYPE_CHECKING

from edge_agent.batch import Batch
from edge_agent.closing import close_due
from edge_agent.decide import decision
from edge_agent.effects import Append
from edge_agent.errors import FeedbackUnknown
from edge_agent.happenings import Message
from edge_agent.intake.minimise import Minimised
from edge_agent.learn import attribution, earned, examples, feedback
from edge_agent.limits import DEDUPE_MS
from edge_agent.observing import REWARD, observe
from edge_agent.placements import Occasion
from edge_agent.wire import read_word
from firmware_configs import messages
from firmware_configs.profile import Learn, Model

if TYPE_CHECKING:
    from edge_agent.agent import Agent
    from edge_agent.outcomes import Outcomes


def learn_from(agent: "Agent", model: Model, learn: Learn, event: Minimised, occasion: Occasion, batch: Batch) -> None:
    """An event that is its own example."""
    loaded = agent.doors.models.get(model.name)
    label = learn.label if learn.label is not None else event.fields.get(learn.label_field)
    if loaded is None or label is None or isinstance(label, str):
        return
    if not agent.consents.all_allowed(model.purposes, event.subject):
        return
    item = event.fields.get(learn.item, "") if learn.item else ""
    rows = {name: row[0].tolist() for name, row in occasion.rows_before(loaded, learn.item).items()}
    example = examples.Example(features=rows, item=str(item), label=float(label))
    _keep_example(
        agent, model.name, event.event_id, example, event.subject, agent.sources[event.source].retention_ms, batch
    )


def _keep_example(
    agent: "Agent", model: str, cause: str, example: examples.Example, subject: str, retention_ms: int, batch: Batch
) -> None:
    agent.count(f"examples.{model}")
    if not example.features:
        # Without features, the same word about the same item says nothing new the second time.
        cause = f"{subject}\x00{example.item}\x00{example.label:g}"
    batch.append(
        Append(
            shelf="example",
            id=examples.example_id(model, cause),
            group=model,
            value=examples.pack(example),
            made_ms=batch.now_ms,
            expires_ms=batch.now_ms + retention_ms,
            subject=subject,
        )
    )


def on_feedback(agent: "Agent", message: Message, batch: Batch) -> None:
    """Join an outcome to its decision: reward, then example with the very features that were served."""
    agent.count("feedback")
    word = read_word(message, messages.Feedback, FeedbackUnknown)
    trail = decision.unpack(attribution.by_id(word.decision_id, agent.recent, agent.doors.recall))
    place = agent.placements.get(trail.placement)
    if place is None:
        raise FeedbackUnknown("its placement is no longer in the profile", hint="nothing to do")
    happened = word.time_ms or message.arrived_ms
    placement = place.placement
    outcome = feedback.judge(word.outcome, placement.reward, trail.decided_ms, happened, placement.reward_window_s)
    if outcome is None:
        agent.count("feedback.too-late")
        return
    item = word.item or trail.items[0]
    if item not in trail.items:
        raise FeedbackUnknown("the item was not in the slate", hint="name an item of the decision, or none")
    cause = f"feedback:{trail.id}:{item}"
    if not agent.dedupe.first(cause, batch.now_ms, batch.settled_ms):
        agent.count("duplicates")
        return
    batch.put("dedupe", cause, b"", batch.now_ms + DEDUPE_MS)
    found = earned.Earned(trail.id, item, REWARD, outcome.value, word.outcome, happened)
    if not reward(agent, trail, found, "", batch):
        agent.count("feedback.too-late")
        return
    agent.count("feedback.joined")
    if agent.outcomes is not None:
        agent.outcomes.answered(trail, word.outcome, outcome.value, happened, batch)


def reward(agent: "Agent", trail: decision.Trail, found: earned.Earned, cause: str, batch: Batch) -> bool:
    """What a decision earned teaches its policy and its first model, counts in its experiment, and is kept.

    Args:
        found: a reward, in [0, 1].
        cause: what tells several outcomes of one item apart; empty: there is one.
    Returns:
        False, and nothing is done, when the item waits for no outcome any more.
    """
    place = agent.placements[trail.placement]
    close_due(agent, place, batch)
    if not place.exploring.settles(trail, found.item, batch):
        return False
    agent.doors.timings.outcome(trail, found.happened_ms)
    place.exploring.rewarded(trail, found.item, found.value, batch.now_ms, batch)
    agent.trials.rewarded(trail.bundles, found.value)
    if agent.drift is not None:
        agent.drift.rewarded(trail, found.item, found.value, batch)
    if agent.caches is not None:
        agent.caches.rewarded(trail.placement, found.item, found.value, batch)
    observe(agent, trail, REWARD, found.value, batch)
    keep_earned(agent, trail, found, batch, cause)
    # An arm of an experiment may score with other models.
    models = tuple(trail.bundles) or place.placement.models
    if models and agent.consents.all_allowed(_model(agent, models[0]).purposes, trail.subject):
        at = trail.items.index(found.item)
        example = examples.Example(
            features=trail.features,
            item=found.item,
            label=found.value,
            propensity=trail.propensities[at] if trail.propensities else trail.propensity,
        )
        why = f"{cause or 'feedback'}:{trail.id}:{found.item}"
        _keep_example(agent, models[0], why, example, trail.subject, agent.retention_ms, batch)
    return True


def outcomes_of(agent: "Agent") -> "Outcomes | None":
    """What watches for outcomes besides feedback; None, and nothing is loaded, where the profile declares none."""
    profile = agent.profile
    if not (profile.view or profile.outcome or profile.metric):
        return None
    from edge_agent.outcomes import Outcomes

    return Outcomes(agent)


def keep_earned(agent: "Agent", trail: decision.Trail, found: earned.Earned, batch: Batch, cause: str = "") -> None:
    """Beside the decision, for as long; the first word on an item, metric and cause counts."""
    batch.append(
        Append(
            shelf="outcome",
            id=f"{found.decision}:{found.item}:{found.metric}{':' if cause else ''}{cause}",
            group=trail.placement,
            value=earned.pack(found),
            made_ms=batch.now_ms,
            expires_ms=batch.now_ms + agent.retention_ms,
            subject=trail.subject,
        )
    )


def _model(agent: "Agent", name: str) -> Model:
    return next(model for model in agent.profile.model if model.name == name)
