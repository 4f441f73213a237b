"""People are measured once, in the arm they met first; only sums stay, survive a crash, and pass the ledger."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.commands.group import main
from edge_agent.egress import ledger
from edge_agent.limits import DAY_MS
from edge_agent.shell import database
from edge_agent.shell.store import Store
from edge_agent.shell.writes import Writes
from firmware_configs.messages import DecisionMade
from firmware_configs.report import own_records, wording
from tests.edge_agent.experiment_house import ARMS, HOUR, TrialHouse, profile
from tests.edge_agent.house import DEVICE


def test_an_arm_changes_what_it_names_and_the_trail_tells_of_it() -> None:
    house = TrialHouse()
    for arm, item, channel in (("plain", "tea", "app"), ("other", "milk", "voice")):
        house.touch(house.people_of(arm, 1)[0])
        made: DecisionMade = house.decisions()[-1]
        assert (made.arm, made.items, made.channel) == (arm, (item,), channel)


def test_a_person_counts_once_when_the_window_ends_with_the_mean_of_what_was_seen() -> None:
    house = TrialHouse()
    one, two = house.people_of("plain", 1)[0], house.people_of("other", 1)[0]
    house.touch(one, times=2, outcome="click")
    house.touch(one, times=2)
    house.touch(two, times=3)
    house.wait(23)
    assert house.tables() == {}
    house.wait(1)
    assert house.tables() == {0: [[1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [1.0, -0.5, 0.25, 0.0, 0.0, 0.0]]}
    house.touch(one, times=5, outcome="click")
    house.wait(30)
    assert house.tables()[0][0][0] == 1.0, "nobody counts twice"


def test_what_is_reported_is_sums_entered_in_the_ledger_and_retained() -> None:
    house = TrialHouse()
    for person in ("u1", "u2", "u3", "u4"):
        house.touch(person, outcome="click")
    house.wait(24)
    report = house.reports()[-1]
    assert sum(row[0] for row in report.tables[0]) == 4.0
    assert report.device == DEVICE
    sent = next(s for s in house.sent if "/experiment/" in s.topic)
    assert sent.retain
    assert b"u1" not in sent.payload
    rows = [ledger.unpack(value) for (room, _), (value, _) in house.rows.items() if room == "ledger"]
    assert [row.privacy for row in rows if row.kind == "experiment"] == ["sums over people, not clipped, no noise"]
    house.wait(2)
    assert len(house.reports()) == 1, "nothing new, nothing sent"


def test_without_an_egress_nothing_leaves() -> None:
    text = profile().replace('kind = "experiment"', 'kind = "metric"')
    house = TrialHouse(text)
    house.touch("u1", outcome="click")
    house.wait(24)
    assert house.tables()
    assert house.reports() == []


def test_a_device_is_clipped_where_the_device_is_the_unit_of_privacy() -> None:
    house = TrialHouse(profile(privacy="privacy = { clip_norm = 2.0, noise_multiplier = 1.0 }"))
    for n in range(40):
        house.touch(f"u{n}")
    house.wait(24)
    rows = [value for row in house.reports()[-1].tables[0] for value in row]
    assert sum(value * value for value in rows) == pytest.approx(4.0)


@pytest.mark.parametrize("at", range(4))
def test_a_crash_loses_nothing_that_was_committed_and_repeats_nothing(at: int) -> None:
    def lived(crash: int) -> dict[int, list[list[float]]]:
        house = TrialHouse()
        for n, person in enumerate(["u1", "u2", "u3", "u4"]):
            house.touch(person, outcome="click")
            if n == crash:
                house.touch(f"u{50 + n}", commit=False)  # the power fails before the commit
                house.restart()
        house.wait(24)
        return house.tables()

    assert lived(at) == lived(-1)


def test_the_queue_goes_on_over_many_people_and_restarts() -> None:
    house = TrialHouse()
    for n in range(300):
        house.touch(f"u{n}")
        if n % 97 == 0:
            house.restart()
    house.wait(24)
    house.restart()
    house.wait(0.01)
    assert sum(row[0] for row in house.tables()[0]) == 300.0
    left = [key for room, key in house.rows if room == "experiment" and key.startswith("queue")]
    assert left == [], "who has been counted stands in no queue"


def test_who_takes_consent_back_does_not_count() -> None:
    house = TrialHouse(profile(consent="required"))
    for person in ("u1", "u2"):
        house.consent(person, "try")
        house.touch(person, outcome="click")
    house.now += 1
    house.consent("u2", "try", granted=False)
    assert not [key for _, key in house.rows if key.endswith("\x00u2") and key.startswith("person")]
    house.wait(24)
    assert sum(row[0] for row in house.tables()[0]) == 1.0
    assert house.agent.experiments is not None
    assert house.agent.experiments.by_name["order"].summary.skipped == {"forgotten": 1}


def test_what_was_measured_before_the_start_is_the_covariate() -> None:
    house = TrialHouse(profile('arms = [{ name = "a" }, { name = "b" }]\nstarts = "2027-01-15T12:00Z"'))
    start = 1_800_014_400_000
    house.touch("u1", times=1, outcome="click")
    house.touch("u1", times=1)
    assert house.decisions()[-1].arm == ""
    house.now = start
    house.touch("u1", outcome="click")
    house.touch("u2")
    house.wait(24)
    rows = sorted(row for row in house.tables()[0] if row[0])
    total = [sum(column) for column in zip(*rows, strict=True)]
    assert total == [2.0, 0.0, 0.5, 0.0, 0.0, 0.0], "u1: z = 1/2 and w = 0 (half of two clicked); u2: z = -1/2, no w"


def test_when_shares_move_people_count_with_what_they_have_under_the_old_ones() -> None:
    house = TrialHouse()
    plain = house.people_of("plain", 3)
    for person in plain:
        house.touch(person, outcome="click")
    house.want(1, {"plain": 0.0, "other": 1.0})
    house.touch(plain[0])
    made = house.decisions()[-1]
    assert made.arm == "other"
    house.wait(1)
    assert house.tables() == {0: [[3.0, 1.5, 0.75, 0.0, 0.0, 0.0], [0.0] * 6]}
    house.restart()
    house.touch("newcomer")
    assert house.decisions()[-1].arm == "other", "the shares survive a restart"
    house.wait(24)
    assert house.tables()[1] == [[0.0] * 6, [1.0, -0.5, 0.25, 0.0, 0.0, 0.0]]


def test_a_profile_without_an_experiment_does_not_even_import_them() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from tests.edge_agent.house import House; House(models=()); "
        "print([m for m in sys.modules if m.startswith('models.experiments') or m == 'edge_agent.experiments'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_other_plans_of_the_same_name_begin_anew() -> None:
    house = TrialHouse()
    house.touch("u1")
    house.wait(24)
    rows = house.rows
    other = TrialHouse(profile('arms = [{ name = "plain" }, { name = "third" }]'))
    other.rows = rows
    other.restart()
    assert other.tables() == {}


def test_the_stored_trail_tells_layer_probability_and_allocation() -> None:
    from edge_agent.decide import decision
    from edge_agent.explaining import in_words

    house = TrialHouse()
    house.touch("u1")
    trail = decision.unpack(house.agent.recent[house.decisions()[-1].id])
    assert (trail.arm_probability, trail.allocation) == (0.5, 0)
    told = "\n".join(in_words(trail))
    assert "experiment order: arm" in told
    assert "into which 50 % of its people come" in told
    assert msgspec.msgpack.decode(decision.pack(trail)).get("left_out") is None


def test_a_replay_moves_shares_where_they_were_moved() -> None:
    from edge_agent.happenings import Happening

    house = TrialHouse(record=True)
    people = [f"u{n}" for n in range(20)]
    for person in people:
        house.touch(person)
    house.want(1, {"plain": 0.0, "other": 1.0})
    for person in people:
        house.touch(person)
    house.restart()
    for person in people:
        house.touch(person)
    again = TrialHouse()
    for (shelf, _), row in house.shelves.items():
        if shelf == "journal":
            again.now = row.made_ms
            again.tell(msgspec.msgpack.decode(row.value, type=Happening))
    assert [(d.id, d.arm, d.items) for d in again.decisions()] == [(d.id, d.arm, d.items) for d in house.decisions()]
    assert {d.arm for d in again.decisions()[-20:]} == {"other"}


def test_an_operator_is_told_what_was_measured_here(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    house = TrialHouse()
    for n in range(5):
        house.touch(f"u{n}", outcome="click")
    house.wait(24)
    house.want(1, {"plain": 0.25, "other": 0.75})
    house.touch("another")
    store = Store(state / database.FILE, 64)
    writes = Writes()
    writes.add(house.effects)
    store.commit(writes, durable=True)
    store.close()
    done = CliRunner().invoke(main, ["experiments", "--state-dir", str(state), "--json"])
    assert done.exit_code == 0, done.output
    (told,) = json.loads(done.stdout)
    assert (told["experiment"], told["measured_now"], told["allocation"]) == ("order", 1, 1)
    assert sum(arm["people"] for arm in told["arms"].values()) == 5
    assert told["arms"]["other"]["share"] == 0.75
    words = CliRunner().invoke(main, ["experiments", "--state-dir", str(state)]).output
    assert "reward 1" in words
    assert "prove nothing" in words


def test_shares_for_another_plan_of_the_experiment_are_not_taken() -> None:
    house = TrialHouse()
    house.want(1, {"plain": 0.0, "other": 1.0}, plan="0" * 16)
    house.touch(house.people_of("plain", 1)[0])
    assert house.decisions()[-1].arm == "plain"


def test_after_months_without_power_nobody_is_counted_twice_and_measuring_goes_on() -> None:
    house = TrialHouse()
    for person in ("u1", "u2"):
        house.touch(person)
    house.rows = {key: row for key, row in house.rows.items() if not key[1].startswith(("person", "queue"))}
    house.now += 90 * 24 * HOUR
    house.restart()
    house.wait(0.01)
    house.touch("u3")
    house.restart()
    house.wait(24)
    assert house.agent.experiments is not None
    summary = house.agent.experiments.by_name["order"].summary
    assert (summary.drawn, summary.measured, summary.skipped) == (3, 0, {"forgotten": 2})
    assert sum(row[0] for row in house.tables()[0]) == 1.0


@given(st.floats(1.0, 800.0), st.floats(0.01, 1.0))
@settings(max_examples=15, deadline=None)
def test_what_is_kept_ends_when_the_document_says_so_and_not_later(days: float, window: float) -> None:
    """`edge-audit write retention` promises these periods; the sweep ends whatever would last longer."""
    longest = max(days, own_records.CAPS_DAYS)
    text = profile().replace("days = 30.0", f"days = {days!r}")
    house = TrialHouse(text.replace("window_s = 86400.0", f"window_s = {window * days * 86_400.0!r}"))
    assert house.agent.longest_ms == int(own_records.longest(house.loaded.profile) * DAY_MS)
    house.touch("u1")
    written = house.now
    rows = {key.split("\x00")[0]: end for (room, key), (_, end) in house.rows.items() if room == "experiment"}
    assert rows["sums"] == written + house.agent.longest_ms
    own = min(longest, max(window * days + 1.0, days))
    assert abs(rows["person"] - written - own * DAY_MS) <= 1
    (told,) = [kept for name, _, kept in own_records.rows(house.loaded.profile) if name == "Experiments"]
    assert told == f"{wording.days(own)} after the last measure; sums {wording.days(longest)} after the last change"


def test_a_declared_metric_is_measured_as_it_happens() -> None:
    metric = """
[[metric]]
name = "tapped"
placements = ["pick"]
purposes = ["try"]
measure = { kind = "rate", outcomes = ["click"], window_s = 600.0 }
[[egress]]
kind = "decision"
"""
    text = profile(ARMS + 'metric = [{ name = "tapped" }, { name = "reward" }]')
    house = TrialHouse(text.replace('[[egress]]\nkind = "decision"\n', metric))
    house.touch("u1", outcome="click")
    house.touch("u1", outcome="dismiss")
    house.touch("u2", outcome="dismiss")
    house.wait(24)
    total = [sum(column) for column in zip(*house.tables()[0], strict=True)]
    assert total[0] == 2.0
    assert total[1:3] == total[6:8] == [-0.5, 0.25], "half of one person's decisions, none of the other's"
