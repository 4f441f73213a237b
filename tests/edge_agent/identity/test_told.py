"""What operators and support read: `edge-agent people`, and the identity link in `edge-agent explain`."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edge_agent.commands.group import main
from edge_agent.happenings import PeopleAsked
from edge_agent.limits import DAY_MS
from edge_agent.shell import database, wish
from edge_agent.shell.store import Store
from edge_agent.shell.writes import Writes
from tests.edge_agent.house import DEVICE, NOW
from tests.edge_agent.identity.kin_house import KinHouse, text

MINUTE_MS = 60_000
LOGIN = "phone and tablet belong to the same person, because of a login on 15 January 2027 (certain)"


class Desk:
    """An operator's: the files of an agent, and its command."""

    def __init__(self, folder: Path, home: KinHouse) -> None:
        self.state = folder / "state"
        self.state.mkdir()
        (folder / "profile.toml").write_text(text())
        self.settings = folder / "agent.toml"
        self.settings.write_text(
            f'device = "{DEVICE}"\nprofile = "{folder}/profile.toml"\nstate_dir = "{self.state}"\n'
        )
        writes = Writes(meta={"secret": b"s" * 32})
        writes.add(home.effects)
        store = Store(self.state / database.FILE, 64)
        store.commit(writes, durable=False)
        store.close()

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(main, [*words, "--settings", str(self.settings)], catch_exceptions=False)

    def told(self, *words: str) -> Any:
        done = self.run(*words, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.output)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    home = KinHouse().everybody()
    home.touch("kitchen-tablet", item="a")  # never agreed: nobody knows it
    for subject in ("phone", "tablet"):
        home.touch(subject, item="a", account="ann")
    for _ in range(12):
        home.now += 3 * 3_600_000
        home.touch("laptop", item="b", network="home")
        home.now += MINUTE_MS
        home.touch("watch", item="b", network="home")
    home.now += DAY_MS
    home.touch("phone", item="c")
    monkeypatch.setattr("edge_agent.commands.people._now_ms", lambda: home.now)
    monkeypatch.setattr("edge_agent.commands.people.WAIT_S", 0.0)
    return Desk(tmp_path, home)


def test_people_are_listed_with_why_and_how_sure(desk: Desk) -> None:
    found = {tuple(one["subjects"]): one for one in desk.told("people", "ls")}
    (login,) = found["phone", "tablet"]["links"]
    assert (login["kind"], login["confidence"]) == ("login", 1.0)
    assert (
        login["words"] == "phone and tablet belong to the same person, because of a login on 15 January 2027 (certain)"
    )
    (likely,) = found["laptop", "watch"]["links"]
    assert likely["kind"] == "likely"
    assert 0.9 <= likely["confidence"] < 1.0
    assert "% sure)" in likely["words"]
    words = desk.run("people", "ls").output
    assert login["words"] in words
    assert "unless renewed" in words


def test_a_subject_is_shown_with_the_evidence_for_and_against(desk: Desk) -> None:
    found = desk.told("people", "show", "laptop")
    assert found["subjects"] == ["laptop", "watch"]
    pair = found["pairs"][0]
    assert (pair["with"], pair["state"]) == ("watch", "likely")
    assert {one["name"] for one in pair["evidence"]} >= {"network", "next", "taste"}
    assert all(0.0 <= one["rate"] <= 1.0 and one["factor"] > 0.0 for one in pair["evidence"])
    assert "network: the same 100% of the times when both had one" in desk.run("people", "show", "laptop").output


def test_a_subject_that_is_not_known_is_named_with_those_that_are(desk: Desk) -> None:
    for words in (("show", "nobody"), ("link", "phone", "nobody"), ("split", "kitchen-tablet")):
        done = CliRunner().invoke(main, ["people", *words, "--settings", str(desk.settings)])
        assert done.exit_code != 0
    assert wish.read(desk.state) is None


def test_a_wish_is_left_for_the_agent_and_a_second_one_does_not_replace_it(desk: Desk) -> None:
    told = desk.told("people", "split", "tablet")
    assert told == {"subjects": ["tablet"], "same": False, "taken": False}
    assert wish.read(desk.state) == PeopleAsked(subjects=("tablet",), same=False)
    again = CliRunner().invoke(main, ["people", "link", "phone", "laptop", "--settings", str(desk.settings)])
    assert again.exit_code != 0
    assert wish.read(desk.state) == PeopleAsked(subjects=("tablet",), same=False)
    (taken,) = wish.Wishes(desk.state).take()
    home = KinHouse().everybody()
    for subject in ("phone", "tablet"):
        home.touch(subject, account="ann")
    home.tell(taken)
    assert home.persons() == []


def test_explain_tells_the_link_as_long_as_the_other_is_known(tmp_path: Path) -> None:
    home = KinHouse().everybody()
    home.touch("tablet", item="a", account="ann")
    home.touch("phone", item="a", account="ann")
    made = home.decisions()[-1].id
    (tmp_path / "before").mkdir()
    (tmp_path / "after").mkdir()
    before = Desk(tmp_path / "before", home)
    words = CliRunner().invoke(main, ["explain", made, "--state-dir", str(before.state)], catch_exceptions=False).output
    assert f"  {LOGIN}" in words
    told = CliRunner().invoke(main, ["explain", made, "--state-dir", str(before.state), "--json"]).output
    assert json.loads(told)["kin"] == [["phone", "tablet", "login", "account", 1.0, NOW]]
    home.now += DAY_MS
    home.consent("tablet", "recognise", "personalise", granted=False)
    after = Desk(tmp_path / "after", home)
    words = CliRunner().invoke(main, ["explain", made, "--state-dir", str(after.state)], catch_exceptions=False).output
    assert "tablet" not in words
    assert "a subject that is no longer known" in words
