"""Publishers of another make: mosquitto's own command line client, at each QoS, in each version."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conformance.brokers import Place
from tests.conformance.device import SOURCES, device, drive, profile, url, write
from tests.conformance.table import runs

PUBLISH = shutil.which("mosquitto_pub")
NAMES_OF_VERSIONS = {"5": "mqttv5", "3.1.1": "mqttv311"}


@pytest.mark.skipif(PUBLISH is None, reason="needs Debian's mosquitto-clients (make setup-dev)")
@runs("publishers")
def test_what_mosquitto_pub_sends_is_decided_once(place: Place, version: str, name: str, folder: Path) -> None:
    file = write(folder, url(place, "plain", version), name, profile(), protocol=version)
    with device(file) as one:
        sent = [
            subprocess.Popen(
                [
                    *(str(PUBLISH), "-h", "127.0.0.1", "-p", str(place.port("plain", version))),
                    *("-V", NAMES_OF_VERSIONS[version], "-q", str(qos)),
                    *("-t", f"conf/{name}/{to}", "-m", f'{{"id": "{qos}", "value": 1}}'),
                ]
            )
            for qos in (0, 1, 2)
            for to in SOURCES
        ]
        assert drive(one, until=lambda: one.count("decisions") >= 9), one.loop.agent.counters
        assert [running.wait(10) for running in sent] == [0] * 9
        assert one.count("decisions") == 9
