"""Figures for the business from sums of devices: right on average, honest about noise, told once they are paid for."""

import json
import math
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt import publish
from paho.mqtt.enums import MQTTProtocolVersion

from coordinator import business
from coordinator.business import Figure, Plan, blurred, gather, planned
from coordinator.cli import main
from coordinator.errors import TooFewDevices
from coordinator.shell import broker
from coordinator.shell.home import Endpoints
from coordinator.shell.store import Store
from firmware_configs.business import SUMS, Group
from firmware_configs.loader import parse
from firmware_configs.measured import Measured, MetricCell, MetricTotals
from firmware_configs.messages import Topics
from firmware_configs.profile import Metric
from models.business import bounded, row_of
from tests.edge_agent.shop import HOUR_MS, PLACES, SCREEN, SHOP, TILL, Shop, metric, outcome

EXPERIMENT = """
[placement.experiment]
name = "greeting"
control = "plain"
arms = [{ name = "plain" }, { name = "warm" }]
"""
SEGMENTS = """
[[segment]]
name = "evening"
when = "hour >= 18"
"""
BOUGHT = metric("bought", '{ kind = "rate", outcomes = ["purchase"], window_s = 3600.0 }', placements='"front"')
BACK = metric("back", '{ kind = "return", source = "app", day = 7 }', placements='"front"')
WORTH = metric("worth", '{ kind = "lifetime-value", source = "till" }', upper=200.0, placements='"front"')
NOISY = "k_min = 3\nprivacy = { clip_norm = 60.0, noise_multiplier = 0.8, epsilon_max = 8.0 }"


def text(*parts: str, noisy: bool = False) -> str:
    """The shop's profile, with an experiment and a segment."""
    feed = PLACES.index('[[placement]]\nname = "feed"')
    whole = SHOP + PLACES[:feed] + EXPERIMENT + PLACES[feed:] + TILL + SCREEN + outcome() + SEGMENTS
    whole += "".join(parts or (BOUGHT, BACK, WORTH))
    return whole.replace("k_min = 3", NOISY) if noisy else whole


def plan_of(profile: str, *, cells: bool = False) -> Plan:
    loaded = parse(profile).profile
    return planned(loaded, next(one for one in loaded.egress if one.kind == "metric"), cells=cells)


def report(device: str, counts: dict[tuple[str, str], tuple[int, float]], name: str = "bought") -> Measured:
    """Counts: (arm, segment) → observations and their total."""
    cells = [
        MetricCell(placement="front", arm=f"greeting/{arm}", segment=segment, n=n, total=total, squares=total)
        for (arm, segment), (n, total) in counts.items()
    ]
    upper = 200.0 if name == "worth" else 1.0
    totals = [MetricTotals(metric=name, kind="rate", lower=0.0, upper=upper, since_ms=0, cells=cells)]
    return Measured(device=device, profile="shop", k_min=3, totals=totals)


def shops(devices: int, rate: float, seed: int, spread: float = 0.0) -> list[Measured]:
    """Devices of different size whose own rates scatter about `rate`."""
    dice = np.random.default_rng(seed)
    found = []
    for number in range(devices):
        own = dice.beta(rate / spread, (1.0 - rate) / spread) if spread else rate
        n = int(dice.integers(5, 40))
        found.append(report(f"shop-{number}", {("plain", "other"): (n, float(dice.binomial(n, own)))}))
    return found


def read(plan: Plan, reports: list[Measured], seed: int, width: float = 0.05) -> list[Figure]:
    total, scale, devices, refused = gather(plan, reports, [one.device for one in reports])
    normal = np.random.default_rng(seed).standard_normal
    release = business.Release(
        number=1,
        plan=plan,
        sums=blurred(total, plan.noise, normal).tolist(),
        scale=scale,
        noise=plan.noise,
        devices=str(devices),
        privacy="",
        epsilon=None,
        refused=refused,
        time_ms=0,
    )
    return business.read(release, width)


def of_arm(figures: list[Figure], arm: str, metric_: str = "bought") -> Figure:
    return next(one for one in figures if one.metric == metric_ and one.arm == f"greeting/{arm}" and not one.segment)


def test_the_rows_follow_from_the_profile_alone() -> None:
    groups = plan_of(text(BOUGHT)).groups
    assert [(one.arm, one.segment) for one in groups] == [
        ("greeting/plain", ""),
        ("greeting/warm", ""),
        ("", "evening"),
        ("", "other"),
    ]
    assert len(plan_of(text(BOUGHT), cells=True).groups) == 8
    assert {one.metric for one in plan_of(text()).groups} == {"bought", "back", "worth"}


def test_sums_without_noise_are_told_as_they_are() -> None:
    reports = [report(f"s{n}", {("plain", "other"): (10, 3.0), ("warm", "evening"): (20, 12.0)}) for n in range(40)]
    figures = read(plan_of(text(BOUGHT)), reports, 0)
    plain, warm = of_arm(figures, "plain"), of_arm(figures, "warm")
    assert (plain.value, warm.value) == (pytest.approx(0.3), pytest.approx(0.6))
    assert plain.observations == 400.0
    assert plain.width == plain.width_without
    # Wilson's interval of 120 in 400 by hand, with Student's t of 39 degrees instead of the normal quantile.
    assert (plain.low, plain.high) == (pytest.approx(0.2559, abs=2e-3), pytest.approx(0.3481, abs=2e-3))


def test_values_come_in_the_metrics_own_unit_and_have_their_name() -> None:
    dice = np.random.default_rng(0)
    reports = [report(f"s{n}", {("plain", "other"): (4, float(dice.uniform(0, 400)))}, "worth") for n in range(50)]
    figure = of_arm(read(plan_of(text(WORTH)), reports, 0), "plain", "worth")
    assert figure.what == "lifetime value"
    assert figure.value == pytest.approx(np.mean([one.totals[0].cells[0].total for one in reports]) / 4.0)
    assert figure.low < figure.value < figure.high <= 200.0
    assert business.meaning(plan_of(text(BACK)).metrics[0]) == "retention, day 7"


@cache
def rate_metric() -> Metric:
    """The profile's own, read once."""
    return plan_of(text(BOUGHT)).metrics[0]


def figures_of(rate: float, spread: float, noise: float, seed: int, devices: int = 300) -> Figure:
    """One arm's figure of simulated devices of different size whose own rates scatter about `rate`."""
    dice = np.random.default_rng(seed)
    n = dice.integers(5, 40, devices)
    own = dice.beta(rate / spread, (1.0 - rate) / spread, devices) if spread else np.full(devices, rate)
    rows = np.stack([n, dice.binomial(n, own) - n / 2.0], axis=1)
    half = 60.0 / math.sqrt(2.0)
    sums = sum((bounded(row[None], half * math.sqrt(2.0)) for row in rows), np.zeros((1, SUMS)))
    told = blurred(np.asarray(sums), noise, dice.standard_normal)[0]
    return business.figure(
        rate_metric(), Group(metric="bought", placement="front"), told.tolist(), half, noise, 3, 0.05
    )


@pytest.mark.parametrize("noise", [0.0, 48.0])
@pytest.mark.parametrize(("rate", "spread"), [(0.3, 0.0), (0.3, 0.15), (0.03, 0.0)])
def test_intervals_hold_as_often_as_they_say(noise: float, rate: float, spread: float) -> None:
    found = [figures_of(rate, spread, noise, seed) for seed in range(120)]
    held = sum(one.value is None or one.low <= rate <= one.high for one in found)
    assert held >= 0.89 * 120, "95 % less three standard errors of 120 trials"
    assert sum(one.value is not None for one in found) > 100


def test_devices_that_differ_are_not_taken_for_independent_decisions() -> None:
    plan = plan_of(text(BOUGHT))
    alike, different = (of_arm(read(plan, shops(200, 0.3, 1, spread), 0), "plain") for spread in (0.0, 0.3))
    assert different.width > 1.7 * alike.width


def test_the_cost_of_privacy_is_seen_and_falls_with_people() -> None:
    plan = plan_of(text(BOUGHT, noisy=True))
    few, many = (of_arm(read(plan, shops(devices, 0.3, 1), 1), "plain") for devices in (150, 2_000))
    assert few.width > few.width_without
    assert many.width / many.width_without < few.width / few.width_without
    assert many.width / many.width_without < 1.4


def test_as_many_observations_as_are_needed_give_the_width() -> None:
    plan = plan_of(text(BOUGHT, noisy=True))
    now = of_arm(read(plan, shops(800, 0.3, 1), 1, width=0.04), "plain")
    assert now.needed is not None
    per_device = now.observations / 800
    devices = round(now.needed / per_device)
    then = of_arm(read(plan, shops(devices, 0.3, 2), 2), "plain")
    assert 300 < devices < 3_000
    assert then.width == pytest.approx(0.04, rel=0.25)


def test_a_group_of_fewer_than_k_devices_is_not_told() -> None:
    reports = [report(f"s{n}", {("plain", "other"): (10, 3.0)}) for n in range(30)]
    reports += [report(f"t{n}", {("warm", "other"): (900, 450.0)}) for n in range(2)]
    figures = read(plan_of(text(BOUGHT)), reports, 0)
    assert of_arm(figures, "warm").value is None
    assert "fewer than 3 devices" in of_arm(figures, "warm").why
    assert of_arm(figures, "plain").value is not None
    with pytest.raises(TooFewDevices):
        read(plan_of(text(BOUGHT)), reports[-2:], 0)


@cache
def private_cells() -> Plan:
    """Each arm with each segment too, under noise."""
    return plan_of(text(BOUGHT, noisy=True), cells=True)


CELL = st.tuples(st.integers(0, 5_000), st.floats(0.0, 1.0))


@settings(max_examples=80, deadline=None)
@given(st.lists(CELL, min_size=8, max_size=8))
def test_one_device_moves_all_sums_together_by_its_bound_at_most(cells: list[tuple[int, float]]) -> None:
    plan = private_cells()
    names = [(arm, segment) for arm in ("plain", "warm") for segment in ("evening", "other")]
    counts = {name: (n, n * share) for name, (n, share) in zip(names, cells, strict=False)}
    row = row_of(plan.shape, {one.metric: one.cells for one in report("s", counts).totals})
    assert np.linalg.norm(bounded(row, plan.clip)) <= plan.clip + 1e-9


@settings(max_examples=150, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=5), st.floats(0.0, 100.0), st.integers(1, 10))
def test_any_sums_are_read_and_an_interval_holds_its_value(sums: list[float], noise: float, k_min: int) -> None:
    figure = business.figure(rate_metric(), Group(metric="bought", placement="front"), sums, 42.0, noise, k_min, 0.05)
    assert 0.0 <= figure.low <= figure.high <= 1.0
    assert figure.width_without <= figure.width + 1e-12
    if figure.value is not None:
        assert figure.low - 1e-9 <= figure.value <= figure.high + 1e-9
        assert figure.needed is not None
        assert figure.needed >= 0.0
    else:
        assert figure.why


def test_what_is_no_true_sum_or_not_enrolled_does_not_count() -> None:
    plan = plan_of(text(BOUGHT))
    good = [report(f"s{n}", {("plain", "other"): (10, 3.0)}) for n in range(3)]
    odd = [
        report("much", {("plain", "other"): (10, 11.0)}),
        report("nan", {("plain", "other"): (10, math.nan)}),
        report("negative", {("plain", "other"): (-1, 0.0)}),
        msgspec.structs.replace(report("other", {}), totals=[MetricTotals(
            metric="bought", kind="rate", lower=0.0, upper=9.0, since_ms=0, cells=[])]),
        report("stranger", {("plain", "other"): (10, 3.0)}),
    ]  # fmt: skip
    total, _, devices, refused = gather(plan, [*good, *odd], [one.device for one in [*good, *odd[:-1]]])
    assert devices == 3
    assert set(refused) == {"much", "nan", "negative", "other", "stranger"}
    assert total[0, 0] == 30.0


def test_of_several_reports_of_a_device_the_newest_counts() -> None:
    plan = plan_of(text(BOUGHT))
    reports = [report(f"s{n}", {("plain", "other"): (10, 3.0)}) for n in range(3)]
    newer = msgspec.structs.replace(report("s0", {("plain", "other"): (20, 6.0)}), time_ms=5)
    total, _, devices, _ = gather(plan, [newer, *reports], ["s0", "s1", "s2"])
    assert (devices, total[0, 0]) == (3, 40.0)


# ---- commands ------------------------------------------------------------------------------------------------


def call(home: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["business", *words, "--home", str(home)])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    store = Store(tmp_path)
    for number in range(60):
        store.enrol(f"shop-{number}", number, "")
    lines = [msgspec.json.encode(one).decode() for one in shops(60, 0.3, 0)]
    (tmp_path / "reports.jsonl").write_text("\n".join(lines))
    (tmp_path / "shop.toml").write_text(text(BOUGHT, noisy=True))
    return tmp_path


def test_a_release_is_paid_for_and_reading_it_again_is_not(home: Path) -> None:
    given = ["release", str(home / "shop.toml"), "--from", str(home / "reports.jsonl")]
    nothing = call(home, "show", "shop")
    assert nothing.exit_code == 1
    assert "CRD403" in nothing.output
    done = call(home, *given, "--json")
    assert done.exit_code == 0, done.output
    first = json.loads(done.stdout)
    assert first["epsilon"] == pytest.approx(5.68, abs=0.02)
    assert first["devices"] == "at least 3"
    assert json.loads(call(home, "show", "shop", "--json").stdout) == first
    assert json.loads(call(home, "ls", "--json").stdout)[0]["release"] == 1
    told = call(home, "show", "shop").output
    assert "conversion: bought at front" in told
    assert "differential privacy; unit: one device" in told
    for _ in range(6):
        refused = call(home, *given)
        if refused.exit_code:
            break
    assert refused.exit_code == 1
    assert "CRD204" in refused.output
    listed = json.loads(call(home, "ls", "--json").stdout)[0]["release"]
    assert json.loads(call(home, "show", "shop", "--json").stdout)["release"] == listed, "nothing was told then"


def test_a_profile_that_lets_no_metrics_out_is_refused(home: Path) -> None:
    path = home / "closed.toml"
    path.write_text(text(BOUGHT).replace('kind = "metric"', 'kind = "status"'))
    done = call(home, "release", str(path), "--from", str(home / "reports.jsonl"))
    assert done.exit_code == 2
    assert "CRD404" in done.output


def test_without_a_promise_of_noise_no_privacy_is_claimed(home: Path) -> None:
    (home / "shop.toml").write_text(text(BOUGHT))
    done = json.loads(
        call(home, "release", str(home / "shop.toml"), "--from", str(home / "reports.jsonl"), "--json").stdout
    )
    assert done["privacy"].startswith("no differential privacy")
    assert (done["epsilon"], done["noise"], done["devices"]) == (None, 0.0, "60")


def test_what_real_agents_told_over_a_real_broker_is_what_is_told(tmp_path: Path) -> None:
    port = broker.free_port()
    running = broker.start(tmp_path, "127.0.0.1", port)
    where = Endpoints(broker=f"mqtt://127.0.0.1:{port}", registry="", superlink="", ca="", root="", control="")
    (tmp_path / "endpoints.json").write_bytes(msgspec.json.encode(where))
    (tmp_path / "shop.toml").write_text(text(BOUGHT))
    bought = shown = 0
    try:
        for number in range(4):
            Store(tmp_path).enrol(f"shop-{number}", number, "")
            shop = Shop(outcome(), SEGMENTS, BOUGHT, experiment=EXPERIMENT)
            for person in range(6):
                shop.agree(f"p{person}").event("kiosk", f"p{person}")
                shown += 1
                if (person + number) % 3 == 0:
                    shop.now += 1_000
                    shop.buys(f"p{person}")
                    bought += 1
            shop.pass_time(30 * HOUR_MS)
            word = msgspec.structs.replace(shop.measured()[-1], device=f"shop-{number}")
            topic, payload = Topics(word.device).of("metric"), msgspec.msgpack.encode(word)
            publish.single(topic, payload, qos=1, retain=True, port=port, protocol=MQTTProtocolVersion.MQTTv5)
        done = call(tmp_path, "release", str(tmp_path / "shop.toml"), "--json")
    finally:
        running.stop()
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["devices"], told["refused"]) == ("4", {})
    arms = [one for one in told["figures"] if one["arm"]]
    assert sum(one["observations"] for one in arms) == shown
    known = [one for one in arms if one["value"] is not None]
    assert known, "a home draws its arm by its own key, and every person theirs"
    if len(known) == len(arms):
        assert sum(one["observations"] * one["value"] for one in arms) == pytest.approx(bought)
