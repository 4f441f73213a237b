"""What a device tells of a policy: its own rewards, of people who all agree, within its profile; or why not."""

import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.decide.bandit.learner import learner_of
from edge_agent.effects import Put
from edge_agent.errors import RoundRefused
from edge_agent.shell.bandit_sums import Summing, read_summing, sums_of, sums_told
from edge_agent.shell.pipe import Learns, LearnTask
from edge_agent.shell.store import Store
from edge_agent.shell.writes import Writes
from firmware_configs.messages import Consent
from firmware_configs.profile import EpsilonGreedy, LinUcb, Policy, SquareCb, Thompson
from firmware_configs.stated import Stated, pack
from models.bandit_sums import form_of, warm_start_of
from models.bundle import open_bundle
from tests.models.sample import zoo_path

CONTEXT, AFFINITY = zoo_path("context"), zoo_path("affinity")
ASKED: dict[str, Any] = {
    "statistic": "bandit",
    "bundle": "context",
    "version": "1.0.0",
    "placement": "lamp",
    "kind": "regressions",
    "minimum": 3,
    "clip_norm": 0.0,
    "mean": [21.0, 27.0, 200.0, 700.0],
    "deviation": [1.0, 1.0, 200.0, 200.0],
    "privacy": "",
}


def task(folder: Path, policy: Policy, bundle: str = "context", **other: object) -> LearnTask:
    path = {"context": CONTEXT, "affinity": AFFINITY}[bundle]
    given_: dict[str, Any] = {
        "device": "d",
        "run": "1",
        "bundle": bundle,
        "version": open_bundle(path).spec.version,
        "path": str(path),
        "database": str(folder / "edgeward.db"),
        "superlink": "",
        "ca": "",
        "node_key": "",
        "app_hash": "",
        "closes_ms": 0,
        "subjects": ("household",),
        "examples_max": 10,
        "clip_norm": float("inf"),
        "noise_multiplier": 0.0,
        "statistic": True,
        "placements": (Learns(name="lamp", models=(bundle,), policy=policy),),
        "k_min": 3,
        "seed": b"",
    }
    return LearnTask(**{**given_, **other})


def live(folder: Path, policy: Policy, items: tuple[str, ...], rewards: int, seed: int = 0) -> None:
    """A placement `lamp` whose policy was rewarded, in the agent's database."""
    stored: dict[str, bytes] = {}
    dice = np.random.default_rng(seed)
    width = 4 if isinstance(policy, LinUcb | SquareCb) else 0
    # The signature is that of the columns of `context`, as the agent makes it.
    from edge_agent.exploring import Columns

    signature = Columns([open_bundle(CONTEXT).spec]).signature if width else 0
    for n in range(rewards):
        learner = learner_of(policy, width, stored.get, None, signature)
        light = float(dice.choice([5.0, 450.0]))
        context = np.array([dice.normal(21, 1), 27.0, light, 500.0 + light], np.float32) if width else None
        for key in learner.learn(items[n % len(items)], float(light > 100), context, 0.5, n):
            stored[key] = learner.pack(key)
    write(folder, [Put(room="bandit", key=f"lamp{key}", value=value) for key, value in stored.items()])


def write(folder: Path, effects: list[Put]) -> None:
    writes = Writes()
    writes.add(effects)
    store = Store(folder / "edgeward.db", 64)
    assert store.commit(writes, durable=False)
    store.close()


def asked(**other: object) -> dict[str, Any]:
    return {**ASKED, **other}


def told(folder: Path, own: LearnTask, **other: object) -> np.ndarray:
    return sums_of(own, read_summing(own, asked(**other)))


def test_sums_leave_on_the_scale_that_is_asked_for(tmp_path: Path) -> None:
    live(tmp_path, LinUcb(), ("on", "off"), 300)
    form = form_of("regressions", open_bundle(CONTEXT).spec, 0)
    made = warm_start_of(form, told(tmp_path, task(tmp_path, LinUcb())))
    assert made["weight"].tolist() == [300.0]
    # The last row and column belong to the constant: sums of the standardised features themselves.
    assert made["moments"][0][-1, -1] == pytest.approx(300.0)
    light = made["moments"][0][2, -1] / 300.0 * 2.0  # √4, which rows are divided by
    assert light == pytest.approx((227.5 - 200.0) / 200.0, abs=0.1)
    assert made["targets"][0][2] > 0.0, "light earns"


def test_rewards_by_item_leave_of_a_policy_that_counts_and_of_one_that_goes_by_scores(tmp_path: Path) -> None:
    catalogue = open_bundle(AFFINITY).catalogue()
    form = form_of("rewards", open_bundle(AFFINITY).spec, len(catalogue))
    version = open_bundle(AFFINITY).spec.version
    for n, policy in enumerate((Thompson(), EpsilonGreedy(epsilon=0.1))):
        folder = tmp_path / str(n)
        folder.mkdir()
        live(folder, policy, (catalogue[3], "gone"), 10)
        own = task(folder, policy, "affinity")
        plan = asked(bundle="affinity", version=version, kind="rewards", mean=[], deviation=[])
        made = warm_start_of(form, sums_of(own, read_summing(own, plan)))
        assert made["won"][3] + made["missing"][3] == 5.0
        assert made["won"].sum() + made["missing"].sum() == 5.0, "an item that the catalogue lacks is left out"


def test_one_person_who_has_not_agreed_keeps_the_sums_of_everybody_here(tmp_path: Path) -> None:
    live(tmp_path, LinUcb(), ("on",), 3)
    word = msgspec.msgpack.encode(Consent(purposes={"tell-scores": False}, time_ms=1))
    write(tmp_path, [Put(room="consent", key="guest", value=word)])
    with pytest.raises(RoundRefused, match="1 of 1 people here have not agreed"):
        told(tmp_path, task(tmp_path, LinUcb()))
    assert told(tmp_path, task(tmp_path, LinUcb(), subjects=("household", "guest"))).any()
    with sqlite3.connect(tmp_path / "edgeward.db") as file:
        file.execute("DELETE FROM state WHERE room = 'consent'")
    assert told(tmp_path, task(tmp_path, LinUcb())).any()


def stated(epsilon: float) -> str:
    return pack(
        Stated(
            epsilon=epsilon,
            delta=1e-5,
            unit="one device",
            sampling="everyone",
            accountant="PLD",
            population="homes",
            noise_by="coordinator",
        )
    )


@pytest.mark.parametrize(
    ("own", "other", "said"),
    [
        ({}, {"placement": "stove"}, "no placement `stove`"),
        ({}, {"kind": "rewards"}, "learns regressions here"),
        ({}, {"minimum": 2}, "wants 3 added up"),
        ({}, {"version": "2.0.0"}, "asked for bandit"),
        ({}, {"statistic": "scores"}, "asked for scores"),
        ({}, {"mean": [1.0]}, "scale asked for is none"),
        ({}, {"deviation": [1.0, 1.0, 1.0, -1.0]}, "scale asked for is none"),
        ({}, {"mean": [], "deviation": []}, "a scale of 0 columns"),
        ({}, {"run_this": "rm"}, "not acceptable"),
        ({}, {"privacy": "{"}, "not acceptable"),
        ({"statistic": False}, {}, "another kind of round"),
        ({"noise_multiplier": 1.0}, {}, "the sum's noise is none of the devices, this profile wants 1"),
        ({"epsilon_max": 2.0}, {}, "states no privacy"),
        ({"epsilon_max": 2.0}, {"privacy": stated(3.0)}, "lets 2 be spent"),
        ({"population": "flats"}, {"privacy": stated(1.0)}, "its profile says `flats`"),
    ],
)
def test_what_the_device_does_not_accept_is_refused_with_the_reason(
    tmp_path: Path, own: dict[str, object], other: dict[str, object], said: str
) -> None:
    live(tmp_path, LinUcb(), ("on",), 2)
    with pytest.raises(RoundRefused, match=said):
        told(tmp_path, task(tmp_path, LinUcb(), **own), **other)


def test_a_statement_that_the_profile_accepts_lets_clipped_sums_out(tmp_path: Path) -> None:
    live(tmp_path, LinUcb(), ("on",), 40)
    own = task(tmp_path, LinUcb(), epsilon_max=2.0, clip_norm=5.0)
    summing = read_summing(own, asked(privacy=stated(1.5), clip_norm=7.0))
    assert np.linalg.norm(sums_of(own, summing)) == pytest.approx(5.0)
    assert "clip 5; the coordinator states ε = 1.5" in sums_told(own, summing)


@given(st.dictionaries(st.sampled_from([*ASKED, "x"]), st.none() | st.integers() | st.text() | st.lists(st.floats())))
def test_whatever_is_asked_is_taken_or_refused(tmp_path_factory: pytest.TempPathFactory, other: dict[str, Any]) -> None:
    own = task(Path("/nowhere"), LinUcb())
    try:
        assert isinstance(read_summing(own, {**ASKED, **other}), Summing)
    except RoundRefused as error:
        assert error.hint
