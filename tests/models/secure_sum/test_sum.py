"""A secret sum is exact whoever vanishes, and the server sees nothing of one member."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.errors import SecureSumFailed
from models.secure_sum.graph import Plan, neighbours, plan
from models.secure_sum.member import Member
from models.secure_sum.messages import Arrived, Directory, Keys, Masked, Revealed, Shares, unpack
from models.secure_sum.noise import Noise, decode, encode, spare_bits
from models.secure_sum.ring import Ring
from models.secure_sum.shares import PRIME, recover, split
from tests.models.secure_sum.party import CONTEXT, STAGES, coins, sum_in_secret, unmasked

U64 = NDArray[np.uint64]
RING = Ring(bound=1.0, bits=8, members_max=64)


def _vectors(members: int, size: int, seed: int) -> dict[int, U64]:
    dice = np.random.default_rng(seed)
    return {one: dice.integers(0, 256, size).astype(np.uint64) for one in range(members)}


def test_sixty_four_learners_of_whom_a_fifth_vanish_mid_round_give_the_exact_sum() -> None:
    vectors = _vectors(64, 500, 1)
    # 13 of 64, some at each stage: before shares, before the vector, after the vector.
    vanish = {one: STAGES[1 + one % 3] for one in range(0, 65, 5)}
    heard = sum_in_secret(vectors, RING, plan(64, 0.25, 0.1), vanish)
    expected = [one for one in vectors if vanish.get(one) not in {"shares", "masked"}]
    assert len(vanish) == 13
    assert list(heard.included) == expected
    assert (heard.total == sum(vectors[one] for one in expected)).all()


@settings(max_examples=25)
@given(
    members=st.integers(4, 12),
    seed=st.integers(0, 1_000),
    gone=st.dictionaries(st.integers(0, 11), st.sampled_from(STAGES), max_size=2),
)
def test_the_sum_is_exact_or_refused_whoever_vanishes(members: int, seed: int, gone: dict[int, str]) -> None:
    vectors = _vectors(members, 9, seed)
    vanish = {one: stage for one, stage in gone.items() if one < members}
    try:
        heard = sum_in_secret(vectors, RING, Plan(degree=members - 1, threshold=members // 2 + 1), vanish, seed)
    except SecureSumFailed:
        # Only where too few are left beside a member that stays.
        assert len(vanish) > members - 1 - (members // 2 + 1)
        return
    assert (heard.total == sum(vectors[one] for one in heard.included)).all()


@settings(max_examples=60)
@given(seed=st.integers(0, 1_000), gone=st.sets(st.integers(0, 11), max_size=8), stage=st.sampled_from(STAGES[1:]))
def test_the_server_foresees_whether_a_sum_comes_about_without_those_who_are_missing(
    seed: int, gone: set[int], stage: str
) -> None:
    vectors, foreseen = _vectors(12, 5, seed), dict[str, bool]()
    graph, vanish = Plan(degree=6, threshold=4), dict.fromkeys(gone, stage)
    try:
        heard = sum_in_secret(vectors, RING, graph, vanish, seed, foreseen=foreseen)
    except SecureSumFailed:
        assert not foreseen[stage]
        return
    assert all(foreseen.values())
    assert (heard.total == sum(vectors[one] for one in heard.included)).all()


def test_on_a_sparse_graph_the_sum_is_as_exact() -> None:
    vectors = _vectors(60, 20, 2)
    heard = sum_in_secret(vectors, RING, Plan(degree=12, threshold=7), {3: "masked", 40: "shares", 11: "reveal"})
    assert (heard.total == sum(vectors[one] for one in heard.included)).all()
    assert set(vectors) - set(heard.included) == {3, 40}


def test_what_the_server_receives_holds_no_single_vector() -> None:
    """Every masked vector is uniform, whatever was masked, and says nothing of what was masked."""
    size = 4_096
    vectors = {one: np.full(size, one % 2 * 255, np.uint64) for one in range(8)}
    heard = sum_in_secret(vectors, RING, Plan(degree=7, threshold=5), {})
    cells = 64
    for one, masked in heard.masked.items():
        counts = np.bincount((masked * cells // (RING.mask + 1)).astype(np.int64), minlength=cells)
        chi_square = float(((counts - size / cells) ** 2 / (size / cells)).sum())
        assert chi_square < 130.0, one  # 63 degrees of freedom: P < 1e-6
    pairs = np.corrcoef(np.stack(list(heard.masked.values())).astype(np.float64))
    assert np.abs(pairs - np.eye(len(pairs))).max() < 0.1
    plain = [RING.pack(vector) for vector in vectors.values()]
    assert not any(raw in received for raw in plain for received in heard.received)


@pytest.mark.parametrize("noise", [None, Noise(multiplier=1.0, least=6)])
def test_the_whole_view_of_the_server_holds_no_single_vector_though_some_vanish(noise: Noise | None) -> None:
    """A server that takes off every mask that its view lets it take off gets at nobody's vector, noised or not.

    The same attempt, on members that reveal both secrets of a neighbour, gets at every one: it is no empty attempt.
    """
    size, threshold = 300, 5
    ring = Ring(bound=1.0, bits=12, members_max=8)
    if noise is not None:
        ring = Ring(bound=1.0, bits=12, members_max=8, spare=spare_bits(noise, ring, size))
    dice = np.random.default_rng(3)
    real = {one: dice.normal(0.0, 0.03, size) for one in range(8)}
    vectors = {
        one: ring.encode(vector, dice) if noise is None else encode(vector, noise, ring, dice, coins(500 + one))
        for one, vector in real.items()
    }
    graph, vanish = Plan(degree=7, threshold=threshold), {2: "masked", 5: "reveal"}
    heard = sum_in_secret(vectors, ring, graph, vanish)
    assert heard.included == (0, 1, 3, 4, 5, 6, 7)
    assert (heard.total == sum(vectors[n] for n in heard.included) & np.uint64(ring.mask)).all()
    assert unmasked(heard, ring, threshold, size) == {}
    loose = sum_in_secret(vectors, ring, graph, vanish, both=True)
    broken = unmasked(loose, ring, threshold, size)
    assert set(broken) == set(heard.included)
    assert all((broken[one] == vectors[one]).all() for one in broken)


def test_with_noise_of_the_members_not_even_the_sum_is_told_exactly() -> None:
    """The server's own result differs from the true sum by noise as wide as was stated, in every coordinate."""
    size, noise = 2_000, Noise(multiplier=2.0, least=6)
    plain = Ring(bound=1.0, bits=12, members_max=8)
    ring = Ring(bound=1.0, bits=12, members_max=8, spare=spare_bits(noise, plain, size))
    dice = np.random.default_rng(3)
    real = {one: dice.normal(0.0, 0.01, size) for one in range(8)}
    vectors = {one: encode(vector, noise, ring, dice, coins(500 + one)) for one, vector in real.items()}
    heard = sum_in_secret(vectors, ring, Plan(degree=7, threshold=5), {})
    apart = decode(heard.total, ring) - sum(real.values())
    assert np.sqrt((apart**2).mean()) >= 2.0 * 0.95
    assert np.abs(np.corrcoef(decode(heard.total, ring), sum(real.values()))[0, 1]) < 0.1


def test_the_same_sum_from_other_vectors_looks_the_same_to_the_server() -> None:
    """Two members exchange what they hold: the distribution of what the server sees, and its result, stay."""
    first = {one: np.full(2_000, 10 * one, np.uint64) for one in range(6)}
    second = {**first, 1: first[4], 4: first[1]}
    one, other = (sum_in_secret(v, RING, Plan(degree=5, threshold=4), {}, seed=3) for v in (first, second))
    assert (one.total == other.total).all()
    for n in (1, 4):
        means = [float(heard.masked[n].mean()) / (RING.mask + 1) for heard in (one, other)]
        assert means == pytest.approx([0.5, 0.5], abs=0.03)


def test_a_member_never_gives_both_secrets_of_a_neighbour_and_answers_once() -> None:
    members = {one: Member(one, CONTEXT, coins(one)) for one in range(4)}
    keys = {one: member.keys() for one, member in members.items()}
    told = {one: Directory(keys={n: key for n, key in keys.items() if n != one}, threshold=2) for one in members}
    shares = {one: member.shares(told[one]) for one, member in members.items()}
    mine = Shares(sealed={other: shares[other].sealed[0] for other in (1, 2, 3)})
    members[0].masked(mine, np.zeros(4, np.uint64), RING)
    answer = members[0].revealed(Arrived(members=(1, 2)))
    assert (set(answer.seeds), set(answer.keys)) == ({1, 2}, {3})
    with pytest.raises(SecureSumFailed, match="once"):
        members[0].revealed(Arrived(members=(2, 3)))
    with pytest.raises(SecureSumFailed):
        members[0].masked(mine, np.zeros(4, np.uint64), RING)


@pytest.mark.parametrize("threshold", [0, 1, 4])
def test_a_threshold_that_a_minority_reaches_is_refused(threshold: int) -> None:
    keys = {n: Member(n, CONTEXT, coins(n)).keys() for n in (1, 2, 3)}
    with pytest.raises(SecureSumFailed, match="more than half"):
        Member(0, CONTEXT, coins(0)).shares(Directory(keys=keys, threshold=threshold))


def test_a_share_sealed_for_another_sum_or_another_member_cannot_be_opened() -> None:
    members = [Member(n, CONTEXT, coins(n)) for n in range(4)]
    keys = {n: member.keys() for n, member in enumerate(members)}
    sealed = [
        member.shares(Directory(keys={m: key for m, key in keys.items() if m != n}, threshold=2)).sealed
        for n, member in enumerate(members)
    ]
    swapped = Shares(sealed={1: sealed[1][2], 2: sealed[2][0], 3: sealed[3][0]})
    with pytest.raises(SecureSumFailed, match="opened"):
        members[0].masked(swapped, np.zeros(3, np.uint64), RING)


@given(st.binary(min_size=32, max_size=32), st.integers(1, 9), st.integers(0, 8), st.integers(0, 99))
def test_any_threshold_of_shares_gives_the_secret_back_and_fewer_do_not(
    secret: bytes, threshold: int, more: int, seed: int
) -> None:
    points = list(range(1, threshold + more + 1))
    shares = split(secret, points, threshold, coins(seed))
    dice = np.random.default_rng(seed)
    some = {int(n): shares[int(n)] for n in dice.choice(points, threshold, replace=False)}
    assert recover(some, threshold) == secret
    if threshold > 1:
        some.popitem()
        with pytest.raises(SecureSumFailed):
            recover(some, threshold)


def test_one_share_less_than_the_threshold_fits_any_secret() -> None:
    """Perfect secrecy: to two shares of three, each secret has exactly one third share that gives it."""
    shares = split(b"a" * 32, [1, 2, 3], 3, coins(5))
    wanted = int.from_bytes(b"z" * 32)
    # Lagrange at 0 over points 1, 2, 3: s = 3·y1 - 3·y2 + y3.
    third = (wanted - 3 * int.from_bytes(shares[1]) + 3 * int.from_bytes(shares[2])) % PRIME
    assert recover({1: shares[1], 2: shares[2], 3: third.to_bytes(66)}, 3) == b"z" * 32


@given(st.integers(2, 20), st.integers(1, 4_096), st.integers(1, 40), st.integers(0, 99))
def test_a_ring_packs_and_unpacks_every_integer(bits: int, members: int, size: int, seed: int) -> None:
    ring = Ring(bound=1.0, bits=bits, members_max=members)
    values = np.random.default_rng(seed).integers(0, ring.mask + 1, size).astype(np.uint64)
    packed = ring.pack(values)
    assert len(packed) == -(-size * ring.ring_bits // 8)
    assert (ring.unpack(packed, size) == values).all()
    with pytest.raises(SecureSumFailed):
        ring.unpack(packed + b"\0", size)


@given(st.lists(st.floats(-2.0, 2.0), min_size=1, max_size=20), st.integers(2, 24))
def test_a_coordinate_is_off_by_less_than_a_step_and_right_on_average(vector: list[float], bits: int) -> None:
    ring = Ring(bound=1.5, bits=bits, members_max=1)
    real = np.array(vector)
    drawn = [ring.decode(ring.encode(real, np.random.default_rng(n)), 1) for n in range(64)]
    inside = np.clip(real, -1.5, 1.5)
    assert np.abs(np.array(drawn) - inside).max() <= ring.step * (1 + 1e-6)
    assert np.abs(np.mean(drawn, axis=0) - inside).max() <= ring.step * 0.5


def test_a_sum_at_the_ends_of_the_ring_does_not_run_over() -> None:
    ring = Ring(bound=1.0, bits=8, members_max=5)
    total = sum(ring.encode(np.array([1.0, -1.0]), np.random.default_rng(n)) for n in range(5))
    assert int(total[0]) <= ring.mask  # type: ignore[index]
    assert ring.decode(np.asarray(total), 5) == pytest.approx([5.0, -5.0])


@pytest.mark.parametrize("bad", [{"bound": 0.0}, {"bits": 1}, {"bits": 24, "members_max": 1_000}, {"members_max": 0}])
def test_a_ring_that_cannot_hold_the_sum_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(SecureSumFailed):
        Ring(**{"bound": 1.0, "bits": 8, "members_max": 64, **bad}).check()  # type: ignore[arg-type]


@given(st.integers(3, 60), st.integers(1, 10), st.integers(0, 9))
def test_neighbours_are_mutual_and_as_many_as_asked(count: int, half: int, seed: int) -> None:
    near = neighbours(range(count), 2 * half, seed)
    assert all(one in near[other] for one, others in near.items() for other in others)
    assert {len(others) for others in near.values()} == {min(2 * half, count - 1)}
    assert near == neighbours(list(reversed(range(count))), 2 * half, seed)


def test_the_neighbours_that_are_needed_grow_far_slower_than_the_members() -> None:
    found = {members: plan(members, 0.2, 0.05, 1e-6) for members in (100, 1_000, 10_000)}
    assert all(one.degree / 2 < one.threshold <= one.degree for one in found.values())
    assert found[10_000].degree < 2 * found[1_000].degree
    assert found[10_000].degree < 150


@given(members=st.integers(3, 80), vanish=st.floats(0.0, 0.6), collude=st.floats(0.0, 0.2))
def test_whatever_is_planned_members_take(members: int, vanish: float, collude: float) -> None:
    """More than half of a member's neighbours give a secret back, or `Member.shares` refuses."""
    try:
        found = plan(members, vanish, collude, 1e-6)
    except SecureSumFailed as error:
        assert error.hint
        return
    assert found.degree / 2 < found.threshold <= found.degree


def test_a_plan_that_nothing_can_bear_is_refused() -> None:
    for members, vanish, collude in ((2, 0.0, 0.0), (10, 0.6, 0.5), (10, 1.0, 0.0), (5, 0.4, 0.0), (3, 0.4, 0.0)):
        with pytest.raises(SecureSumFailed):
            plan(members, vanish, collude)


@pytest.mark.parametrize("kind", [Keys, Directory, Shares, Masked, Arrived, Revealed])
@given(raw=st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused_by_name(kind: type, raw: bytes) -> None:
    try:
        unpack(raw, kind)
    except SecureSumFailed as error:
        assert error.hint


def test_the_page_says_how_many_shares_take_a_mask_off() -> None:
    """docs/rounds.md, with what a run's sums are made with: a quarter may vanish, and a failure in a million."""
    page = " ".join((Path(__file__).parents[3] / "docs" / "rounds.md").read_text().split())
    said = {10: "7 of 9", 64: "18 of 34", 100: "25 of 48", 1_000: "58 of 114"}
    for members, words in said.items():
        assert words in page
        for collude in (0.0, 0.05):
            found = plan(members, 0.25, collude, 1e-6)
            assert f"{found.threshold} of {found.degree}" == words
    found = plan(64, 0.25, 0.1, 1e-6)
    assert f"with 0.1 it is {found.threshold} of {found.degree} for 64" in page
