"""Attribution over a fleet: numbers worked out by hand, the axioms, and who may read what."""

import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.attribution import EXACT_MAX, Attributed, Coalitions, Count, exact, gathered, markov, sampled, shapley
from coordinator.cli import main
from coordinator.errors import AttributionRefused
from firmware_configs.measured import Measured, PathCount, PathTotals

PATHS = st.dictionaries(
    st.lists(st.sampled_from("abcde"), max_size=4).map(tuple),
    st.tuples(st.integers(0, 50), st.integers(0, 50)),
    max_size=12,
).map(lambda drawn: {path: count(*numbers) for path, numbers in drawn.items() if sum(numbers)})


def count(conversions: float, nulls: float = 0.0) -> Count:
    return Count(conversions=conversions, nulls=nulls, value=0.0, devices=9)


def parts(found: Attributed) -> dict[str, float]:
    return {one.channel: one.conversions for one in found.credits}


def report(device: str, *paths: tuple[tuple[str, ...], int, int], k_min: int = 1, time_ms: int = 0) -> Measured:
    counts = [PathCount(path=path, conversions=c, nulls=n) for path, c, n in paths]
    totals = [PathTotals(outcome="purchase", by="channel", since_ms=0, paths=counts)]
    return Measured(device=device, profile="p", k_min=k_min, paths=totals, time_ms=time_ms)


def test_shapley_of_three_musicians() -> None:
    """The example of any textbook: v(1) = 1, v(2) = 3, v(3) = 6, v(12) = 4, v(13) = 7, v(23) = 9, v(123) = 12."""
    assert exact([0, 1, 3, 4, 6, 7, 9, 12]) == pytest.approx([5 / 3, 11 / 3, 20 / 3])


def test_shapley_of_the_glove_game() -> None:
    """One left glove, two right ones: the left one is worth 2/3."""
    assert exact([0, 0, 0, 1, 0, 1, 0, 1]) == pytest.approx([2 / 3, 1 / 6, 1 / 6])


def test_by_number_each_path_is_shared_alike_among_its_channels() -> None:
    paths = {("a",): count(6), ("a", "b"): count(4), ("b", "a", "c"): count(3), (): count(5)}
    found = shapley(paths, game="conversions")
    assert parts(found) == pytest.approx({"a": 6 + 2 + 1, "b": 2 + 1, "c": 1.0})
    assert found.base == 5.0


def test_by_rate_a_channel_that_only_goes_along_gets_little() -> None:
    """Alone `a` converts half, `b` nothing, both together half: v(a) = 20, v(b) = 0, v(ab) = 15 of 40 paths."""
    paths = {("a",): count(5, 5), ("b",): count(0, 10), ("a", "b"): count(10, 10)}
    assert parts(shapley(paths)) == pytest.approx({"a": (20 + 15) / 2, "b": (0 + 15 - 20) / 2})


def test_removal_effects_of_a_small_chain() -> None:
    """Start → a 4/5, start → b 1/5; a → outcome 1/2, a → b 1/2; b → outcome 1/3, b → none 2/3."""
    paths = {("a",): count(2, 0), ("a", "b"): count(1, 1), ("b",): count(0, 1)}
    whole = 4 / 5 * (1 / 2 + 1 / 2 * 1 / 3) + 1 / 5 * 1 / 3
    without_a, without_b = 1 / 5 * 1 / 3, 4 / 5 * 1 / 2
    effects = {"a": whole - without_a, "b": whole - without_b}
    total = sum(effects.values())
    assert parts(markov(paths)) == pytest.approx({channel: 3 * effect / total for channel, effect in effects.items()})


@settings(max_examples=60, deadline=None)
@given(PATHS, st.sampled_from(["rate", "conversions"]))
def test_efficiency_all_that_is_not_the_bases_is_shared(paths: dict[tuple[str, ...], Count], game: str) -> None:
    found = shapley(paths, game=game)  # type: ignore[arg-type]
    game_of = Coalitions(paths, game)  # type: ignore[arg-type]
    everyone = game_of.worth((1 << len(game_of.channels)) - 1)
    assert sum(parts(found).values()) + found.base == pytest.approx(everyone)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=16, max_size=16))
def test_symmetry_and_null_players_and_additivity(worth: list[float]) -> None:
    value = np.array(worth)
    swapped = np.array([value[(m & 12) | ((m & 1) << 1) | ((m >> 1) & 1)] for m in range(16)])
    both = exact(list(value + swapped))
    assert both[0] == pytest.approx(both[1])  # players 0 and 1 are alike in the sum
    assert both == pytest.approx(exact(list(value)) + exact(list(swapped)))
    without = np.array([value[m & 7] for m in range(16)])
    assert exact(list(without))[3] == pytest.approx(0.0)


@settings(max_examples=40, deadline=None)
@given(PATHS)
def test_removal_effects_add_up_to_the_conversions_or_to_nothing(paths: dict[tuple[str, ...], Count]) -> None:
    found = markov(paths)
    conversions = sum(one.conversions for one in paths.values())
    shared = sum(parts(found).values())
    assert all(value >= 0.0 for value in parts(found).values())
    assert shared + found.base == pytest.approx(conversions)


def test_above_the_limit_orders_are_drawn_and_the_error_is_honest() -> None:
    dice = np.random.default_rng(5)
    names = [f"c{n:02}" for n in range(EXACT_MAX + 3)]
    paths = {
        tuple(dice.choice(names, dice.integers(1, 5), replace=False).tolist()): count(int(dice.integers(1, 30)))
        for _ in range(60)
    }
    found = shapley(paths, game="conversions", permutations=400, seed=1)
    truth = dict.fromkeys(names, 0.0)
    for path, one in paths.items():
        for channel in set(path):
            truth[channel] += one.conversions / len(set(path))
    missed = [one for one in found.credits if abs(one.conversions - truth[one.channel]) > 4 * one.standard_error + 1e-9]
    assert missed == []
    assert sum(parts(found).values()) == pytest.approx(sum(one.conversions for one in paths.values()))
    assert any(one.standard_error > 0 for one in found.credits)


def test_few_channels_drawn_agree_with_exact() -> None:
    paths = {("a",): count(5, 5), ("b",): count(1, 10), ("a", "b", "c"): count(10, 10)}
    values, errors = sampled(Coalitions(paths, "rate"), 500, np.random.default_rng(0))
    known = parts(shapley(paths))
    for channel, value, error in zip("abc", values, errors, strict=True):
        assert abs(value - known[channel]) <= 4 * error + 1e-9


def test_what_too_few_devices_had_is_left_out() -> None:
    reports = [report(f"d{n}", (("a",), 2, 1)) for n in range(3)] + [report("d3", (("a",), 1, 0), (("x",), 7, 0))]
    found = gathered(reports, "purchase", 2)
    assert list(found.paths) == [("a",)]
    assert (found.paths[("a",)].conversions, found.rare_conversions) == (7.0, 7.0)


def test_what_devices_demand_holds_whatever_is_asked() -> None:
    with pytest.raises(AttributionRefused, match="2 devices tell of `purchase`, and 3 must be added up"):
        gathered([report("d1", (("a",), 1, 0), k_min=3), report("d2", (("a",), 1, 0))], "purchase", 1)


def test_only_the_newest_report_of_a_device_counts() -> None:
    reports = [report("d1", (("a",), 9, 0), time_ms=2), report("d1", (("a",), 4, 0), time_ms=1)]
    assert gathered(reports, "purchase").paths[("a",)].conversions == 9.0


def test_counts_that_are_none_are_refused() -> None:
    with pytest.raises(AttributionRefused, match="d1 tells of a path"):
        gathered([report("d1", (("a",), -1, 0))], "purchase")


def test_the_command_reads_a_file_and_says_what_it_left_out(tmp_path: Path) -> None:
    file = tmp_path / "reports.jsonl"
    reports = [report(f"d{n}", (("a",), 2, 1), (("a", "b"), 1, 0)) for n in range(3)] + [report("d9", (("z",), 1, 0))]
    file.write_bytes(b"\n".join(msgspec.json.encode(one) for one in reports))
    asked = ["attribution", "purchase", "--from", str(file), "--k-min", "2", "--json"]
    told = json.loads(CliRunner().invoke(main, asked).stdout)
    assert told["devices"] == 4
    assert told["rare_conversions"] == 1
    assert sum(one["conversions"] for one in told["credits"]) == pytest.approx(9.0)
    words = CliRunner().invoke(main, [*asked[:-1], "--model", "markov"]).stdout
    assert re.search(r"a +\d", words)
    file.write_text("{}")
    refused = CliRunner().invoke(main, asked)
    assert refused.exit_code == 1
    assert "CRD109" in refused.output


def test_reports_are_read_from_the_broker_of_enrolled_devices_only(tmp_path: Path) -> None:
    from paho.mqtt import publish
    from paho.mqtt.enums import MQTTProtocolVersion

    from coordinator.shell import broker as embedded
    from coordinator.shell.measured import from_broker
    from firmware_configs.messages import Topics

    port = embedded.free_port()
    running = embedded.start(tmp_path, "127.0.0.1", port)
    try:
        for device, told in (("d1", "d1"), ("d2", "d1"), ("stranger", "stranger")):
            publish.single(
                Topics(device).of("metric"),
                msgspec.msgpack.encode(report(told, (("a",), 1, 0))),
                qos=1,
                retain=True,
                hostname="127.0.0.1",
                port=port,
                protocol=MQTTProtocolVersion.MQTTv5,
            )
        found = from_broker(f"mqtt://127.0.0.1:{port}", {"d1", "d2"}, 1.0)
    finally:
        running.stop()
    assert [one.device for one in found] == ["d1"]
