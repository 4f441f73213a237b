"""The commands: what a plan would do, a rollout begun, looked at and wished for; and the page that describes them."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from coordinator.cli import main
from coordinator.errors import PlanUnfit, RolloutTaken
from coordinator.rollout.beginning import begin
from coordinator.rollout.plan import parse
from coordinator.rollout.simulated import World, fault, simulate
from coordinator.rollout.state import Wish
from coordinator.shell import result_rollout
from coordinator.shell.driving import Driven, Driver
from coordinator.shell.fleet_store import FleetStore, Heard
from coordinator.shell.home import Endpoints
from coordinator.shell.mqtt_control import Control
from coordinator.shell.registry_store import Registry
from coordinator.shell.request import Request
from coordinator.shell.rollout_store import RolloutStore
from coordinator.shell.rollouts import imagined
from coordinator.shell.run_store import RunStore
from coordinator.shell.store import Store
from firmware_configs.messages import BundleState, Reported
from tests.coordinator.rollout.plans import TEXT
from tests.coordinator.written import job_of
from tests.models.sample import zoo_path

WISH = Wish(kind="start", who="a person")
PAGE = Path(__file__).parents[3] / "docs" / "rollout.md"


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, list(words), catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def run_json(*words: str) -> Any:
    return json.loads(run(*words, "--json"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A coordinator that ran: `context` 1.0.0 published, six devices that run an older version."""
    made = tmp_path / "home"
    Registry.ensure(made).publish(zoo_path("context"))
    store, fleet = Store(made), FleetStore(made)
    heard = []
    for number in range(6):
        device = f"device-{number}"
        store.enrol(device, number + 1, "")
        word = Reported(device=device, revision=0, bundles={"context": BundleState(version="0.9.0", state="active")})
        packed = msgspec.msgpack.encode(word)
        heard.append(Heard(device=device, kind="reported", time_ms=1, packed=packed, online=True))
    fleet.hear(heard)
    fleet.tag(["device-3"], {"site": "lab"})
    where = Endpoints(broker="mqtt://127.0.0.1:1", registry="https://r:1", superlink="", ca="", root="", control="")
    (made / "endpoints.json").write_bytes(msgspec.json.encode(where))
    return made


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "rollout.toml"
    path.write_text(TEXT.replace('"1.1.0"', '"1.0.0"').replace("share = 0.25", 'share = 0.25\ntags = ["site=lab"]'))
    return path


def test_a_plan_tells_what_would_happen_with_a_stated_failure(tmp_path: Path) -> None:
    path = tmp_path / "rollout.toml"
    path.write_text(TEXT)
    told = run_json("rollout", "plan", str(path), "--devices", "40", "--simulate", "--fail", "crash", "--fail", "none")
    assert [one["devices"] for one in told["cohorts"]] == [10, 30]
    crash, none = told["simulations"]["crash"], told["simulations"]["none"]
    assert (crash["state"], none["state"], none["touched"]) == ("rolled-back", "done", 40)
    assert crash["touched"] <= 5, "no more than may be at risk"
    assert crash["first_asked_to_halt_s"] <= 60.0
    assert "rolled back" in run("rollout", "plan", str(path), "--devices", "40", "--simulate", "--fail", "crash")


def test_a_failure_that_is_none_is_refused_with_what_can_be_written() -> None:
    with pytest.raises(Exception, match="no such failure"):
        fault("hot")
    with pytest.raises(Exception, match="is not from 1"):
        fault("slow:0.2x")


def test_a_rollout_is_begun_looked_at_and_wished_for(home: Path, plan: Path) -> None:
    at = ("--home", str(home))
    begun = run_json("rollout", "start", str(plan), *at)
    assert begun["cohorts"][0]["devices"] in {2, 3}, "its share, and the lab"
    assert begun["state"] == "planned"
    assert run_json("rollout", "ls", *at)[0]["rollout"] == begun["rollout"]
    shown = run_json("rollout", "show", "last", "--devices", *at)
    assert {one["before"] for one in shown["devices"]} == {"0.9.0"}
    assert next(one for one in shown["devices"] if one["device"] == "device-3")["cohort"] == "first"
    assert "nothing to pause" in run("rollout", "pause", *at, code=1)
    assert run_json("rollout", "rollback", "--reason", "a doubt", *at)["asked"] == "rollback"
    assert run_json("rollout", "log", "--verify", *at)["log"] == []


def test_while_a_bundle_is_rolled_out_it_is_not_deployed_past_that(home: Path, plan: Path) -> None:
    at = ("--home", str(home))
    assert "not context 2.0" in run("deploy", "context", "2.0", "--rollout", str(plan), *at, code=2)
    run("deploy", "context", "1.0.0", "--rollout", str(plan), *at)
    assert "rollout context-1.0.0" in run("deploy", "context", "1.0.0", *at, code=1)
    assert "is planned" in run("rollout", "start", str(plan), *at, code=1)


def test_while_a_bundle_is_rolled_out_nobody_trains_it_or_wants_it_by_hand(home: Path, plan: Path) -> None:
    at = ("--home", str(home))
    run("rollout", "start", str(plan), *at)
    for words in (("train", "context"), ("fleet", "want", "device-1", "--bundle", "context=1.0.0")):
        told = run(*words, *at, code=1)
        assert "CRD507" in told
        assert "fix: wait for its end, or: edge-coordinator rollout rollback context-1.0.0" in told
    assert FleetStore(home).view("device-1").desired.revision == 0, "nothing was asked of it"
    assert run_json("rounds", "ls", *at) == [], "no run was begun"
    assert "CRD101" in run("fleet", "want", "device-1", "--any-time", *at, code=1), "windows may change meanwhile"


def test_a_run_whose_bundle_is_rolled_out_meanwhile_is_not_deployed_and_can_be_gone_on_with(
    home: Path, plan: Path
) -> None:
    run("rollout", "start", str(plan), "--home", str(home))
    control = Control("mqtt://127.0.0.1:1", Store(home))  # never dialled: the refusal comes before
    driver = Driver(home, "20261129-run", control, lambda _line: None)
    with pytest.raises(RolloutTaken, match=r"context 1\.0\.1 is published, and not deployed: rollout") as refused:
        driver.deploy(Request(bundle="context"), "1.0.1")
    assert refused.value.hint.endswith("then: edge-coordinator rounds resume 20261129-run")
    assert all(view.desired.revision == 0 for view in FleetStore(home).views())


def deployed(home: Path, plan: str, request: Request) -> Driven:
    """A run of `context` that has published 1.0.0, brought to its end."""
    key, lines = "20261129-run", list[str]()
    folder = home / "runs" / key
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / result_rollout.FILE).write_text(plan)
        RunStore(home).begin(key, "context", "0.9.0", request, job_of(home, key), 1)
    control = Control("mqtt://127.0.0.1:1", Store(home))  # never dialled: nobody is asked at once
    return Driver(home, key, control, lines.append).deploy(request, "1.0.0")


def test_the_rollout_of_a_runs_result_is_begun_once_however_often_the_run_is_gone_on_with(home: Path) -> None:
    """The version in the plan is whatever the result's is; the file may be gone by then."""
    staged = Request(bundle="context", rollout="long-gone.toml")
    first, again = (deployed(home, TEXT, staged) for _ in range(2))
    assert first == again
    (begun,) = run_json("rollout", "ls", "--home", str(home))
    assert (begun["rollout"], begun["version"], begun["state"]) == (first.rollout, "1.0.0", "planned")
    assert first.devices == []
    assert run_json("rounds", "ls", "--home", str(home))[0]["result"] == "1.0.0"


def test_a_result_that_nobody_is_to_run_is_asked_of_nobody(home: Path) -> None:
    assert deployed(home, "", Request(bundle="context", deploy=False)) == Driven(version="1.0.0")
    assert run_json("rollout", "ls", "--home", str(home)) == []
    assert run_json("rounds", "ls", "--home", str(home))[0]["result"] == "1.0.0"
    assert all(view.desired.revision == 0 for view in FleetStore(home).views())


def test_a_run_whose_rollout_nobody_can_take_part_in_any_more_is_over_and_says_how_to_deploy(home: Path) -> None:
    gone = TEXT.replace("share = 0.25", 'devices = ["given-away"]')
    with pytest.raises(PlanUnfit, match=r"context 1\.0\.0 is published, and not rolled out: the plan names given-away"):
        deployed(home, gone, Request(bundle="context", rollout="rollout.toml"))
    (told,) = run_json("rounds", "ls", "--home", str(home))
    assert (told["state"], told["result"]) == ("published", "1.0.0"), "another run of the bundle may begin"


def test_a_run_that_waits_for_another_rollout_is_gone_on_with_after_it(home: Path, plan: Path) -> None:
    path = _with(plan, "1.0.0", "0.9.5")
    RolloutStore(home).begin(
        begin("other", parse(path.read_text()), {"device-3": ("site=lab",)}, {"device-3": "0.9.0"}, "", 1), WISH
    )
    with pytest.raises(RolloutTaken, match=r"and not deployed: rollout other") as refused:
        deployed(home, TEXT, Request(bundle="context", rollout="rollout.toml"))
    assert refused.value.hint.endswith("then: edge-coordinator rounds resume 20261129-run")
    assert run_json("rounds", "ls", "--home", str(home))[0]["state"] == "cut off"


def test_what_is_not_published_or_not_there_is_told(home: Path, plan: Path) -> None:
    at = ("--home", str(home))
    assert "not in the registry" in run("rollout", "start", str(_with(plan, "1.0.0", "7.7.7")), *at, code=2)
    assert "no rollout `x`" in run("rollout", "show", "x", *at, code=2)


def _with(path: Path, old: str, new: str) -> Path:
    changed = path.with_name("changed.toml")
    changed.write_text(path.read_text().replace(old, new))
    return changed


def test_the_schema_is_printed() -> None:
    assert "cohort" in json.loads(run("rollout", "schema"))["$defs"]["Plan"]["properties"]


def test_the_plan_of_the_page_does_what_the_page_says() -> None:
    found = re.search(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    plan = parse(found[1])
    for kind in ("slow:3x", "crash", "worse:0.3"):
        one = simulate(imagined(plan, 300), World(fault=fault(kind), per_minute=4.0))
        assert one.rollout.state == "rolled-back", kind
        assert one.rollout.cohort == 0, kind
        assert one.touched == 3, kind
