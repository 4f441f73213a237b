"""Home Assistant is told what this device is, past the ledger, and can read what it is pointed to."""

import re

import msgspec
import pytest
from jinja2 import Environment

from edge_agent.agent import Agent, step
from edge_agent.announcing import discovery, topic_of
from edge_agent.doors import Doors
from edge_agent.effects import Put, Send
from edge_agent.happenings import Connected
from firmware_configs.loader import parse
from tests.edge_agent.house import DEVICE, HOME, NOW

WITHOUT_STATUS = re.sub(r'\[\[egress\]\]\nkind = "status".*?\n\n', "", HOME, flags=re.DOTALL)
TOPIC = re.compile(r"homeassistant/device/[a-zA-Z0-9_-]+/config")
"""What Home Assistant's discovery takes for a device."""


def _connected(prefix: str, text: str = HOME) -> tuple[list[Send], list[Put]]:
    """What leaves when the broker is there, and what the ledger has of it."""
    doors = Doors(
        secret=b"s" * 32,
        recall=lambda _room, _key: None,
        models={},
        over_budget=lambda _id, _ms: False,
        local_hour=lambda _ms: (12, 1),
        home_assistant=prefix,
    )
    effects = step(Agent(parse(text), DEVICE, doors), [Connected(session_present=False)], NOW)
    rows = [effect for effect in effects if isinstance(effect, Put) and effect.room == "ledger"]
    return [effect for effect in effects if isinstance(effect, Send)], rows


def test_a_device_is_announced_retained_and_entered_in_the_ledger() -> None:
    sent, rows = _connected("homeassistant")
    (told,) = [one for one in sent if TOPIC.fullmatch(one.topic)]
    assert (told.topic, told.retain, told.content_type) == (
        "homeassistant/device/edgeward-home-1/config",
        True,
        "application/json",
    )
    assert told.entered.kind == "status"
    assert len(rows) == len(sent) + 1, "and the last will, which the broker holds"


def test_nothing_is_announced_that_nobody_asked_for() -> None:
    sent, _ = _connected("")
    assert [one.topic for one in sent] == ["edgeward/1/home-1/status", "edgeward/1/home-1/reported"]
    assert sent[0].content_type == "application/msgpack"


def test_nothing_is_announced_where_the_profile_lets_no_status_out() -> None:
    assert 'kind = "status"' not in WITHOUT_STATUS
    assert _connected("homeassistant", WITHOUT_STATUS)[0] == []


def test_its_templates_read_what_the_status_says() -> None:
    sent, _ = _connected("homeassistant")
    status = next(one.payload for one in sent if one.topic.endswith("/status"))
    parts = discovery(DEVICE, parse(HOME).profile)["components"]
    words = {"value_json": msgspec.json.decode(status), "value": status.decode()}
    read = {
        name: Environment(autoescape=True).from_string(part["value_template"]).render(words)
        for name, part in parts.items()
        if part["state_topic"].endswith("/status")
    }
    assert read == {"online": "ON", "events": "0", "decisions": "0", "feedback-joined": "0"}
    available = Environment(autoescape=True).from_string(parts["events"]["availability"][0]["value_template"])
    assert available.render({"value_json": {"online": False}}) == "offline", "what the last will says"


def test_every_part_has_a_platform_and_a_name_of_its_own() -> None:
    found = discovery(DEVICE, parse(HOME).profile)
    parts = found["components"].values()
    assert {part["platform"] for part in parts} <= {"sensor", "binary_sensor"}, "nothing that could be switched"
    assert len({part["unique_id"] for part in parts}) == len(parts)
    assert found["device"]["identifiers"]
    assert found["origin"]["name"] == "edgeward"


def test_an_actuator_is_told_of_by_the_topic_of_its_commands() -> None:
    part = discovery(DEVICE, parse(HOME).profile)["components"]["actuator-lights"]
    assert part["state_topic"] == "home/home-1/lights/set"
    assert "command_topic" not in part


@pytest.mark.parametrize("device", ["home-1", "gw.7", "A_b-c"])
def test_any_device_has_a_topic_that_home_assistant_takes(device: str) -> None:
    assert TOPIC.fullmatch(topic_of("homeassistant", device))
