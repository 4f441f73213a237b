"""`events.jsonl` of a cohort, line by line into a real agent, as `mosquitto_pub -l` sends it: docs/cohorts.md."""

import json
from pathlib import Path

from paho.mqtt import publish
from paho.mqtt.enums import MQTTProtocolVersion

from models.bundle import open_bundle
from models.cohort.people import people_of
from models.cohort.sampling import write
from models.datasets import Rating
from tests.benchmarks.load import agent_command, broker, process, wait_for, write_agent
from tests.edge_agent.shell.test_run import ROOT, Ear, command

AFFINITY = next((ROOT / "models" / "zoo" / "bundles").glob("affinity-1*"))
PROFILE = (ROOT / "firmware_configs" / "profiles" / "home-gateway.toml").read_text(encoding="utf-8")
DEVICE, PEOPLE = "home-1", ("ann", "ben", "cem")
BEGAN = 1_700_000_000.0


def _events(folder: Path) -> list[str]:
    """Lines of a cohort of three who each pick five items in turn."""
    items = open_bundle(AFFINITY).catalogue()[:5]
    rows = [
        Rating(user=name, item=item, rating=4.0, time=BEGAN + 60.0 * (n + m))
        for n, name in enumerate(PEOPLE)
        for m, item in enumerate(items)
    ]
    return write(people_of(rows), folder)[1].read_text(encoding="utf-8").splitlines()


def test_a_cohorts_events_go_into_a_real_agent_which_decides_for_whoever_agrees(tmp_path: Path) -> None:
    text = PROFILE.replace('subject = "user"', 'subject = "subject"', 1)
    assert text != PROFILE
    with broker("iotcore", tmp_path / "broker") as port:
        settings = write_agent(tmp_path / "agent", port, text, AFFINITY, DEVICE)
        settings.write_text("record = true\n" + settings.read_text(encoding="utf-8"), encoding="utf-8")
        ear = Ear(port, "edgeward/1/+/decision/next-pick")
        log = tmp_path / "log"
        with process(*agent_command(settings), log=log):
            wait_for(lambda: " connected " in log.read_text(encoding="utf-8"), "the line")
            done = command("consent", "grant", PEOPLE[0], "personalise", "--settings", settings)
            assert done.returncode == 0, done.stderr
            lines = _events(tmp_path / "cohort")
            where = {"hostname": "127.0.0.1", "port": port, "protocol": MQTTProtocolVersion.MQTTv5}
            publish.multiple([(f"home/{DEVICE}/interaction", line, 1, False) for line in lines], **where)
            wait_for(lambda: ear.count("decision") == 5, "a decision for each event of the one who agrees")
        ear.close()
    replayed = command("replay", "--settings", settings, "--json")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert json.loads(replayed.stdout)["decisions"] == 5
