"""What a device tells of its drift detectors: tenths of its own references, as its profile says, of all or none."""

import os

import msgspec
import numpy as np
import pytest

from edge_agent.drift import Row
from edge_agent.effects import Put
from edge_agent.errors import RoundRefused
from edge_agent.limits import DRIFT
from edge_agent.shell.drifted import vector_of
from edge_agent.shell.pipe import LearnTask
from edge_agent.shell.store import Store
from edge_agent.shell.writes import Writes
from edge_agent.shift_tests import KolmogorovSmirnov, Psi
from firmware_configs.fleet_drift import TENTHS, DriftShape
from firmware_configs.messages import RoundOffer
from firmware_configs.profile import DriftDetector
from models.fleet_drift import moved
from models.secure_sum.collector import Collector
from models.secure_sum.graph import plan as graph
from models.secure_sum.member import Member
from models.secure_sum.noise import Noise, decode, encode, spare_bits
from models.secure_sum.ring import Ring
from tests.coordinator.fleet import Device

LIGHT = DriftDetector(name="light", watch="input", source="room", field="light", reference=200, window=100, fleet=True)
SCORES = DriftDetector(
    name="scores", watch="prediction", placement="lamp", test="ks", reference=200, window=100, fleet=True
)
SHAPE = DriftShape(detectors=(LIGHT, SCORES))
OFFER = RoundOffer(
    run="1", bundle="context", version="1.0.0", superlink="localhost:1", app_hash="", closes_ms=0, kind="statistic"
)
ASKED = {
    "statistic": "drift",
    "bundle": "context",
    "version": "1.0.0",
    "shape": msgspec.json.encode(SHAPE).decode(),
    "clip_norm": 1e6,
}
NOISE = Noise(multiplier=2.0, least=3)


def _watch(device: Device, detector: DriftDetector, shift: float, versions: str = "", *, seed: int = 0) -> None:
    """Store a detector as the agent does, after a reference and a window that is so much higher."""
    dice = np.random.default_rng(seed)
    kind = Psi if detector.test == "psi" else KolmogorovSmirnov
    test = kind(1_000_000, detector.reference, detector.window)
    for value in [*dice.normal(0.0, 1.0, detector.reference), *dice.normal(shift, 1.0, detector.window)]:
        test.add(float(value))
    row = Row(msgspec.json.encode(detector).decode(), versions, test.pack())
    _put(device, "meta", DRIFT + detector.name, msgspec.msgpack.encode(row))


def _put(device: Device, room: str, key: str, value: bytes) -> None:
    writes = Writes()
    writes.add([Put(room=room, key=key, value=value)])  # type: ignore[arg-type]
    store = Store(device.database, 64)
    assert store.commit(writes, durable=False)
    store.close()


@pytest.fixture
def device(tmp_path_factory: pytest.TempPathFactory) -> Device:
    made = Device("drifts", tmp_path_factory.mktemp("drifts"))
    made.live_through(5, seed=1)
    _watch(made, LIGHT, 3.0)
    _watch(made, SCORES, 0.0, "context 1.0.0")
    return made


@pytest.fixture
def task(device: Device) -> LearnTask:
    return device.task(OFFER, "", statistic=True, drift=SHAPE, k_min=3, clip_norm=20.0, noise_multiplier=2.0)


def test_a_device_tells_where_its_newest_windows_lie_and_every_device_counts_alike(task: LearnTask) -> None:
    vector = vector_of(task, ASKED, NOISE)
    light, scores = vector[:TENTHS], vector[TENTHS:]
    assert light.sum() == pytest.approx(20.0 / 2**0.5)
    assert scores.sum() == pytest.approx(20.0 / 2**0.5)
    assert light[-1] > 0.9 * light.sum()
    assert scores.max() < 0.25 * scores.sum()
    assert np.linalg.norm(vector) <= 20.0


def test_the_norm_is_what_the_server_allows_where_that_is_less(task: LearnTask) -> None:
    assert vector_of(task, {**ASKED, "clip_norm": 5.0}, NOISE).sum() == pytest.approx(2 * 5.0 / 2**0.5)


@pytest.mark.parametrize("change", ["wording", "version", "damaged", "missing"])
def test_a_detector_of_another_wording_or_version_tells_nothing(device: Device, task: LearnTask, change: str) -> None:
    match change:
        case "wording":
            _watch(device, msgspec.structs.replace(LIGHT, window=50), 3.0)
        case "version":
            _watch(device, SCORES, 3.0, "context 0.9.0")
        case "damaged":
            _put(device, "meta", DRIFT + "light", b"\xc1")
        case _:
            new = msgspec.structs.replace(LIGHT, name="new")
            shape = DriftShape(detectors=(new, SCORES))
            task = msgspec.structs.replace(task, drift=shape)
            found = vector_of(task, {**ASKED, "shape": msgspec.json.encode(shape).decode()}, NOISE)
            assert not found[:TENTHS].any()
            return
    found = vector_of(task, ASKED, NOISE).reshape(2, TENTHS)
    assert not found[1 if change == "version" else 0].any()
    assert found.any()


@pytest.mark.parametrize(
    ("change", "noise", "why"),
    [
        ({"bundle": "affinity"}, NOISE, "drift of affinity"),
        ({"shape": msgspec.json.encode(DriftShape(detectors=(LIGHT,))).decode()}, NOISE, "not the ones"),
        ({"shape": "{"}, NOISE, "not acceptable"),
        ({"more": 1}, NOISE, "not acceptable"),
        ({"clip_norm": -1.0}, NOISE, "not acceptable"),
        ({}, None, "noise is none"),
        ({}, Noise(multiplier=1.9, least=3), "noise is 1.9, this profile wants 2"),
    ],
)
def test_a_device_refuses_what_its_profile_does_not_declare(
    task: LearnTask, change: dict[str, object], noise: Noise | None, why: str
) -> None:
    with pytest.raises(RoundRefused, match=why):
        vector_of(task, {**ASKED, **change}, noise)


@pytest.mark.parametrize("room", ["consent", "profile"])
def test_nothing_is_told_while_somebody_here_has_not_agreed(device: Device, task: LearnTask, room: str) -> None:
    _put(device, room, "a-guest", b"x")
    with pytest.raises(RoundRefused, match="1 of 2 people here have not agreed"):
        vector_of(task, ASKED, NOISE)
    vector_of(msgspec.structs.replace(task, subjects=("household", "a-guest")), ASKED, NOISE)


def test_the_masked_sum_of_devices_says_which_detector_moved(task: LearnTask) -> None:
    own = vector_of(task, ASKED, NOISE)
    noise, size, count = Noise(multiplier=0.2, least=12), SHAPE.size, 12
    ring = Ring(bound=20.0, bits=16, members_max=count)
    ring = msgspec.structs.replace(ring, spare=spare_bits(noise, ring, size))
    members = [Member(n, "r", os.urandom) for n in range(count)]
    server = Collector("r", graph(count, 0.25, 0.0, 1e-6), ring, size, 1)
    told = server.directories({n: one.keys() for n, one in enumerate(members)})
    passed = server.forwarded({n: one.shares(told[n]) for n, one in enumerate(members)})
    dice = np.random.default_rng(0)
    arrived = server.arrived(
        {n: one.masked(passed[n], encode(own, noise, ring, dice, os.urandom), ring) for n, one in enumerate(members)}
    )
    total, _ = server.total({n: one.revealed(arrived[n]) for n, one in enumerate(members)})
    light, scores = moved(decode(total, ring), SHAPE, 20.0, 0.2 * 20.0, np.random.default_rng(0))
    assert light.verdict == "moved"
    # Twelve times the same device: its one window scatters twelve times alike, which no interval knows of.
    assert scores.psi < light.low
