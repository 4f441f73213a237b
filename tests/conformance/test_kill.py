"""Published at QoS 2, received by an agent that is killed in between: each event is decided once."""

import sqlite3
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from edge_agent.decide import decision
from firmware_configs.messages import Topics
from tests.benchmarks.load import agent_command, wait_for
from tests.conformance.brokers import Place
from tests.conformance.device import profile, url, write
from tests.conformance.peer import peer
from tests.conformance.table import runs

EVENTS = 400


def decided(database: Path) -> Counter[str]:
    """Event id → decisions, in the agent's own books."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5) as reader:
        rows = reader.execute("SELECT value FROM shelf WHERE shelf = 'decision'").fetchall()
    return Counter(decision.unpack(value).event_id for (value,) in rows)


@runs("kill", slow=("mosquitto-3.1.1", "iotcore-3.1.1"))
def test_an_event_published_at_qos_2_is_decided_once_whoever_is_killed(
    place: Place, version: str, name: str, folder: Path
) -> None:
    file = write(folder, url(place, "plain", version), name, profile(), protocol=version)
    log, database = folder / "agent.log", folder / "state" / "edgeward.db"

    def start() -> "subprocess.Popen[bytes]":
        seen = log.read_text().count("connected") if log.exists() else 0
        with log.open("ab") as out:
            running = subprocess.Popen(agent_command(file), stdout=out, stderr=out)
        wait_for(lambda: log.read_text().count("connected") > seen, f"the agent (see {log})")
        return running

    moments = {97, 214, 331}
    with ExitStack() as stack:
        p = stack.enter_context(peer(place.port("plain", version), f"p-{name}", version))
        p.listen(Topics(name).of("status"))
        running = start()
        # Its status is sent after its subscriptions, so the broker has these.
        wait_for(lambda: bool(p.heard), "the agent's status")
        for n in range(EVENTS):
            p.say(f"conf/{name}/two", {"id": f"{n}", "value": 1.0}, 2, wait=n % 20 == 19)
            if n in moments:
                running.kill()
                running.wait()
                running = start()
        stack.callback(running.wait)
        stack.callback(running.terminate)
        deadline = time.monotonic() + 30
        while sum(decided(database).values()) < EVENTS and time.monotonic() < deadline:
            p.say(f"conf/{name}/nobody", {}, 1)
    assert decided(database) == {f"two:{n}": 1 for n in range(EVENTS)}
