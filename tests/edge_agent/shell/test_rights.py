"""People's rights as docs/privacy.md tells them: every command of that section, on a real agent."""

import json
from pathlib import Path

import jsonschema

from tests.edge_agent.erasure_home import ANNA, BERT, agent, home, lived_in
from tests.edge_agent.house import ROOT


def test_every_command_of_the_page_does_what_the_page_says(tmp_path: Path) -> None:
    with home(tmp_path / "home") as one, agent(one):
        lived_in(one, 4)
        settings, state = ("--settings", str(one.settings)), ("--state-dir", str(one.state))
        assert one.asked("subject", "ls", *state) == [ANNA, BERT]
        told = one.cli("subject", "show", ANNA, *state).stdout
        for words in (
            "yes to improve-models",
            "Decisions: 4 of next-pick",
            "affinity",
            "the ledger names nobody",
        ):
            assert words in told
        out = tmp_path / "anna.json"
        assert one.asked("subject", "export", ANNA, "--out", str(out), *state)["decisions"] == 4
        exported = json.loads(out.read_text())
        jsonschema.validate(exported, json.loads((ROOT / "docs" / "subject.schema.json").read_text()))
        assert exported["personal_parameters"] == {}
        assert [made["fields"]["item"] for made in exported["decisions"]] == list(one.catalogue[1:5])
        refused = one.cli("subject", "rectify", ANNA, "item=x", *settings)
        assert refused.returncode != 0
        assert "counted from events" in refused.stderr
        said = one.asked("consent", "ls", ANNA, *settings)[0]["purposes"]
        assert said["personalise"] == "yes"
        file = tmp_path / "withdrawn.json"
        done = one.asked("consent", "withdraw", ANNA, "personalise", "--out", str(file), *settings)
        assert done["state"] == "withdrawn"
        assert done["ms"] > 0, "a running agent has it on the medium"
        record = json.loads(file.read_text())
        assert record["header"]["schema_version"] == "ISO/IEC TS 27560:2023"
        assert record["event"]["event_state"] == "withdrawn"
        assert one.asked("consent", "ls", ANNA, *settings)[0]["purposes"]["personalise"] == "no"
        assert one.asked("consent", "ls", ANNA, *settings)[0]["purposes"]["recognise"] == "yes", "one purpose at a time"
        assert one.asked("consent", "grant", ANNA, "personalise", *settings)["state"] == "given"
        assert one.asked("consent", "object", ANNA, "operate", *settings)["state"] == "objected"
        assert "operate" not in one.cli("consent", "withdraw", ANNA, "operate", *settings).stdout
        assert one.asked("consent", "ls", ANNA, *settings)[0]["purposes"]["operate"] == "objected"
