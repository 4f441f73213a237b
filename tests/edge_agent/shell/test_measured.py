"""What a device tells of its metrics where they leave in a secret sum alone: the rows of its profile, bounded."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from coordinator import business
from coordinator.business import Plan, planned
from edge_agent.effects import Answer, Put, Send, Train
from edge_agent.errors import RoundRefused
from edge_agent.happenings import EgressAsked
from edge_agent.settings import Settings
from edge_agent.shell.learn_task import learn_task
from edge_agent.shell.learner import _sums_as_asked
from edge_agent.shell.lessons import Lessons
from edge_agent.shell.measured import vector_of
from edge_agent.shell.pipe import LearnTask
from edge_agent.shell.store import Store
from edge_agent.shell.writes import Writes
from firmware_configs import gaussian
from firmware_configs.business import BusinessShape, business_shape_of, secret_metrics_of
from firmware_configs.errors import ProfileError
from firmware_configs.loader import parse
from firmware_configs.messages import MSGPACK, Desired, RoundOffer, Topics
from models.secure_sum.noise import Noise
from tests.edge_agent.house import DEVICE
from tests.edge_agent.shop import HOUR_MS, SHOP, Shop, metric, outcome

BOUGHT = metric("bought", '{ kind = "rate", outcomes = ["purchase"], window_s = 3600.0 }', placements='"front"')
SPENT = metric("spent", '{ kind = "value", outcomes = ["purchase"], window_s = 3600.0 }', 200.0, placements='"front"')
MODEL = """
[[model]]
name = "context"
versions = ">=1.0,<2"
purposes = ["recommend"]
"""
OPEN = 'kind = "metric"\npurposes = ["recommend"]\nbytes_day_max = 1_000_000\nk_min = 3\n'
SECRET = OPEN.replace("\n", '\ndestination = "superlink"\n', 1) + (
    "privacy = { clip_norm = 60.0, noise_multiplier = 0.8, epsilon_max = 20.0, secret_sum = true }\n"
)
PARTS = (outcome(), BOUGHT, SPENT, MODEL)
NOISE = Noise(multiplier=0.8, least=3)


@pytest.fixture
def shop() -> Shop:
    """Eight people were shown something, three bought; metrics leave in a secret sum alone."""
    shop = Shop(*PARTS, shop=SHOP.replace(OPEN, SECRET), models=("context",))
    for person in range(8):
        shop.agree(f"p{person}").event("kiosk", f"p{person}")
        if person < 3:
            shop.now += 1_000
            shop.buys(f"p{person}")
    shop.pass_time(30 * HOUR_MS)
    return shop


def plan_of(shop: Shop) -> Plan:
    egress = secret_metrics_of(shop.loaded.profile)
    assert egress is not None
    return planned(shop.loaded.profile, egress, cells=False)


def offered(shop: Shop, version: str = "1.0.0") -> list[Train]:
    """What the agent wants to be done for an offer of such a sum."""
    offer = RoundOffer(
        run="7",
        bundle="context",
        version=version,
        superlink="h:1",
        app_hash="00",
        closes_ms=0,
        kind="statistic",
        counts="metrics",
    )
    wish = msgspec.msgpack.encode(Desired(revision=1, offer=offer))
    shop.tell(shop.message(Topics(DEVICE).of("desired"), wish, content_type=MSGPACK))
    return [effect for effect in shop.effects if isinstance(effect, Train)]


@pytest.fixture
def task(shop: Shop, tmp_path: Path) -> LearnTask:
    writes = Writes()
    writes.add([Put(room=room, key=key, value=value) for (room, key), (value, _) in shop.rows.items()])  # type: ignore[arg-type]
    store = Store(tmp_path / "edgeward.db", 64)
    assert store.commit(writes, durable=False)
    store.close()
    (train,) = offered(shop)
    settings = Settings(device=DEVICE, state_dir=str(tmp_path))
    return learn_task(settings, shop.loaded.profile, train, path="", database=tmp_path / "edgeward.db", seed=b"")


def asked(shape: BusinessShape, **change: object) -> dict[str, object]:
    words = {"statistic": "metrics", "bundle": "context", "version": "1.0.0", "clip_norm": 60.0}
    return {**words, "shape": msgspec.json.encode(shape).decode(), **change}


def test_nothing_of_its_metrics_goes_to_the_broker(shop: Shop) -> None:
    assert [one.topic for one in shop.effects if isinstance(one, Send) and one.topic.endswith("/metric")] == []


def test_a_device_without_examples_and_with_another_version_is_asked_all_the_same(shop: Shop) -> None:
    assert "examples.context" not in shop.agent.counters
    (train,) = offered(shop, version="1.0.9")
    assert (train.counts, train.subjects) == ("metrics", tuple(f"p{n}" for n in range(8)))


def test_a_device_whose_metrics_leave_otherwise_refuses_to_add_them_up_in_secret() -> None:
    shop = Shop(*PARTS, models=("context",)).agree("p0")
    assert offered(shop) == []
    assert "no metrics leave this device so" in str(shop.effects)


def test_the_sums_are_what_the_coordinator_would_have_made_of_the_devices_own_words(
    shop: Shop, task: LearnTask
) -> None:
    plan = plan_of(shop)
    vector = vector_of(task, asked(plan.shape), NOISE)
    assert task.egress == "metric"
    rows = vector.reshape(-1, 5)
    assert rows[:, 0].tolist() == [8.0, 8.0]
    assert rows[0, 1] == pytest.approx(3 - 8 / 2.0)
    assert np.linalg.norm(vector) <= plan.clip
    release = business.Release(
        number=1,
        plan=plan,
        sums=(4 * rows).tolist(),
        scale=60.0 / 2**0.5,
        noise=0.0,
        devices="4",
        privacy="",
        epsilon=None,
        refused={},
        time_ms=0,
    )
    bought, spent = business.read(release, 0.05)
    assert bought.value == pytest.approx(3 / 8)
    assert spent.value == pytest.approx(3 * 25.0 / 8)


def test_what_was_added_up_under_another_wording_is_not_told(shop: Shop, task: LearnTask) -> None:
    reworded = parse(shop.text.replace("upper = 200.0", "upper = 100.0")).profile
    shape = business_shape_of(reworded)
    rows = vector_of(msgspec.structs.replace(task, business=(shape,)), asked(shape), NOISE).reshape(-1, 5)
    assert rows[0].any()
    assert not rows[1].any()


@pytest.mark.parametrize(
    ("change", "noise", "why"),
    [
        ({"bundle": "affinity"}, NOISE, "not the ones"),
        ({"shape": msgspec.json.encode(BusinessShape(metrics=(), groups=())).decode()}, NOISE, "not the ones"),
        ({"shape": "{"}, NOISE, "not acceptable"),
        ({"more": 1}, NOISE, "not acceptable"),
        ({"clip_norm": 30.0}, NOISE, "a norm of 30 is asked for, the profile says 60"),
        ({}, None, "noise is none"),
        ({}, Noise(multiplier=0.7, least=3), "noise is 0.7, this profile wants 0.8"),
    ],
)
def test_a_device_refuses_what_its_profile_does_not_declare(
    shop: Shop, task: LearnTask, change: dict[str, object], noise: Noise | None, why: str
) -> None:
    with pytest.raises(RoundRefused, match=why):
        vector_of(task, {**asked(plan_of(shop).shape), **change}, noise)


@pytest.mark.parametrize("other", ["drift", "subgroups", "bandit"])
def test_who_offers_metrics_is_told_nothing_else_by_their_privacy(task: LearnTask, other: str) -> None:
    lessons = Lessons(None, lambda: None, {}, {})  # type: ignore[arg-type,return-value]
    with pytest.raises(RoundRefused, match=f"metrics were offered, and {other} are asked for"):
        _sums_as_asked(task, lessons, {"statistic": other}, NOISE)
    assert (task.shape, task.drift, task.placements) == (None, None, ())


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ('destination = "superlink"\n', "", "`metric` cannot go to `mqtt`"),
        (MODEL, "", "no model for which one would run"),
        ("epsilon_max = 20.0", "epsilon_max = 1.0", "none would ever leave"),
    ],
)
def test_a_profile_that_could_never_tell_its_metrics_is_refused(shop: Shop, before: str, after: str, why: str) -> None:
    with pytest.raises(ProfileError, match=why):
        parse(shop.text.replace(before, after))


def test_the_device_keeps_a_budget_of_its_metrics_and_lets_no_sum_out_beyond_it(shop: Shop) -> None:
    offered(shop)
    ask = EgressAsked(
        token="7-1",
        kind="metric",
        destination="superlink",
        bytes=100,
        sha256="00",
        privacy="sums",
        bundle="metrics",
        mu_squared=gaussian.sum_mu_squared(0.8),
        run="7",
    )
    said = [effect.granted for _ in range(12) for effect in shop.tell(ask) if isinstance(effect, Answer)]
    allowed = sum(said)
    assert 0 < allowed < 12
    assert said == [True] * allowed + [False] * (12 - allowed)
    shop.restart()
    assert [effect.granted for effect in shop.tell(ask) if isinstance(effect, Answer)] == [False]


def test_who_withdraws_while_the_sum_is_made_is_in_none(shop: Shop) -> None:
    offered(shop)
    shop.now += 1
    shop.consent("p0", "recommend", granted=False)
    ask = EgressAsked(
        token="7-1", kind="metric", destination="superlink", bytes=100, sha256="00", privacy="sums", run="7"
    )
    assert [effect.granted for effect in shop.tell(ask) if isinstance(effect, Answer)] == [False]
