"""What a device counts of a model's groups: from its own examples and decisions, and only as its profile says."""

import hashlib
import os

import msgspec
import numpy as np
import pytest

from edge_agent.decide import decision
from edge_agent.decide.decision import Trail
from edge_agent.effects import Append
from edge_agent.errors import RoundRefused
from edge_agent.shell.grouped import vector_of
from edge_agent.shell.lessons import Lessons, load_lessons
from edge_agent.shell.pipe import LearnTask
from edge_agent.shell.store import Store
from edge_agent.shell.writes import Writes
from firmware_configs.messages import RoundOffer
from firmware_configs.profile import Segment
from firmware_configs.subgroups import Place, Shape
from models import subgroups
from models.secure_sum.collector import Collector
from models.secure_sum.graph import plan as graph
from models.secure_sum.member import Member
from models.secure_sum.noise import Noise, decode, encode, spare_bits
from models.secure_sum.ring import Ring
from tests.coordinator.fleet import Device

SHAPE = Shape(segments=("bright",), places=(Place(name="lamp", items=("on", "off")),))
BRIGHT = Segment(name="bright", when="features.features[2] > 100.0")
OFFER = RoundOffer(
    run="1", bundle="context", version="1.0.0", superlink="localhost:1", app_hash="", closes_ms=0, kind="statistic"
)
ASKED = {
    "statistic": "subgroups",
    "bundle": "context",
    "version": "1.0.0",
    "shape": msgspec.json.encode(SHAPE).decode(),
    "clip_norm": 1e6,
}
NOISE = Noise(multiplier=2.0, least=3)


def _decide(device: Device, count: int, subject: str, item: str, light: float) -> None:
    writes = Writes()
    for n in range(count):
        trail = Trail(
            id=hashlib.sha256(f"{subject}{item}{light}{n}".encode()).hexdigest()[:32],
            placement="lamp",
            event_id=str(n),
            subject=subject,
            trigger="room",
            fields={},
            features={"features": [21.0, 27.0, light, 500.0]},
            candidates=2,
            eligible=2,
            items=(item,),
            score=0.5,
            propensity=1.0,
            policy="best",
            channel="light",
            profile="p",
            event_time_ms=1,
            decided_ms=1,
        )
        value = decision.pack(trail)
        one = Append(shelf="decision", id=trail.id, group="lamp", value=value, made_ms=1, expires_ms=0, subject=subject)
        writes.add([one])
    store = Store(device.database, 64)
    assert store.commit(writes, durable=False)
    store.close()


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Device:
    made = Device("counts", tmp_path_factory.mktemp("counts"))
    made.live_through(100, seed=1)
    _decide(made, 30, "household", "on", 450.0)
    _decide(made, 10, "household", "off", 5.0)
    _decide(made, 50, "somebody-who-said-no", "off", 450.0)
    return made


@pytest.fixture(scope="module")
def task(device: Device) -> LearnTask:
    return device.task(
        OFFER, "", statistic=True, segments=(BRIGHT,), shape=SHAPE, k_min=3, clip_norm=1e6, noise_multiplier=2.0
    )


@pytest.fixture(scope="module")
def lessons(task: LearnTask) -> Lessons:
    return load_lessons(task)


def test_a_device_counts_its_examples_and_decisions_by_group(task: LearnTask, lessons: Lessons) -> None:
    vector = vector_of(task, lessons, ASKED, NOISE)
    groups = subgroups.groups_of(vector, SHAPE)
    assert groups["bright"].mass + groups["other"].mass == 100
    assert (groups["bright"].rate, groups["other"].rate) == (1.0, 0.0)
    shown = subgroups.exposures_of(vector, SHAPE)["lamp"]
    assert shown["bright"]["on"] == 1.0  # 30 decisions, and none of somebody who is not to be counted
    assert shown["other"]["off"] == 1.0


def test_sums_are_clipped_to_what_the_profile_allows_whatever_is_asked(task: LearnTask, lessons: Lessons) -> None:
    bounded = vector_of(msgspec.structs.replace(task, clip_norm=5.0), lessons, ASKED, NOISE)
    assert np.linalg.norm(bounded) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("change", "noise", "why"),
    [
        ({"bundle": "affinity"}, NOISE, "groups of affinity"),
        ({"shape": msgspec.json.encode(Shape(segments=("rich",))).decode()}, NOISE, "not the ones"),
        ({"shape": "{"}, NOISE, "not acceptable"),
        ({"more": 1}, NOISE, "not acceptable"),
        ({"clip_norm": -1.0}, NOISE, "not acceptable"),
        ({}, None, "noise is none"),
        ({}, Noise(multiplier=1.9, least=3), "noise is 1.9, this profile wants 2"),
    ],
)
def test_a_device_refuses_what_its_profile_does_not_declare(
    task: LearnTask, lessons: Lessons, change: dict[str, object], noise: Noise | None, why: str
) -> None:
    with pytest.raises(RoundRefused, match=why):
        vector_of(task, lessons, {**ASKED, **change}, noise)


def test_the_sum_of_five_devices_has_their_noise_and_no_more(task: LearnTask, lessons: Lessons) -> None:
    own = vector_of(msgspec.structs.replace(task, clip_norm=20.0), lessons, ASKED, NOISE)
    noise, size = Noise(multiplier=1.0, least=5), SHAPE.size
    ring = Ring(bound=20.0, bits=16, members_max=5)
    ring = msgspec.structs.replace(ring, spare=spare_bits(noise, ring, size))
    members = [Member(n, "r", os.urandom) for n in range(5)]
    server = Collector("r", graph(5, 0.25, 0.0, 1e-6), ring, size, 1)
    told = server.directories({n: one.keys() for n, one in enumerate(members)})
    passed = server.forwarded({n: one.shares(told[n]) for n, one in enumerate(members)})
    dice = np.random.default_rng(0)
    arrived = server.arrived(
        {n: one.masked(passed[n], encode(own, noise, ring, dice, os.urandom), ring) for n, one in enumerate(members)}
    )
    total, _ = server.total({n: one.revealed(arrived[n]) for n, one in enumerate(members)})
    off = decode(total, ring) - 5 * own
    assert 0.6 * 20.0 < off.std() < 1.4 * 20.0  # 72 numbers
