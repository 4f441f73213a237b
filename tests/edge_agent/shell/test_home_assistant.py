"""A real agent that is announced to Home Assistant: what stays at the broker, and what it says when it is gone."""

from pathlib import Path

import msgspec

from tests.benchmarks.load import broker
from tests.conformance.device import device, drive, profile, write
from tests.conformance.peer import peer


def test_the_announcement_stays_at_the_broker_and_the_last_will_is_read_as_the_status_is(tmp_path: Path) -> None:
    with broker("iotcore", tmp_path) as port, peer(port, "assistant", "5") as p:
        file = write(tmp_path, f"mqtt://127.0.0.1:{port}", "home-1", profile())
        file.write_text(f'home_assistant = "homeassistant"\n{file.read_text()}')
        p.listen("edgeward/1/home-1/status")
        with device(file) as one:
            assert drive(one, until=lambda: p.heard), one.said
        assert drive(until=lambda: len(p.heard) >= 2), one.said
        said = [msgspec.json.decode(message.payload)["online"] for message in p.heard]
        assert said == [True, False]
        with peer(port, "later", "5") as later:
            later.listen("homeassistant/device/+/config")
            assert drive(until=lambda: later.heard), "it is retained"
            assert later.heard[0].topic == "homeassistant/device/edgeward-home-1/config"
