"""A small fleet, lived through: the same bytes whoever lives it, and figures that add up."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from coordinator.cli import main
from coordinator.errors import SimulationStopped
from coordinator.shell.broker import free_port
from coordinator.shell.simulation import charts, report
from coordinator.shell.simulation.run import Done, EngineName, simulate
from coordinator.simulation.plan import EXAMPLE, Plan, Population, Private, Rounds, load
from models.bundle import SUFFIX, open_bundle, write_bundle
from tests.benchmarks import simulate as benchmark
from tests.coordinator.simulation import cluster

DEVICES = 24
DAY_MAX = "50_000_000"
"""What the example's profile lets decisions be, in bytes a day."""


def _plan(**changes: Any) -> Plan:
    """The example for a small fleet."""
    plan = load(EXAMPLE)
    assert plan.rounds is not None
    rounds = msgspec.structs.replace(
        plan.rounds, hours=(10.0, 20.0), wanted=8, minimum_reports=3, rule=None, version_every=2, quarantine=False
    )
    assert plan.rollout is not None
    rollout = msgspec.structs.replace(plan.rollout, cohort=plan.rollout.cohort[-1:], report_every_s=7_200.0)
    population = msgspec.structs.replace(plan.population, drop_out=0.0, online=(0.9,) * 24)
    events = tuple(msgspec.structs.replace(one, per_day=10.0) for one in plan.event)
    return msgspec.structs.replace(
        plan, **({"rounds": rounds, "rollout": rollout, "population": population, "event": events} | changes)
    )


def _run(plan: Plan, out: Path, engine: EngineName = "vector", count: int = 1, days: int = 1) -> Done:
    return simulate(plan, DEVICES, days, 7, out, engine=engine, count=count)


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory) -> Done:
    return _run(_plan(), tmp_path_factory.mktemp("two-days"), days=2)


def test_the_same_seed_gives_the_same_bytes_in_one_process_and_in_three(tmp_path: Path, two_days: Done) -> None:
    _run(_plan(), tmp_path, count=3, days=2)
    assert (tmp_path / "result.json").read_bytes() == (Path(two_days.folder) / "result.json").read_bytes()


def _copied(plan: Plan, folder: Path, *, summary: str = "", day_max: str = DAY_MAX) -> Plan:
    """The same plan with files in a folder of their own; a bundle's summary or the profile is another."""
    folder.mkdir()
    profile = folder / "profile.toml"
    profile.write_text(Path(plan.profile).read_text(encoding="utf-8").replace(DAY_MAX, day_max), encoding="utf-8")
    bundles = []
    for number, path in enumerate(plan.bundles):
        held = open_bundle(Path(path))
        spec = msgspec.structs.replace(held.spec, summary=summary or held.spec.summary)
        files = {name: held.read(name) for name in spec.files}
        bundles.append(str(write_bundle(folder / f"{number}{SUFFIX}", spec, files)))
    return msgspec.structs.replace(plan, profile=str(profile), bundles=tuple(bundles))


def test_the_plans_hash_is_of_what_its_files_hold_and_not_of_where_they_lie(tmp_path: Path) -> None:
    plan = _plan(rounds=None, rollout=None)
    changes: list[dict[str, str]] = [{}, {"summary": "Others were asked."}, {"day_max": "49_000_000"}]
    here, bundle, profile = (
        simulate(_copied(plan, tmp_path / str(n), **change), 1, 1, 7, tmp_path / f"out-{n}", count=1).result
        for n, change in enumerate(changes)
    )
    there = simulate(plan, 1, 1, 7, tmp_path / "there", count=1).result
    assert here.plan == there.plan
    assert here.contents == there.contents
    assert len({here.plan, bundle.plan, profile.plan}) == 3
    assert bundle.contents.profile == here.contents.profile != profile.contents.profile
    assert profile.contents.bundles == here.contents.bundles != bundle.contents.bundles
    assert [*here.contents.bundles] == ["affinity 1.0.0", "context 1.0.0"]


def test_another_seed_gives_another_fleet(tmp_path: Path, two_days: Done) -> None:
    other = simulate(_plan(), DEVICES, 1, 8, tmp_path, count=1)
    assert other.result.hours["events"] != two_days.result.hours["events"][:24]


def test_devices_decide_on_what_happens_and_people_answer(two_days: Done) -> None:
    total = two_days.result.totals
    assert total["events"] == pytest.approx(DEVICES * 2 * 20, rel=0.2)
    assert 0 < total["clicks"] < total["answered"] < total["decisions"] <= total["events"]
    assert 0 < total["dropped"] < total["events"]
    assert total["bytes_decision"] > total["decisions"] * 50


def test_rounds_go_through_the_state_table_and_learn(two_days: Done) -> None:
    rows = [one.row for one in two_days.result.rounds]
    assert [row.state for row in rows[:2]] == ["published", "published"]
    assert all(row.asked >= row.reports >= 3 for row in rows[:2])
    assert all(row.loss_after < row.loss_before for row in rows[:2])
    assert two_days.result.totals["bytes_update"] >= sum(row.bytes_up for row in rows[:2])


def test_a_new_version_is_rolled_out_by_the_agents_own_reports(two_days: Done) -> None:
    (course, *_) = two_days.result.rollouts
    assert course.version == "1.0.1"
    assert course.state in {"done", "soaking"}
    assert course.touched > DEVICES // 2
    assert sum(two_days.result.versions["affinity 1.0.1"]) > 0
    assert (Path(two_days.folder) / "bundles" / "affinity-1.0.1.edgeward").is_file()


def test_rounds_go_on_from_a_version_whose_rollout_is_done(tmp_path: Path) -> None:
    done = simulate(_plan(), DEVICES, 4, 7, tmp_path, count=1).result
    (course, *_) = done.rollouts
    (over,) = (line.hour for line in course.log if line.what == "done")
    later = [one.row for one in done.rounds if one.hour > over]
    assert later
    assert all(row.state == "published" and row.reports >= 3 for row in later)


def test_one_by_one_comes_out_as_side_by_side(tmp_path: Path, two_days: Done) -> None:
    alone = _run(_plan(), tmp_path, "single", days=2).result
    for one, other in zip(alone.rounds, two_days.result.rounds, strict=True):
        assert one.row.reports == other.row.reports
        assert one.row.loss_after == pytest.approx(other.row.loss_after, abs=1e-3)
    assert alone.hours["events"] == two_days.result.hours["events"]


NO_RAY = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="no Ray: pip install 'edgeward[simulation]'"
)


@NO_RAY
@pytest.mark.slow
def test_flowers_simulation_engine_gives_the_same_bytes_with_the_files_gone(tmp_path: Path, two_days: Done) -> None:
    plan, out = _copied(_plan(), tmp_path / "files"), tmp_path / "out"

    def gone(_what: str, _devices: int) -> None:
        """Before the first message to a worker."""
        shutil.rmtree(tmp_path / "files", ignore_errors=True)

    simulate(plan, DEVICES, 2, 7, out, engine="ray", count=3, stage=gone)
    assert (out / "result.json").read_bytes() == (Path(two_days.folder) / "result.json").read_bytes()


@NO_RAY
@pytest.mark.slow
@pytest.mark.timeout(1_500)
def test_on_a_cluster_whose_workers_see_no_file_it_gives_the_same_bytes(tmp_path: Path, two_days: Done) -> None:
    assert not cluster.lacking()
    here = tmp_path / "here"
    here.mkdir()
    plan, out = _copied(_plan(), here / "files"), here / "out"
    with cluster.without(here, tmp_path) as address:
        assert cluster.seen_by_a_worker(address, here) == "[]"
        simulate(plan, DEVICES, 2, 7, out, engine="ray", count=3, address=address)
    assert (out / "result.json").read_bytes() == (Path(two_days.folder) / "result.json").read_bytes()
    assert (out / "bundles" / "affinity-1.0.1.edgeward").is_file()


@NO_RAY
def test_a_cluster_that_is_not_there_is_named_at_once(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(SimulationStopped, match=f"no Ray at {address}: .*refused") as stopped:
        simulate(_plan(), 1, 1, 7, tmp_path, engine="ray", count=1, address=address)
    assert "ray start --address" in stopped.value.hint


def test_a_clusters_address_is_for_the_engine_that_has_one(tmp_path: Path) -> None:
    words = ["simulate", "--plan", str(EXAMPLE), "--ray-address", "127.0.0.1:6379", "--out", str(tmp_path)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "--ray-address is for --engine ray" in done.output


def test_without_ray_the_engine_says_what_to_install(tmp_path: Path) -> None:
    if importlib.util.find_spec("ray") is not None:
        pytest.skip("Ray is here")
    words = ["simulate", "--plan", str(EXAMPLE), "--engine", "ray", "--devices", "2", "--out", str(tmp_path)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert "edgeward[simulation]" in done.output


def test_attackers_are_left_out_and_drop_outs_counted(tmp_path: Path) -> None:
    plan = _plan()
    assert plan.rounds is not None
    hostile = msgspec.structs.replace(plan.attackers, share=0.3, kind="scale", factor=50.0)
    rounds = msgspec.structs.replace(plan.rounds, wanted=0, quarantine=True, version_every=0, clip_norm=20.0)
    away = Population(online=(1.0,) * 24, drop_out=0.3)
    found = _run(_plan(attackers=hostile, rounds=rounds, population=away, rollout=None), tmp_path).result.rounds[-1]
    assert found.attackers_asked > 0
    assert found.attackers_used < found.attackers_asked
    assert found.left_out > 0
    assert found.dropped > 0


def test_a_private_round_spends_and_says_what(tmp_path: Path) -> None:
    plan = _plan()
    assert plan.rounds is not None
    rounds = msgspec.structs.replace(plan.rounds, version_every=0)
    private = Private(epsilon_max=50.0, noise_multiplier=1.0, accountant="rdp")
    found = _run(_plan(rounds=rounds, privacy=private, rollout=None), tmp_path).result
    assert [*found.epsilon] == ["1", "2"]
    assert 0.0 < found.epsilon["1"] < found.epsilon["2"]


def test_too_few_devices_abandon_a_round(tmp_path: Path) -> None:
    rounds = Rounds(bundle="affinity", hours=(12.0,), minimum_reports=DEVICES)
    nobody = Population(online=(0.1,) * 24)
    found = _run(_plan(rounds=rounds, population=nobody, rollout=None), tmp_path).result
    assert [one.row.state for one in found.rounds] == ["abandoned"]
    assert "reports are needed" in found.rounds[0].row.reason


def test_the_page_stands_by_itself_and_has_every_round(two_days: Done) -> None:
    text = report.page(two_days.result, two_days.cost)
    assert "src=" not in text
    assert 'href="http' not in text
    assert "<script" not in text
    assert text.count("<svg") == len(charts.panels(two_days.result))
    for one in two_days.result.rounds:
        assert f"<td>{one.row.number}</td>" in text


def test_an_example_can_be_had_from_the_command_and_it_says_so(tmp_path: Path) -> None:
    without = CliRunner().invoke(main, ["simulate"])
    assert without.exit_code == 2
    assert "--example" in without.output
    path = tmp_path / "simulation.toml"
    path.write_text(CliRunner().invoke(main, ["simulate", "--example"]).stdout, encoding="utf-8")
    assert load(path) == load(EXAMPLE)


def test_the_benchmark_measures_nothing_where_what_it_is_compared_with_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> None:
        assert name == "ray"

    monkeypatch.setattr(importlib.util, "find_spec", absent)
    done = CliRunner().invoke(benchmark.main, ["--json"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "pip install 'edgeward[simulation]'" in done.stderr


def test_the_command_prints_one_document(tmp_path: Path) -> None:
    words = ["simulate", "--plan", str(EXAMPLE), "--devices", "4", "--out", str(tmp_path), "--processes", "1", "--json"]
    done = CliRunner().invoke(main, [*words, "--no-plots"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["result"]["devices"] == 4
    assert not (tmp_path / "simulation.png").exists()
