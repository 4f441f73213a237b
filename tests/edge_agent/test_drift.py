"""Drift detectors of a whole agent: what they watch, what they tell, and what makes them begin anew."""

import msgspec
import numpy as np
import pytest

from edge_agent.happenings import Tick
from edge_agent.limits import DRIFT
from edge_agent.traces import Traces
from firmware_configs.errors import ProfileError
from firmware_configs.loader import parse
from firmware_configs.messages import Alert
from tests.edge_agent.house import HOME, House

MINUTE = 60_000
LIGHT = """
[[drift]]
name = "light"
watch = "input"
source = "room-air"
field = "light"
test = "page-hinkley"
reference = 50
"""


def _profile(*detectors: str) -> str:
    return HOME.replace("[sensitive]", "\n".join(detectors) + "\n[sensitive]", 1)


def _alerts(house: House) -> list[Alert]:
    told = [msgspec.json.decode(sent.payload, type=Alert) for sent in house.sent if sent.topic.endswith("/alert")]
    return [alert for alert in told if alert.kind == "drift"]


def _readings(house: House, lights: list[float], start: int = 0) -> int:
    for n, light in enumerate(lights):
        house.now += 1_000
        house.tell(house.reading(start + n, light=light))
    house.now += MINUTE
    house.tell(Tick())
    return start + len(lights)


def _lights(seed: int, mean: float, count: int) -> list[float]:
    draw = np.random.default_rng(seed)
    return [float(draw.normal(mean, 20.0)) for _ in range(count)]


def test_an_input_that_moves_is_told_once_and_is_over_when_the_new_level_is_usual() -> None:
    house = House(_profile(LIGHT.replace("room-air", _air()))).everyone_agrees()
    at = _readings(house, _lights(1, 400.0, 80))
    assert _alerts(house) == []
    at = _readings(house, _lights(2, 700.0, 20), at)
    (told,) = _alerts(house)
    assert (told.kind, told.name, told.state, told.severity) == ("drift", "light", "firing", "ticket")
    assert told.value >= told.threshold
    assert "light" in told.what
    _readings(house, _lights(3, 700.0, 80), at)
    assert [alert.state for alert in _alerts(house)] == ["firing", "resolved"]


def _air() -> str:
    """The source that brings the room's air."""
    return next(s.name for s in parse(HOME).profile.source if any(f.name == "light" for f in s.field))


def test_a_detector_survives_a_restart() -> None:
    house = House(_profile(LIGHT.replace("room-air", _air()))).everyone_agrees()
    at = _readings(house, _lights(1, 400.0, 80))
    house.now += 20 * MINUTE
    house.tell(Tick())
    house.restart()
    _readings(house, _lights(2, 700.0, 20), at)
    assert [alert.state for alert in _alerts(house)] == ["firing"]


def test_a_changed_detector_begins_anew_and_a_broken_row_is_counted() -> None:
    house = House(_profile(LIGHT.replace("room-air", _air()))).everyone_agrees()
    _readings(house, _lights(1, 400.0, 80))
    house.rows["meta", DRIFT + "light"] = (b"\xc1", 0)
    house.restart()
    assert house.agent.counters["drift.unreadable"] == 1
    _readings(house, _lights(2, 700.0, 40), 200)
    assert _alerts(house) == []


def test_one_value_in_so_many_seconds_is_taken() -> None:
    thin = LIGHT.replace("room-air", _air()) + "every_s = 10.0\n"
    house = House(_profile(thin)).everyone_agrees()
    at = _readings(house, _lights(1, 400.0, 80))
    _readings(house, _lights(2, 700.0, 20), at)
    assert _alerts(house) == []


def test_scores_are_watched_and_another_version_begins_anew() -> None:
    scores = '[[drift]]\nname = "scores"\nwatch = "prediction"\nplacement = "presence"\ntest = "ks"\nreference = 50\n'
    house = House(_profile(scores + "window = 20\n")).everyone_agrees()
    _readings(house, _lights(1, 400.0, 60))
    assert house.agent.drift is not None
    watched = house.agent.drift._watched["scores"]
    assert "context" in watched.versions
    assert watched.test.pack() != b"\x94\x90\x90\x90\xc0", "it has learnt a reference"


def test_nothing_of_a_detector_is_left_after_an_erasure() -> None:
    assert Traces(["ann"]).after("meta", DRIFT + "light", b"anything") is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('source = "nowhere"\nfield = "light"', "no source"),
        ('source = "AIR"\nfield = "colour"', "no field"),
        ('source = "AIR"\nfield = "light"\nplacement = "presence"', "not a placement's"),
    ],
)
def test_a_detector_that_would_watch_nothing_is_refused_with_its_place(change: str, said: str) -> None:
    text = _profile('[[drift]]\nname = "d"\nwatch = "input"\n' + change.replace("AIR", _air()))
    with pytest.raises(ProfileError, match=r"drift\[0\]") as refused:
        parse(text)
    assert said in str(refused.value)
