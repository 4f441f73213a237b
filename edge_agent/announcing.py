"""Home Assistant discovery: one retained message says what this device is, and which of its topics tell what.

Source: Home Assistant, MQTT integration, device discovery (since 2024.11).
"""

from typing import Any

from edge_agent import __version__
from firmware_configs.messages import Topics
from firmware_configs.profile import Profile

ONLINE = "{{ 'ON' if value_json.online else 'OFF' }}"
AVAILABLE = "{{ 'online' if value_json.online else 'offline' }}"
COUNTED = {"events": "Events", "decisions": "Decisions", "feedback.joined": "Outcomes"}
"""Counters of the status that become sensors, by their name there."""


def topic_of(prefix: str, device: str) -> str:
    """Where Home Assistant looks for it.

    Args:
        prefix: its discovery prefix, `homeassistant` unless somebody changed it.
    """
    return f"{prefix}/device/edgeward-{device.replace('.', '_')}/config"


def discovery(device: str, profile: Profile) -> dict[str, Any]:
    """The message: whether the device is online, what it counted, and what it told each actuator last.

    Actuators are told of, not offered: a switch in Home Assistant would go past the limits that the profile sets them.
    """
    name, status = f"edgeward-{device}", Topics(device).of("status")
    available = {"availability": [{"topic": status, "value_template": AVAILABLE}]}
    parts: dict[str, dict[str, Any]] = {
        "online": {
            "platform": "binary_sensor",
            "name": "Online",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": status,
            "value_template": ONLINE,
        }
    }
    for counter, words in COUNTED.items():
        parts[counter.replace(".", "-")] = {
            "platform": "sensor",
            "name": words,
            "state_class": "total_increasing",
            "entity_category": "diagnostic",
            "state_topic": status,
            "value_template": f"{{{{ value_json.counters['{counter}'] | default(0) }}}}",
            **available,
        }
    for actuator in profile.actuator:
        parts[f"actuator-{actuator.name}"] = {
            "platform": "sensor",
            "name": f"{actuator.name}: told last",
            "state_topic": actuator.topic.replace("{device}", device),
            **available,
        }
    return {
        "device": {
            "identifiers": [name],
            "name": name,
            "manufacturer": "edgeward",
            "model": profile.device.class_,
            "sw_version": __version__,
        },
        "origin": {"name": "edgeward", "sw_version": __version__},
        "components": {key: {**part, "unique_id": f"{name}-{key}"} for key, part in parts.items()},
        "qos": 1,
    }
