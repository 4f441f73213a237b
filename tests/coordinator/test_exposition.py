"""What Prometheus reads of a coordinator, and who may read it."""

import asyncio
from pathlib import Path

import httpx
import msgspec
import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from coordinator.families import BY_NAME, FAMILIES
from coordinator.rollout.beginning import begin
from coordinator.rollout.plan import parse
from coordinator.rollout.state import Wish
from coordinator.rounds import Round
from coordinator.shell import exposition
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.listening import word
from coordinator.shell.rollout_store import RolloutStore
from coordinator.shell.store import Store
from firmware_configs import families
from firmware_configs.messages import Alert, BundleState, Reported, Status
from tests.coordinator.rollout.plans import OLD, TEXT
from tests.coordinator.test_fleet_store import NOW, alert


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A coordinator that has heard three devices, trained, and rolls out."""
    home = tmp_path_factory.mktemp("home")
    store = Store(home)
    for n in (1, 2, 3):
        store.enrol(f"secret-home-{n}", n, "key")
    heard = []
    for n in (1, 2):
        name = f"secret-home-{n}"
        heard.append((name, "status", Status(device=name, online=n == 1, agent="0.2.0", time_ms=NOW)))
        state = BundleState(version=OLD, state="active")
        heard.append((name, "reported", Reported(device=name, revision=0, bundles={"context": state})))
        heard.append((name, "alert", msgspec.structs.replace(alert(1), device=name)))
    over = msgspec.structs.replace(alert(1), device="secret-home-2", state="resolved")
    heard.append(("secret-home-2", "alert", over))
    fleet = FleetStore(home)
    for name, kind, said in heard:
        one = word(name, kind, msgspec.msgpack.encode(said), NOW, live=True, as_json=False)
        assert one is not None
        fleet.hear([one])
    with store.transaction() as database:
        for key, started_ms in (("r", 2), ("older", 1)):
            database.execute(
                "INSERT INTO run (key, bundle, version, started_ms) VALUES (?, 'context', '1.0.0', ?)",
                (key, started_ms),
            )
    store.put_round(
        Round(run="older", number=1, state="published", asked=9, reports=9, loss_before=9.0, loss_after=8.0)
    )
    for number, state_ in ((1, "published"), (2, "accounted"), (3, "abandoned")):
        store.put_round(
            Round(run="r", number=number, state=state_, asked=5, reports=3, loss_before=2.0, loss_after=1.0 / number)  # type: ignore[arg-type]
        )
    plan = parse(TEXT, "plan")
    rollout = begin("k", plan, {"secret-home-1": ()}, {"secret-home-1": OLD}, "", 0)
    rollouts = RolloutStore(home)
    rollouts.begin(rollout, Wish(kind="start", who="me"))
    rollouts.close()
    return home


@pytest.fixture(scope="module")
def told(home: Path) -> list[Metric]:
    """What a scrape reads."""
    return list(text_string_to_metric_families(exposition.text(home, NOW).decode()))


def _values(told: list[Metric], name: str) -> dict[tuple[str, ...], float]:
    return {tuple(s.labels.values()): s.value for m in told for s in m.samples if s.name == name}


def test_the_fleet_is_counted(told: list[Metric]) -> None:
    assert _values(told, "edgeward_fleet_devices") == {("online",): 1, ("offline",): 1, ("unknown",): 1}
    assert _values(told, "edgeward_fleet_agent_devices") == {("0.2.0",): 1}
    assert _values(told, "edgeward_fleet_bundle_devices") == {("context", OLD): 2}
    assert _values(told, "edgeward_fleet_alerts_firing") == {("burn-rate", "page"): 1}
    assert _values(told, "edgeward_fleet_last_heard_timestamp_seconds") == {(): NOW / 1_000}
    assert _values(told, "edgeward_fleet_findings")


def test_runs_rounds_and_rollouts_are_counted(told: list[Metric]) -> None:
    assert _values(told, "edgeward_runs") == {("context", "cut off"): 2}
    rounds = {("context", "published"): 2.0, ("context", "accounted"): 1.0, ("context", "abandoned"): 1.0}
    assert _values(told, "edgeward_run_rounds") == rounds
    assert _values(told, "edgeward_round_reports")["context", "used"] == 3
    assert _values(told, "edgeward_round_loss") == {("context", "before"): 2.0, ("context", "after"): 0.5}
    assert sum(_values(told, "edgeward_rollout_devices").values()) == 1
    assert list(_values(told, "edgeward_rollouts")) == [("context", "planned")]


def test_every_family_is_in_the_table_and_no_device_is_named(told: list[Metric]) -> None:
    for metric in told:
        for sample in metric.samples:
            assert set(sample.labels) == set(BY_NAME[metric.name].labels)
            assert not any("secret" in value for value in sample.labels.values())


def test_a_home_without_anything_is_told_too(tmp_path: Path) -> None:
    assert b"edgeward_coordinator_info" in exposition.text(tmp_path, NOW)


@pytest.mark.parametrize(
    ("host", "token", "shown", "status"),
    [
        ("127.0.0.1", "", "", 200),
        ("10.0.0.9", "", "", 403),
        ("10.0.0.9", "", "Bearer ", 403),
        ("10.0.0.9", "a-token", "", 403),
        ("10.0.0.9", "a-token", "Bearer another", 403),
        ("10.0.0.9", "a-token", "Bearer a-token", 200),
    ],
)
def test_this_machine_may_read_and_others_with_the_token(
    tmp_path: Path, host: str, token: str, shown: str, status: int
) -> None:
    if token:
        (tmp_path / exposition.SHOWN_FILE).write_text(f"{token}\n")
    door = httpx.ASGITransport(Starlette(routes=exposition.routes(tmp_path)), client=(host, 1))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=door, base_url="http://door") as client:
            return await client.get("/metrics", headers={"authorization": shown} if shown else {})

    answer = asyncio.run(ask())
    assert answer.status_code == status
    assert ("edgeward_coordinator_info" in answer.text) is (status == 200)


def test_an_alert_that_cannot_be_read_is_passed_over(home: Path, tmp_path: Path) -> None:
    store = FleetStore(tmp_path)
    Store(tmp_path).enrol("home-1", 1, "key")
    one = word("home-1", "alert", msgspec.msgpack.encode(alert(1)), NOW, live=True, as_json=False)
    assert one is not None
    store.hear([one, msgspec.structs.replace(one, packed=b"", summary=msgspec.msgpack.encode({"too_long": 9_999}))])
    assert [type(found) for found in store.alerts()] == [Alert]


def test_the_page_of_metrics_is_what_the_code_says() -> None:
    page = families.PAGE.read_text()
    assert families.written(page, "coordinator", FAMILIES) == page, "make reference"
