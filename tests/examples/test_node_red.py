"""The flow for Node-RED is whole, needs no nodes of others, and speaks on the topics of a device."""

import json
import platform
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo.pages.house import free_port
from firmware_configs.messages import ROOT
from tests.benchmarks.load import process
from tests.browser import corner_shop as shop
from tests.conformance.brokers import MOSQUITTO

FLOW: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "examples" / "node-red" / "flow.json").read_text())
OWN = {"tab", "mqtt-broker", "mqtt in", "mqtt out", "inject", "function", "debug"}
"""Types that come with Node-RED itself."""
IDS = {node["id"] for node in FLOW}


def test_every_node_is_of_node_red_itself() -> None:
    assert {node["type"] for node in FLOW} <= OWN


def test_every_wire_ends_at_a_node_and_every_line_at_the_broker() -> None:
    wires = [end for node in FLOW for output in node.get("wires", []) for end in output]
    assert set(wires) <= IDS
    assert len(IDS) == len(FLOW)
    assert all(node["broker"] in IDS for node in FLOW if node["type"] in {"mqtt in", "mqtt out"})
    assert all(len(node["wires"]) == node["outputs"] for node in FLOW if node["type"] == "function")


def test_it_speaks_mqtt_5_at_qos_1_and_keeps_no_password() -> None:
    (line,) = [node for node in FLOW if node["type"] == "mqtt-broker"]
    assert line["protocolVersion"] == "5"
    assert "credentials" not in line
    assert [node["qos"] for node in FLOW if node["type"] == "mqtt out"] == ["1"]


@pytest.mark.parametrize(
    "door", ["capture/page", "request/shelf", "reply/node-red", "consent/", "feedback", "rejected"]
)
def test_it_uses_every_door_of_a_device(door: str) -> None:
    assert door in json.dumps(FLOW)


def test_every_topic_is_a_devices() -> None:
    listened = [node["topic"] for node in FLOW if node["type"] == "mqtt in"]
    said = re.findall(r'"(edgeward/\d)/', "\n".join(node.get("func", "") for node in FLOW))
    assert {topic[: len(ROOT)] for topic in listened} | set(said) == {ROOT}


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("npm") is None or not Path(MOSQUITTO).exists(), reason="npm or mosquitto is not installed"
)
def test_the_flow_moves_what_is_shown_in_a_real_node_red(tmp_path: Path) -> None:
    node = f"node-linux-{'arm64' if platform.machine() == 'aarch64' else 'x64'}"
    install = ("npm", "install", "--no-audit", "--no-fund", "--prefix", str(tmp_path), f"{node}@22", "node-red@5")
    subprocess.run(install, check=True, capture_output=True)
    home, port = tmp_path / "home", free_port()
    home.mkdir()
    with shop.house(tmp_path / "shop") as house:
        flow = [{**one, "port": str(house.broker)} if one["type"] == "mqtt-broker" else one for one in FLOW]
        (home / "flows.json").write_text(json.dumps(flow))
        (home / "settings.js").write_text(
            f"module.exports = {{ uiPort: {port}, uiHost: '127.0.0.1', flowFile: 'flows.json', telemetry: {{}} }};"
        )
        listener = shop.Listener(house.broker)
        listener.listen("edgeward/1/shop-1/reply/+")
        modules, log = tmp_path / "node_modules", tmp_path / "node-red.log"
        command = (str(modules / ".bin" / "node"), str(modules / "node-red" / "red.js"), "-u", str(home))
        with process(*command, log=log):
            shop.until(lambda: "Connected to broker" in log.read_text(), "Node-RED", 60.0)
            for button, came in _BUTTONS.items():
                urllib.request.urlopen(
                    urllib.request.Request(f"http://127.0.0.1:{port}/inject/{button}", method="POST")
                )
                shop.until(lambda came=came: came(listener), button)  # type: ignore[misc]
            assert listener.of("reply")[0]["items"][0] in {"honey", "green-tea"}
            shop.until(lambda: shop.counted(house, "feedback.joined") == 1, "the feedback")
        listener.close()


_BUTTONS: dict[str, Callable[[shop.Listener], object]] = {
    "yes": lambda heard: heard.of("consent/ann"),
    "touch": lambda heard: heard.of("capture", "ann"),
    "ask": lambda heard: heard.of("reply"),
    "liked": lambda heard: heard.of("feedback"),
}
"""Button → what is heard once it was pressed."""
