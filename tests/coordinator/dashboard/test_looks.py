"""What pages show, taken from stores that the real code has filled, without a browser."""

import math
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from coordinator.errors import HomeUnreadable
from coordinator.rollout.plan import parse as plan_of
from coordinator.rollout.state import Finding
from coordinator.shell.dashboard.asking import Ask, readable
from coordinator.shell.dashboard.pages import business, experiments, fleet, officer, rollouts, rounds, watch
from coordinator.shell.dashboard.pages.accounts import standing
from coordinator.shell.dashboard.reckoning import Reckoner
from coordinator.shell.dashboard.site import PAGES, Page, Watched
from coordinator.shell.experiment_store import ExperimentStore
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.rollout_store import LOOKS_MAX, Look, RolloutStore
from coordinator.shell.store import Store
from coordinator.shell.told import rounds_table
from firmware_configs.messages import Alert
from tests.coordinator.dashboard import world
from tests.coordinator.rollout.plans import TEXT
from tests.coordinator.rollout.test_store import Clock, Town, begun, live

NOW = int(time.time() * 1_000)


@pytest.fixture(scope="module")
def home(filled: Path) -> Path:
    return filled


def ask(home: Path, query: dict[str, str] | None = None, **params: str) -> Ask:
    return Ask(home=home, params=params, query=query or {}, now_ms=NOW, reckon=lambda *_: 1.25)


def test_the_fleet_is_told_by_cohort_and_version(home: Path) -> None:
    found = fleet.fleet(ask(home))
    (context,) = found["map"]
    assert context["versions"] == ["1.0.0"]
    cohorts = {row["cohort"]: row["counts"] for row in context["rows"]}
    assert cohorts["all devices"] == [10, 2]
    assert cohorts["group beta"] == [3, 0]
    assert cohorts["context 1.1.0, cohort first"][0] == 3
    assert sum(sum(counts) for name, counts in cohorts.items() if "cohort" in name) == 12
    assert dict(found["presences"]) == {"online": 10, "offline": 1, "unknown": 1, "revoked": 0}


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"q": "device-1"}, 3),
        ({"q": "*"}, 0),
        ({"presence": "offline"}, 1),
        ({"where": "tag:site=lab,!group:beta"}, 3),
        ({"where": "tag:site=lab", "q": "5"}, 1),
        ({"limit": "5"}, 12),
        ({"limit": "5", "page": "99"}, 12),
        ({"limit": "-3", "page": "x", "sort": "nonsense"}, 12),
    ],
)
def test_devices_are_searched_for(home: Path, query: dict[str, str], count: int) -> None:
    found = fleet.fleet(ask(home, query))
    assert found["chosen"] == count
    assert len(found["devices"]) <= (5 if query.get("limit") == "5" else 100)
    assert 1 <= found["page_number"] <= found["pages"]


def test_a_run_has_a_curve_for_all_that_was_told_and_none_for_what_was_not(home: Path) -> None:
    plain = rounds.run(ask(home, run=world.RUN))
    assert [chart.title for chart in plain["charts"]] == ["Loss", "Participation", "Bytes a round (kB)"]
    private = rounds.run(ask(home, run=world.PRIVATE_RUN))
    assert [chart.title for chart in private["charts"]] == ["Participation", "Bytes a round (kB)", "Privacy spent"]
    spent = private["charts"][-1]
    assert spent.lines[0].points == ((1, 1.25), (2, 1.25), (3, 1.25))
    assert spent.lines[1].points[0] == (1, 8.0)


def test_epsilon_comes_later_and_is_the_accountants(home: Path) -> None:
    ready = threading.Event()
    reckoner = Reckoner(ready.set)
    key = world.PRIVATE_RUN
    (first,) = [run for run in rounds_table(home, reckoner) if run["key"] == key]
    assert first["epsilon"] != first["epsilon"], "not known yet"
    assert ready.wait(60)
    (then,) = [run for run in rounds_table(home, reckoner) if run["key"] == key]
    (exact,) = [run for run in rounds_table(home) if run["key"] == key]
    assert then["epsilon"] == exact["epsilon"]


def test_a_rollout_has_a_curve_for_each_guard_that_has_looked(home: Path) -> None:
    found = rollouts.rollout(ask(home, rollout=world.ROLLOUT))
    assert [chart.title for chart in found["charts"]] == ["devices", "errors", "latency", "reward"]
    assert found["possible"] == ["rollback", "pause", "promote"]
    reward = found["charts"][-1]
    assert reward.lines[-1].limit
    assert {y for _, y in reward.lines[-1].points} == {-0.05}
    assert all(
        x == sorted(x) for x in [[x for x, _ in line.points] for chart in found["charts"] for line in chart.lines]
    )


def test_guards_with_bands_of_load_have_a_curve_each() -> None:
    plan = plan_of(TEXT)
    low = Finding(guard="errors", breached=False, text="", evidence={"share": 0.1, "max": 0.2})
    high = Finding(guard="errors", breached=False, text="", evidence={"share": 0.3, "max": 0.4})
    looks = [
        Look(watched_ms=60_000, cohort="first", findings=(low,)),
        Look(watched_ms=120_000, cohort="first", findings=(low, high)),
    ]
    charts = rollouts.guard_charts(plan, looks)
    assert [chart.title for chart in charts] == ["errors, band 1 of load", "errors, band 2 of load"]
    assert charts[1].lines[0].points == ((2.0, 0.3),)


def test_looks_are_kept_whenever_they_change_and_never_more_than_a_curve_needs(tmp_path: Path) -> None:
    rollout = begun(tmp_path)
    done = live(tmp_path, Town(list(rollout.members)), Clock())
    store = RolloutStore(tmp_path)
    looks = store.looks("r")
    assert len(looks) > 2
    assert looks[-1].findings == done.findings
    assert [look.watched_ms for look in looks] == sorted(look.watched_ms for look in looks)
    with store._writing():
        for _ in range(LOOKS_MAX):
            store._look(done)
    assert LOOKS_MAX // 2 <= len(store.looks("r")) <= LOOKS_MAX
    assert store.looks("r")[0] == looks[0]
    store.close()


def test_an_experiment_is_read_without_a_release_and_without_the_broker(home: Path) -> None:
    (row,) = experiments.experiments(ask(home))["experiments"]
    assert row["shown"].analysis.people == 1_200
    found = experiments.experiment(ask(home, experiment="order"))
    assert found["shown"].analysis.verdict
    assert [metric for metric, _ in found["pictures"]]
    (plan,) = ExperimentStore(home).plans()
    assert ExperimentStore(home).releases(plan) == [], "who looks releases nothing"


def alert(device: str, name: str, state: Literal["firing", "resolved"] = "firing", time_ms: int = 1) -> Alert:
    return Alert(
        device=device, kind="drift", name=name, state=state, severity="ticket", what="", value=1.0, threshold=0.5,
        since_ms=1, time_ms=time_ms,
    )  # fmt: skip


def test_alerts_that_are_over_are_not_told_as_firing(tmp_path: Path) -> None:
    for number, device in enumerate(("a", "b"), start=1):
        Store(tmp_path).enrol(device, number, "key")
    said = [alert("a", "light"), alert("b", "light"), alert("a", "light", "resolved"), alert("a", "sound")]
    for time_ms, one in enumerate(said, start=1):
        world.say(tmp_path, one.device, "alert", msgspec.msgpack.encode(one), time_ms)
    told = [*FleetStore(tmp_path).alerts(), msgspec.structs.replace(alert("a", "light"), kind="burn-rate")]
    firing, over = watch.alerts(told, "drift")
    assert [(one.device, one.name) for one in firing] == [("a", "sound"), ("b", "light")]
    assert [(one.device, one.name) for one in over] == [("a", "light")]


def test_alerts_of_a_device_that_was_revoked_are_told_no_longer(tmp_path: Path) -> None:
    for number, device in enumerate(("home-1", "home-2"), start=1):
        Store(tmp_path).enrol(device, number, "key")
        for kind in ("drift", "burn-rate"):
            one = msgspec.structs.replace(alert(device, "light"), kind=kind)
            world.say(tmp_path, device, "alert", msgspec.msgpack.encode(one), number)
    for page in (watch.drift, watch.budgets):
        assert [one.device for one in page(ask(tmp_path))["firing"]] == ["home-2", "home-1"]
    Store(tmp_path).revoke("home-1")
    for page in (watch.drift, watch.budgets):
        assert [one.device for one in page(ask(tmp_path))["firing"]] == ["home-2"]


def test_drift_and_budgets_are_told_by_the_devices_and_the_rollouts(home: Path) -> None:
    drift, budgets = watch.drift(ask(home)), watch.budgets(ask(home))
    assert [row.device for row in drift["firing"]] == ["device-4"]
    assert [one.cohort for one in drift["fleet"]] == ["group:beta", ""]
    assert [[found.verdict for found in one.detectors] for one in drift["fleet"]] == [
        ["not known"] * 3,
        ["moved", "as usual", "as usual"],
    ]
    assert [row.device for row in budgets["firing"]] == ["device-6"]
    (latency,) = budgets["latency"]
    assert (latency["devices"], latency["whole"].count) == (10, 10_000)
    assert latency["whole"].p50_ms <= latency["whole"].p99_ms <= latency["slowest_p99_ms"]
    assert (budgets["rounds_failed"], budgets["rounds"]) == (0, 11)


def test_business_figures_stand_beside_what_their_privacy_costs(home: Path) -> None:
    (shop,) = business.business(ask(home))["releases"]
    bought, worth = shop["tables"]
    assert (bought.what, bought.metric, bought.placement) == ("conversion", "bought", "front")
    assert [row.name for row in bought.rows] == [
        "arm greeting/plain",
        "arm greeting/warm",
        "segment evening",
        "segment other",
    ]
    for row in bought.rows:
        assert row.figure.low < row.figure.value < row.figure.high
        assert row.cost is not None
        assert row.cost > 1.0
    assert 'role="img"' in bought.picture
    hidden = [row for row in worth.rows if row.figure.value is None]
    assert {row.name for row in hidden} == {"arm greeting/warm", "segment evening"}
    assert all(row.cost is None and row.figure.why for row in hidden)


def test_a_home_of_which_nothing_was_released_shows_no_figures_and_a_damaged_file_is_named(
    home: Path, tmp_path: Path
) -> None:
    assert business.business(ask(tmp_path))["releases"] == []
    (tmp_path / "business").mkdir()
    good = (home / "business" / "shop.jsonl").read_bytes()
    (tmp_path / "business" / "shop.jsonl").write_bytes(good + good[:100])
    with pytest.raises(HomeUnreadable, match=r"shop.jsonl, line 2, is no release"):
        business.business(ask(tmp_path))


def test_the_officer_sees_what_was_spent_what_may_leave_and_what_ledgers_say(home: Path) -> None:
    found = officer.privacy(ask(home))
    (account,) = found["accounts"]
    assert (account["bundle"], account["population"], account["epsilon"], account["rounds"]) == (
        "affinity",
        "homes",
        1.25,
        3,
    )
    assert found["sealed"] == 10
    assert {one["device"]: one["rows"] for one in found["ledgers"]}["device-3"] == 43
    (profile,) = found["profiles"]
    assert profile["name"] == "home-gateway"
    update = next(one for one in profile["egress"] if one["kind"] == "update")
    assert "bounded" in update["protection"]


def test_what_is_left_of_privacy_stands_among_the_budgets_that_everybody_sees(home: Path) -> None:
    found = watch.budgets(ask(home))
    (account,) = found["accounts"]
    assert (account["bundle"], account["population"]) == ("affinity", "homes")
    assert (account["epsilon"], account["epsilon_max"], account["left"]) == (1.25, 8.0, 6.75)
    assert (account["delta"], account["unit"], account["standing"]) == (1e-5, "one device", "left")
    assert not found["waiting"]


def test_what_is_left_is_not_known_while_it_is_reckoned(home: Path) -> None:
    unknown = msgspec.structs.replace(ask(home), reckon=lambda *_: math.nan)
    found = watch.budgets(unknown)
    (account,) = found["accounts"]
    assert math.isnan(account["left"])
    assert (account["standing"], found["waiting"]) == ("not known", True)


@pytest.mark.parametrize(
    ("epsilon", "epsilon_max", "word", "used"),
    [
        (0.0, 8.0, "left", 0.0),
        (7.0, 8.0, "left", 0.875),
        (7.5, 8.0, "little left", 0.9375),
        (8.0, 8.0, "spent", 1.0),
        (math.inf, 8.0, "spent", 1.0),
        (3.0, math.inf, "no limit", None),
        (3.0, 1e6, "no limit", None),
        (math.nan, 8.0, "not known", None),
    ],
)
def test_a_budget_says_in_a_word_how_it_stands(
    epsilon: float, epsilon_max: float, word: str, used: float | None
) -> None:
    found = standing(epsilon, epsilon_max)
    assert (found["standing"], found["used"], found["limited"]) == (word, used, word != "no limit")


def test_the_audit_log_is_of_all_who_did_something(home: Path) -> None:
    def sources(**query: str) -> dict[str, Any]:
        return officer.audit(ask(home, query))

    found = sources()
    assert {line.source for line in found["lines"]} == {"devices", "rollouts", "registry"}
    assert [line.at_ms for line in found["lines"]] == sorted((line.at_ms for line in found["lines"]), reverse=True)
    assert {line.source for line in sources(source="rollouts")["lines"]} == {"rollouts"}
    assert all(one["head"] and not one["damage"] for one in found["chains"])


def test_a_seal_that_is_not_the_devices_own_is_no_seal(home: Path) -> None:
    (first, second) = FleetStore(home).views(["device-1", "device-2"])
    assert first.status is not None
    stolen = officer.ledger(type(second)(name="device-2", node=2, enrolled_ms=0, status=first.status))
    assert stolen["day"] == ""


def test_a_file_that_was_written_has_another_version_and_one_that_is_gone_none(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "coordinator.db")
    assert watched.version() == -1
    store = Store(tmp_path)
    before = watched.version()
    assert watched.version() == before
    store.enrol("a", 1, "key")
    assert watched.version() != before
    (tmp_path / "coordinator.db").unlink()
    assert watched.version() == -1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_who_looks_waits_for_nobody_who_writes(home: Path, page: Page) -> None:
    params = {"device": "device-1", "run": world.RUN, "rollout": world.ROLLOUT, "experiment": "order"}
    holder = sqlite3.connect(home / "coordinator.db", isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        holder.execute("UPDATE device SET name = name")
        begun_s = time.monotonic()
        assert page.look(ask(home, **params))
        assert time.monotonic() - begun_s < 10.0, "a writer is waited for 15 s"
    finally:
        holder.execute("ROLLBACK")
        holder.close()


def test_a_database_that_is_held_damaged_or_not_there_is_said_in_words_that_help(tmp_path: Path) -> None:
    with pytest.raises(HomeUnreadable, match="edge-coordinator up"):
        readable(tmp_path)
    assert not (tmp_path / "coordinator.db").exists(), "who looks makes nothing"
    Store(tmp_path)
    readable(tmp_path)
    holder = sqlite3.connect(tmp_path / "coordinator.db", isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    holder.execute("UPDATE device SET name = name")
    with pytest.raises(HomeUnreadable, match="held by another process"):
        readable(tmp_path)
    holder.close()
    (tmp_path / "coordinator.db").write_bytes(b"no database at all" * 400)
    with pytest.raises(HomeUnreadable, match="put a backup"):
        readable(tmp_path)
