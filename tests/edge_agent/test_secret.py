"""A device's part in a secret sum: stage by stage, and what it refuses."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from edge_agent.errors import RoundRefused
from edge_agent.learn.plan import Plan
from edge_agent.learn.secret import Part, vector_of
from models.secure_sum.collector import Collector
from models.secure_sum.graph import Plan as Graph
from models.secure_sum.messages import Arrived, Asked, Directory, Keys, Masked, Revealed, Shares, pack, unpack
from models.secure_sum.noise import Noise
from models.secure_sum.ring import Ring
from models.sparse import drawn
from tests.models.secure_sum.party import coins

RING = Ring(bound=2.0, bits=16, members_max=4)
DICE = np.random.default_rng(0)


def _asked(stage: str, member: int = 0, body: bytes = b"", context: str = "run:1", members: int = 4) -> Asked:
    return Asked(stage=stage, context=context, member=member, members=members, body=body, ring=RING)  # type: ignore[arg-type]


def _plan(clip_norm: float, **other: object) -> Plan:
    given: dict[str, object] = {
        "bundle": "b",
        "version": "1.0.0",
        "names": ("a", "b"),
        "round": 1,
        "rounds": 9,
        "epochs": 1,
        "lr": 0.1,
        "batch": 1,
        "negatives": 0,
        "clip_norm": clip_norm,
        "prox_mu": 0.0,
        "seed": 3,
    }
    return Plan(**{**given, **other})  # type: ignore[arg-type]


def _nothing() -> NDArray[np.float64]:
    raise AssertionError("nothing is trained at this stage")


def test_four_devices_give_the_sum_of_their_clipped_updates() -> None:
    parts = [Part(coins(n), 3) for n in range(4)]
    updates = [np.array([0.5 * n, -0.25, 1.0]) for n in range(4)]
    server = Collector("run:1", Graph(degree=3, threshold=3), RING, 3, 7)
    keys = {n: unpack(p.answer(_asked("keys", n), _nothing, DICE), Keys) for n, p in enumerate(parts)}
    told = {n: pack(one) for n, one in server.directories(keys).items()}
    shares = {n: unpack(p.answer(_asked("shares", n, told[n]), _nothing, DICE), Shares) for n, p in enumerate(parts)}
    passed = {n: pack(one) for n, one in server.forwarded(shares).items()}
    masked = {
        n: unpack(part.answer(_asked("masked", n, passed[n]), partial(updates.__getitem__, n), DICE), Masked)
        for n, part in enumerate(parts)
    }
    arrived = {n: pack(one) for n, one in server.arrived(masked).items()}
    told_last = {
        n: unpack(p.answer(_asked("reveal", n, arrived[n]), _nothing, DICE), Revealed) for n, p in enumerate(parts)
    }
    total, members = server.total(told_last)
    assert members == (0, 1, 2, 3)
    assert RING.decode(total, 4) == pytest.approx(sum(updates), abs=4 * RING.step)


def test_a_sum_with_less_noise_than_was_stated_is_not_unmasked() -> None:
    """Noise is made for four or more; of four one vanishes before its vector."""
    parts = [Part(coins(n), 3) for n in range(4)]
    noise = Noise(multiplier=1.0, least=4)
    server = Collector("run:1", Graph(degree=3, threshold=2), RING, 3, 7)
    keys = {n: unpack(p.answer(_asked("keys", n), _nothing, DICE), Keys) for n, p in enumerate(parts)}
    told = {n: pack(one) for n, one in server.directories(keys).items()}
    shares = {n: unpack(p.answer(_asked("shares", n, told[n]), _nothing, DICE), Shares) for n, p in enumerate(parts)}
    passed = {n: pack(one) for n, one in server.forwarded(shares).items()}
    for n, part in enumerate(parts):
        asked = replace(_asked("masked", n, passed[n]), noise=noise)
        part.answer(asked, lambda: np.zeros(3), DICE)
    assert parts[0].answer(_asked("reveal", 0, pack(Arrived(members=(1, 2, 3)))), _nothing, DICE)
    with pytest.raises(RoundRefused, match="3 devices are left, the noise was made for 4"):
        parts[1].answer(_asked("reveal", 1, pack(Arrived(members=(0, 2)))), _nothing, DICE)


def test_a_sum_of_fewer_devices_than_the_profile_wants_is_refused() -> None:
    with pytest.raises(RoundRefused, match="wants 5 added up"):
        Part(coins(1), 5).answer(_asked("keys", members=4), _nothing, DICE)


@pytest.mark.parametrize(("gone_at", "k_min"), [("shares", 4), ("reveal", 4)])
def test_a_sum_that_shrinks_below_what_the_profile_wants_is_not_unmasked(gone_at: str, k_min: int) -> None:
    """Four were asked; one vanishes before its shares, or before its vector."""
    part, others = Part(coins(0), k_min), [Part(coins(n), 3) for n in (1, 2, 3)]
    keys = {0: unpack(part.answer(_asked("keys"), _nothing, DICE), Keys)}
    keys |= {n: unpack(p.answer(_asked("keys", n), _nothing, DICE), Keys) for n, p in enumerate(others, 1)}
    if gone_at == "shares":
        del keys[3]
        told = Directory(keys={n: key for n, key in keys.items() if n}, threshold=2)
        with pytest.raises(RoundRefused, match="3 devices are left, this profile wants 4"):
            part.answer(_asked("shares", 0, pack(told)), _nothing, DICE)
        return
    server = Collector("run:1", Graph(degree=3, threshold=2), RING, 3, 7)
    directories = {n: pack(one) for n, one in server.directories(keys).items()}
    whole = [part, *others]
    shares = {
        n: unpack(p.answer(_asked("shares", n, directories[n]), _nothing, DICE), Shares) for n, p in enumerate(whole)
    }
    passed = {n: pack(one) for n, one in server.forwarded(shares).items()}
    part.answer(_asked("masked", 0, passed[0]), lambda: np.zeros(3), DICE)
    with pytest.raises(RoundRefused, match="3 devices are left, this profile wants 4"):
        part.answer(_asked("reveal", 0, pack(Arrived(members=(1, 2)))), _nothing, DICE)


@pytest.mark.parametrize("stage", ["shares", "masked", "reveal"])
def test_a_stage_of_a_sum_that_did_not_begin_here_is_refused(stage: str) -> None:
    part = Part(coins(1), 3)
    with pytest.raises(RoundRefused, match="did not begin here"):
        part.answer(_asked(stage), _nothing, DICE)
    part.answer(_asked("keys"), _nothing, DICE)
    with pytest.raises(RoundRefused, match="did not begin here"):
        part.answer(_asked(stage, context="run:2"), _nothing, DICE)


def test_a_sum_begins_once() -> None:
    part = Part(coins(1), 3)
    part.answer(_asked("keys"), _nothing, DICE)
    with pytest.raises(RoundRefused, match="twice"):
        part.answer(_asked("keys"), _nothing, DICE)


@given(st.sampled_from(["shares", "masked", "reveal"]), st.binary(max_size=120))
def test_a_body_that_is_no_message_of_the_stage_is_refused_by_name(stage: str, body: bytes) -> None:
    part = Part(coins(1), 3)
    part.answer(_asked("keys"), _nothing, DICE)
    with pytest.raises(RoundRefused):
        part.answer(_asked(stage, body=body), lambda: np.zeros(3), DICE)


@given(st.lists(st.floats(-100.0, 100.0), min_size=3, max_size=3), st.floats(0.1, 50.0))
def test_a_change_is_clipped_to_the_norm_and_keeps_its_direction(values: list[float], clip_norm: float) -> None:
    before = {"a": np.zeros(1, np.float32), "b": np.zeros((2, 1), np.float32)}
    after = {"a": np.array(values[:1], np.float32), "b": np.array(values[1:], np.float32).reshape(2, 1)}
    change, left = vector_of(_plan(clip_norm), before, after, {}, clip_norm)
    assert left == {}
    whole = np.array(values, np.float32).astype(np.float64)
    assert np.linalg.norm(change) <= clip_norm * (1 + 1e-9)
    assert change * np.linalg.norm(whole) == pytest.approx(whole * np.linalg.norm(change), abs=1e-3)


def test_random_k_sends_the_drawn_numbers_and_keeps_the_others_for_later() -> None:
    dice = np.random.default_rng(2)
    before = {"a": np.zeros((4, 5), np.float32), "b": np.zeros(20, np.float32)}
    after = {name: dice.normal(size=value.shape).astype(np.float32) for name, value in before.items()}
    whole = np.concatenate([after["a"].reshape(-1), after["b"]]).astype(np.float64)
    sent: list[set[int]] = []
    left: dict[str, NDArray[np.float32]] = {}
    total = np.zeros(40)
    for number in range(1, 4):
        plan = _plan(1e9, random_k=0.25, round=number)
        # Nothing is learned any more after the first round: what comes is what was kept.
        now = after if number == 1 else before
        vector, left = vector_of(plan, before, now, left, 1e9)
        at = drawn(40, 10, plan.seed, number)
        total[at] += vector
        sent.append(set(at.tolist()))
    seen = sorted(set().union(*sent))
    assert len(sent[0]) == 10
    assert sent[0] != sent[1]
    assert total[seen] == pytest.approx(whole[seen], rel=1e-6)
    rest = np.concatenate([left["a"].reshape(-1), left["b"]])
    assert total + rest == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize(("norm", "own", "within"), [(0.5, 9.0, 1), (2.0, 9.0, -1), (2.0, 0.7, 1), (1.0, 9.0, 1)])
def test_the_count_says_whether_the_update_was_within_the_norm(norm: float, own: float, within: int) -> None:
    """Where the device clips to less, it was."""
    before = {"a": np.zeros(1, np.float32), "b": np.zeros(1, np.float32)}
    after = {"a": np.array([norm], np.float32), "b": np.zeros(1, np.float32)}
    vector, _ = vector_of(_plan(1.0, count_weight=0.3), before, after, {}, min(1.0, own))
    assert vector[-1] == pytest.approx(within * 0.3)
    assert len(vector) == 3
