"""Links and PINs: for one visitor, used once, ended by time, by use and by guesses."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from threading import Barrier, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import LinkInvalid, StoreUnavailable
from edge_agent.web.door import FOLDER, INVITATIONS_MAX, TRIES_MAX, Door, Invitation

NOW = 1_800_000_000_000
END = NOW + 600_000


def test_a_link_lets_one_visitor_in_once(tmp_path: Path) -> None:
    door = Door(tmp_path)
    made = door.invite("anna", END, NOW, pin=False)
    assert Door(tmp_path).enter_by_link(made.token, NOW + 1).subject == "anna"
    with pytest.raises(LinkInvalid, match="used already"):
        door.enter_by_link(made.token, NOW + 2)


def test_a_link_does_not_say_whom_it_is_for(tmp_path: Path) -> None:
    one = Door(tmp_path).invite("anna", END, NOW, pin=False)
    assert "anna" not in one.token
    assert one.pin == ""


def test_a_link_and_its_pin_are_used_up_together(tmp_path: Path) -> None:
    door = Door(tmp_path)
    made = door.invite("anna", END, NOW, pin=True)
    assert door.enter_by_pin(made.pin, NOW).subject == "anna"
    with pytest.raises(LinkInvalid):
        door.enter_by_link(made.token, NOW)


def test_time_ends_a_link_and_takes_its_file_away(tmp_path: Path) -> None:
    door = Door(tmp_path)
    made = door.invite("anna", END, NOW, pin=True)
    with pytest.raises(LinkInvalid):
        door.enter_by_link(made.token, END)
    assert list((tmp_path / FOLDER).glob("*.json")) == []


def test_wrong_numbers_end_every_pin_and_no_link(tmp_path: Path) -> None:
    door = Door(tmp_path)
    made = door.invite("anna", END, NOW, pin=True)
    wrong = f"{(int(made.pin) + 1) % 1_000_000:06d}"
    for _ in range(TRIES_MAX):
        with pytest.raises(LinkInvalid):
            door.enter_by_pin(wrong, NOW)
    with pytest.raises(LinkInvalid):
        door.enter_by_pin(made.pin, NOW)
    assert door.enter_by_link(made.token, NOW).subject == "anna"


def test_a_changed_invitation_opens_nothing(tmp_path: Path) -> None:
    door = Door(tmp_path)
    made = door.invite("anna", END, NOW, pin=False)
    (file,) = (tmp_path / FOLDER).glob("*.json")
    file.write_bytes(file.read_bytes().replace(b"anna", b"bert"))
    with pytest.raises(LinkInvalid):
        door.enter_by_link(made.token, NOW)


def test_a_folder_that_somebody_filled_is_no_way_in(tmp_path: Path) -> None:
    door = Door(tmp_path)
    (tmp_path / FOLDER / "ff.json").write_bytes(b"{")
    with pytest.raises(LinkInvalid):
        door.enter_by_pin("123456", NOW)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Door:
    held = Door(tmp_path_factory.mktemp("door"))
    held.invite("anna", END, NOW, pin=True)
    return held


@given(text=st.text(max_size=60).filter(lambda text: not text.isdigit()))
def test_whatever_is_typed_is_refused_and_breaks_nothing(door: Door, text: str) -> None:
    for enter in (door.enter_by_link, door.enter_by_pin):
        with pytest.raises(LinkInvalid):
            enter(text, NOW)


def test_of_many_who_come_at_once_one_gets_in(tmp_path: Path) -> None:
    made = Door(tmp_path).invite("anna", END, NOW, pin=True)
    found: list[Invitation] = []
    together = Barrier(8)

    def come() -> None:
        door = Door(tmp_path)
        together.wait()
        with suppress(LinkInvalid):
            found.append(door.enter_by_pin(made.pin, NOW))

    crowd = [Thread(target=come) for _ in range(8)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    assert len(found) == 1
    assert list((tmp_path / FOLDER).glob("*.json")) == []


def test_while_one_comes_in_the_others_wait(tmp_path: Path) -> None:
    door, found = Door(tmp_path), []
    made = door.invite("anna", END, NOW, pin=True)
    with (tmp_path / FOLDER / "key").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        late = Thread(target=lambda: found.append(door.enter_by_pin(made.pin, NOW)))
        late.start()
        late.join(0.3)
        assert found == []
    late.join()
    assert len(found) == 1


def test_all_who_begin_at_once_have_one_key(tmp_path: Path) -> None:
    tokens: list[str] = []
    together = Barrier(8)

    def begin() -> None:
        together.wait()
        tokens.append(Door(tmp_path).invite("anna", END, NOW, pin=False).token)

    crowd = [Thread(target=begin) for _ in range(8)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    assert len({Door(tmp_path).enter_by_link(token, NOW).number for token in tokens}) == 8


def test_a_key_that_was_cut_is_named_and_opens_nothing(tmp_path: Path) -> None:
    Door(tmp_path)
    (tmp_path / FOLDER / "key").write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="is no key"):
        Door(tmp_path)


def test_there_are_never_too_many_open_links(tmp_path: Path) -> None:
    door = Door(tmp_path)
    for _ in range(INVITATIONS_MAX):
        door.invite("anna", END, NOW, pin=False)
    with pytest.raises(StoreUnavailable, match="are open"):
        door.invite("anna", END, NOW, pin=False)
    door.invite("anna", END + 600_000, END, pin=False)


def test_nobody_else_may_read_the_folder(tmp_path: Path) -> None:
    Door(tmp_path).invite("anna", END, NOW, pin=True)
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / FOLDER).iterdir()}
    assert modes == {0}
    assert (tmp_path / FOLDER).stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_link_that_root_has_made_is_the_agents(tmp_path: Path) -> None:
    agent = 4_711
    os.chown(tmp_path, agent, agent)
    Door(tmp_path).invite("anna", END, NOW, pin=True)
    folder = tmp_path / FOLDER
    assert {path.stat().st_uid for path in (folder, *folder.iterdir())} == {agent}
