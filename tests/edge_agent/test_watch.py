"""A rollout watches a new version: sums come as it asks, the trial goes on, and the way back needs no network."""

import msgspec
import pytest

from edge_agent.effects import Fetch
from edge_agent.happenings import BundleFailed, Tick
from firmware_configs.messages import MSGPACK, Desired, Reported, Watch
from tests.edge_agent.trial_house import OWN, TrialHouse

NEW = "1.0.1"


def told(made: TrialHouse, word: Desired) -> list[Fetch]:
    effects = made.tell(made.message(OWN.of("desired"), msgspec.msgpack.encode(word), content_type=MSGPACK))
    return [effect for effect in effects if isinstance(effect, Fetch)]


def watched(every_s: float = 5.0) -> TrialHouse:
    """`context` 1.0.1 serves a share of the household's events, and a rollout watches it."""
    made = TrialHouse()
    made.everyone_agrees()
    made.wish("context", NEW, "canary", revision=1)
    told(
        made, Desired(revision=2, bundles={"context": NEW}, rollout="canary", watch={"context": Watch(every_s=every_s)})
    )
    return made


def reports(made: TrialHouse) -> list[Reported]:
    return [
        msgspec.msgpack.decode(sent.payload, type=Reported) for sent in made.sent if sent.topic.endswith("/reported")
    ]


def test_sums_are_reported_as_often_as_the_rollout_asks() -> None:
    made = watched(every_s=5.0)
    before = len(reports(made))
    made.read_room(20)  # a second apart
    sums = [word.bundles["context"].sums for word in reports(made)[before:]]
    assert 3 <= len(sums) <= 7  # four periods, and one for each change of stage
    assert all(one is not None for one in sums)
    new, old = made.agent.trials.running["context"].new, sums[-1]
    assert old is not None
    assert sum(old.new.calls.values()) <= new.calls


def test_without_a_rollout_no_sums_are_told() -> None:
    made = TrialHouse()
    made.everyone_agrees()
    made.wish("context", NEW, "canary")
    made.read_room(3)
    assert made.reported().bundles["context"].sums is None


def test_a_watched_trial_goes_on_until_the_rollout_lets_go() -> None:
    made = watched()
    made.read_room(80)
    trial = made.agent.trials.running["context"]
    assert trial.stage == "full"
    assert trial.new.decisions > 6  # which is enough for this profile
    told(made, Desired(revision=3, bundles={"context": NEW}, rollout="canary"))
    made.read_room(1, start=80)
    assert made.agent.trials.running == {}
    assert made.reported().bundles["context"].version == NEW


@pytest.mark.parametrize("restarted", [False, True])
def test_a_version_whose_rollout_is_done_serves_everybody_however_little_was_decided_here(restarted: bool) -> None:
    made = watched()
    made.read_room(3)
    assert made.agent.trials.running["context"].stage == "canary"
    if restarted:
        made.restart()
    told(made, Desired(revision=3, bundles={"context": NEW}, rollout="canary"))
    made.read_room(4, start=3)
    word = made.reported().bundles["context"]
    assert (word.version, word.state) == (NEW, "active")
    assert {one.bundles["context"] for one in made.decisions()[-4:]} == {NEW}


def test_a_trial_that_a_rollout_still_watches_or_never_did_goes_by_what_is_decided_here() -> None:
    made = watched()
    still = {"context": Watch(every_s=5.0)}
    told(made, Desired(revision=3, bundles={"context": NEW}, rollout="full", watch=still))
    made.read_room(3)
    assert made.agent.trials.running["context"].stage == "canary"
    alone = TrialHouse()
    alone.everyone_agrees()
    alone.wish("context", NEW, "canary", revision=1)
    told(alone, Desired(revision=2, bundles={"context": NEW}, rollout="full"))
    alone.read_room(3)
    assert alone.agent.trials.running["context"].stage == "canary"


def test_a_watched_trial_is_still_watched_after_a_restart() -> None:
    made = watched()
    made.read_room(40)
    made.restart()
    made.read_room(40, start=40)
    assert made.reported().bundles["context"].sums is not None
    assert made.agent.trials.running["context"].stage == "full"


def test_squares_and_times_of_calls_are_among_the_sums() -> None:
    made = watched()
    made.read_room(12)
    for word in made.decisions():
        if word.bundles.get("context"):
            made.feedback(word.id, "accepted")
    made.now += 6_000
    made.tell(Tick())
    sums = made.reported().bundles["context"].sums
    assert sums is not None
    assert sums.new.rewards + sums.old.rewards > 0
    assert sums.new.squares == sums.new.reward == sums.new.rewards
    assert sums.old.calls


def test_going_back_to_what_served_before_needs_no_network_and_no_trial() -> None:
    made = watched()
    made.read_room(60)
    assert made.reported().bundles["context"].version == NEW
    fetches = told(made, Desired(revision=3, bundles={"context": "1.0.0"}, rollout="full"))
    made.tell()
    assert fetches == []
    word = made.reported().bundles["context"]
    assert (word.version, word.state, word.serving) == (NEW, "returned", "1.0.0")
    assert "the coordinator went back" in word.reason
    made.read_room(1, start=60)
    assert made.decisions()[-1].bundles["context"] == "1.0.0"
    assert made.agent.trials.running == {}


def test_a_version_that_lies_here_no_more_is_fetched_at_the_next_wish() -> None:
    made = watched()
    made.read_room(60)
    made.tell(BundleFailed(name="context", version="1.0.0", code="X", reason="its file is gone"))
    assert [one.version for one in told(made, Desired(revision=3, bundles={"context": "1.0.0"}))] == ["1.0.0"]
