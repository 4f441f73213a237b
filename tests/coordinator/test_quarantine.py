"""Reports that do not fit: what each check says, what is remembered, and who is not asked any more."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from coordinator.aggregate import Report, bounded
from coordinator.cli import main
from coordinator.errors import UnknownDevice
from coordinator.quarantine import LIMIT, Claim, Standing, after, apart, asked_of, found, in_words
from coordinator.shell.quarantine_store import DAY_MS, QuarantineStore
from coordinator.shell.store import Store
from coordinator.shell.vetting import allowed, vetted

F64 = NDArray[np.float64]
SIZE, CLIP = 200, 10.0


def _round(seed: int, count: int = 12) -> tuple[list[Claim], F64]:
    """Honest devices: one direction, and noise of their own as large."""
    dice = np.random.default_rng(seed)
    towards = np.random.default_rng(99).normal(size=SIZE) / np.sqrt(SIZE)
    rows = towards + dice.normal(size=(count, SIZE)) / np.sqrt(SIZE)
    return [_claim(n, rows[n], seed) for n in range(count)], rows


def _claim(node: int, row: F64, seed: int = 0, **more: object) -> Claim:
    told = {"node": node, "norm": float(np.linalg.norm(row)), "examples": 64, "loss_before": 0.5, "loss_after": 0.4}
    return Claim(**{**told, "digest": f"{seed}-{node}", **more})  # type: ignore[arg-type]


def _checks(claims: list[Claim], rows: F64, known: dict[int, Standing] | None = None) -> list[set[str]]:
    return [{one.check for one in own if one.points > 0} for own in found(claims, rows, None, CLIP, known or {})]


def test_each_thing_that_does_not_fit_is_found_and_named() -> None:
    claims, rows = _round(1)
    rows[1] *= -10.0
    claims[1] = _claim(1, rows[1])
    claims[2] = _claim(2, rows[2], norm=CLIP * 1.1)
    rows[3, 7] += 5.0
    claims[3] = _claim(3, rows[3])
    claims[4] = _claim(4, rows[4], digest=claims[5].digest)
    claims[6] = _claim(6, rows[6], examples=64 * 65)
    claims[7] = _claim(7, rows[7], loss_after=2.5)
    claims[8] = _claim(8, rows[8], digest="old")
    claims[9] = _claim(9, rows[9], examples=64 * 9)
    known = {8: Standing(digest="old"), 9: Standing(examples=64)}
    names = _checks(claims, rows, known)
    assert {"outsize", "direction"} <= names[1]
    assert "bound" in names[2]
    assert "single" in names[3]
    assert "repeated" in names[4]
    assert "repeated" in names[5]
    assert "examples" in names[6]
    assert "loss" in names[7]
    assert "repeated" in names[8]
    assert "examples" in names[9]
    assert all(names[n] <= {"direction"} for n in (0, 10, 11))


def test_honest_devices_stay_far_from_quarantine_over_many_rounds() -> None:
    standing = {n: Standing() for n in range(12)}
    for number in range(60):
        claims, rows = _round(number)
        for claim, own in zip(claims, found(claims, rows, None, CLIP, standing), strict=True):
            assert not apart(own)
            standing[claim.node] = after(standing[claim.node], claim, own, "run", number)
    assert max(one.score for one in standing.values()) < LIMIT / 2


def test_who_sends_the_opposite_at_ordinary_length_is_found_after_a_few_rounds() -> None:
    standing = {n: Standing() for n in range(12)}
    number = 0
    while not standing[0].quarantined:
        claims, rows = _round(number)
        rows[:2] *= -1.0
        for claim, own in zip(claims, found(claims, rows, None, CLIP, standing), strict=True):
            standing[claim.node] = after(standing[claim.node], claim, own, "run", number)
        number += 1
        assert number < 10
    assert not any(standing[n].quarantined for n in range(2, 12))
    assert "direction" in in_words(standing[0].evidence)


@pytest.mark.parametrize("what", ["outsize", "single", "repeated", "bound"])
def test_a_report_that_no_honest_agent_sends_is_left_out_of_its_own_round(what: str) -> None:
    claims, rows = _round(2)
    if what == "outsize":
        rows[0] *= 6.0
    if what == "single":
        rows[0, 7] += 3.0
    changed: dict[str, dict[str, object]] = {"repeated": {"digest": "old"}, "bound": {"norm": CLIP * 1.1}}
    claims[0] = _claim(0, rows[0], 2, **changed.get(what, {}))
    assert [apart(own) for own in found(claims, rows, None, CLIP, {0: Standing(digest="old")})] == [True] + [False] * 11


def test_a_number_that_holds_most_of_nearly_all_updates_tells_nobody_apart() -> None:
    _, rows = _round(4)
    rows[:5, 7] += 3.0
    some = [_claim(n, rows[n]) for n in range(12)]
    assert [n for n, names in enumerate(_checks(some, rows)) if "single" in names] == [0, 1, 2, 3, 4]
    rows[5:, 7] += 3.0
    every = [_claim(n, rows[n]) for n in range(12)]
    assert not any("single" in names for names in _checks(every, rows))


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), usual=st.floats(0.1, 0.9))
def test_honest_devices_of_a_model_where_one_number_matters_most_all_fit(seed: int, usual: float) -> None:
    """Whatever share that number holds in the median, and some hold half as much again of it."""
    claims, rows = _round(seed)
    dice = np.random.default_rng(seed)
    share = np.minimum(usual * dice.uniform(0.5, 1.5, len(rows)), 0.98)
    rows[:, 7] = 0.0
    rows[:, 7] = np.sqrt(share / (1.0 - share) * (rows * rows).sum(axis=1))
    claims = [_claim(claim.node, row, seed) for claim, row in zip(claims, rows, strict=True)]
    assert not any("single" in names for names in _checks(claims, rows))


def test_an_honest_report_takes_a_point_away_and_the_evidence_with_the_last_one() -> None:
    claims, rows = _round(3)
    own, (loud,) = Standing(), found([_claim(0, rows[0], loss_after=2.5)], rows[:1], None, CLIP, {})
    scores = []
    for number, findings in enumerate([loud, (), ()]):
        own = after(own, claims[0], findings, "run", number)
        scores.append((own.score, len(own.evidence)))
    assert scores == [(2.0, 1), (1.0, 1), (0.0, 0)]


def test_who_agrees_less_than_most_but_does_not_go_against_them_gets_no_points_for_it() -> None:
    claims, rows = _round(4)
    towards = rows.mean(axis=0)
    rows = towards + 0.02 * (rows - towards)
    aside = np.random.default_rng(5).normal(size=SIZE)
    aside -= towards * (aside @ towards) / (towards @ towards)
    rows[0] = 0.5 * towards + aside * float(np.linalg.norm(towards) / np.linalg.norm(aside))
    claims[0] = _claim(0, rows[0], 4)
    assert "direction" not in _checks(claims, rows)[0]


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), share=st.sampled_from([0.02, 0.1, 0.4, 0.6, 0.9]))
def test_honest_devices_that_send_their_largest_numbers_alone_fit(seed: int, share: float) -> None:
    claims, rows = _round(seed)
    order = np.argsort(np.argsort(-np.abs(rows), axis=1), axis=1)
    rows = np.where(order < share * SIZE, rows, 0.0)
    if share * SIZE < 100:
        rows[0, order[0] == 0] *= 3.0  # of so few, one may hold most
    for own in found(claims, rows, None, CLIP, {}, sent=share):
        assert not apart(own)


def test_one_number_alone_is_found_whatever_a_report_says_that_it_left_out() -> None:
    claims, rows = _round(4)
    rows[3] = 0.0
    rows[3, 7] = 1.0
    claims[3] = _claim(3, rows[3])
    for sent in (0.0, 0.5, 0.9):
        own = found(claims, rows, None, CLIP, {}, sent=sent)
        assert "single" in {one.check for one in own[3]}
        assert apart(own[3])


def test_the_same_answer_to_the_same_round_is_no_repetition_and_to_another_it_is(tmp_path: Path) -> None:
    claims, rows = _round(2)
    standing = {
        claim.node: after(Standing(score=3.0), claim, own, "run", 1)
        for claim, own in zip(claims, found(claims, rows, None, CLIP, {}, asked=asked_of("run", 1)), strict=True)
    }
    again = found(claims, rows, None, CLIP, standing, asked=asked_of("run", 1))
    assert not any(apart(own) for own in again)
    assert after(standing[0], claims[0], again[0], "run", 1) == standing[0]
    for other in (asked_of("run", 2), asked_of("other", 1), ""):
        assert all(apart(own) for own in found(claims, rows, None, CLIP, standing, asked=other))
    # As the coordinator asks after a cut: the same reports count once more, and nobody has come nearer to quarantine.
    store = Store(tmp_path)
    for n in range(3):
        store.enrol(f"home-{n}", n + 1, "key")
    reports = [bounded(_report(n + 1, 1.0), CLIP) for n in range(3)]
    for _attempt in range(3):
        kept, out = vetted(tmp_path, "run", 1, reports, CLIP)
        assert (len(kept), out) == (3, ())
    assert {one.score for one in QuarantineStore(tmp_path).standings().values()} == {0.0}
    kept, out = vetted(tmp_path, "run", 2, reports, CLIP)
    assert kept == ()
    assert all("repeated" in one for one in out)


@given(count=st.integers(1, 6), seed=st.integers(0, 1_000), flip=st.booleans())
def test_in_a_small_round_nobody_is_compared_with_others(count: int, seed: int, flip: bool) -> None:
    claims, rows = _round(seed, count)
    if flip:
        rows[0] *= -9.0
        claims[0] = _claim(0, rows[0], seed)
    assert not {"outsize", "direction"} & set().union(*_checks(claims, rows))


@settings(max_examples=60)
@given(
    values=st.lists(st.floats(min_value=-1e30, max_value=1e30), min_size=30, max_size=30),
    examples=st.integers(1, 2**20),
    loss=st.floats(allow_nan=False, allow_infinity=False),
)
def test_whatever_is_sent_gives_finite_points_and_a_standing(values: list[float], examples: int, loss: float) -> None:
    rows = np.array(values).reshape(10, 3)
    claims = [_claim(n, rows[n], examples=examples, loss_before=loss, loss_after=-loss) for n in range(10)]
    for claim, own in zip(claims, found(claims, rows, None, CLIP, {}), strict=True):
        assert np.isfinite(after(Standing(), claim, own, "run", 1).score)


def test_an_entry_carries_its_evidence_runs_out_and_is_audited(tmp_path: Path) -> None:
    now = [1_000]
    store = QuarantineStore(tmp_path, lambda: now[0])
    claims, rows = _round(1)
    claims[0] = _claim(0, rows[0], norm=CLIP * 3)
    own = found(claims, rows, None, CLIP, {})[0]
    bad = after(Standing(), claims[0], own, "run-1", 4)
    (entry,) = store.put({"home-0": bad, "home-1": Standing(score=1.0)})
    assert (entry.device, entry.by, entry.until_ms) == ("home-0", "coordinator", 1_000 + 7 * DAY_MS)
    assert "bound" in entry.reason
    assert [(one.run, one.round) for one in entry.evidence if one.finding.check == "bound"] == [("run-1", 4)]
    assert set(store.entries()) == {"home-0"}
    now[0] = entry.until_ms
    assert store.entries() == {}
    assert store.entries() == {}
    (again,) = store.put({"home-0": bad})
    assert (again.times, again.until_ms - again.since_ms) == (2, 14 * DAY_MS)
    store.release("home-0", "its disk was full")
    with pytest.raises(UnknownDevice):
        store.release("home-0", "twice")
    assert [(one.what, one.by) for one in store.audit("home-0")] == [
        ("quarantined", "coordinator"),
        ("expired", "coordinator"),
        ("quarantined", "coordinator"),
        ("released", "operator"),
    ]
    assert "home-0" not in store.standings()


def test_a_report_longer_than_was_asked_is_left_out_and_its_node_is_not_asked_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for n in range(3):
        store.enrol(f"home-{n}", n + 1, "key")
    reports = [_report(n + 1, 1.0 if n else 50.0) for n in range(3)]
    kept, out = vetted(tmp_path, "run", 1, [bounded(one, CLIP) for one in reports], CLIP)
    assert [one.node for one in kept] == [2, 3]
    assert "bound" in out[0]
    assert allowed(tmp_path, [1, 2, 3, 4]) == [2, 3, 4]


def _report(node: int, step: float) -> Report:
    delta = np.random.default_rng(node).integers(-5, 6, 10).astype(np.int8)
    return Report(delta={"w": delta}, scales={"w": step / 10}, examples=8, loss_before=1.0, loss_after=0.5, node=node)


def test_an_operator_quarantines_and_releases_with_a_reason(tmp_path: Path) -> None:
    Store(tmp_path).enrol("home-1", 7, "key")
    home = ["--home", str(tmp_path)]
    run = CliRunner()
    assert run.invoke(main, ["nodes", "quarantine", "home-9", "--reason", "x", *home]).exit_code == 2
    assert run.invoke(main, ["nodes", "quarantine", "home-1", "--reason", "odd sensor", *home]).exit_code == 0
    assert "quarantined by the operator" in run.invoke(main, ["nodes", "ls", *home]).output
    assert allowed(tmp_path, [7]) == []
    assert run.invoke(main, ["nodes", "release", "home-1", "--reason", "sensor replaced", *home]).exit_code == 0
    assert allowed(tmp_path, [7]) == [7]
    told = run.invoke(main, ["nodes", "audit", "home-1", *home]).output
    assert "odd sensor" in told
    assert "sensor replaced" in told
