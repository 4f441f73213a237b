"""Who may look at what on a device, and the log of who looked."""

import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.commands.group import main
from edge_agent.errors import AccessRefused, LookNotEntered, RolesMalformed
from edge_agent.limits import DAY_MS
from edge_agent.roles import ACTIONS, GIVEN, Given, Person, Role, Rules, may, roles_of, themselves, under
from edge_agent.shell import access
from edge_agent.shell.access import admit, by_token, give, mark_of, new_token, note_look, take, who
from edge_agent.shell.clock import wall_ms
from firmware_configs import looks
from firmware_configs.cli import main as audit

CAROL = Person(name="carol", by="login", groups=("privacy",))
EVE = Person(name="eve", by="user")
ROOT = Person(name="root", by="user", owns=True)
NOW = 1_790_000_000_000


def seen(state: Path) -> looks.Log:
    return looks.read(state)


def test_no_given_role_both_sees_peoples_data_and_changes_anything() -> None:
    for role in GIVEN:
        allowed = {action for action in ACTIONS if may(role, action)}
        assert not ({"subject", "explain"} & allowed and {"rights", "operate", "roles"} & allowed), role
    assert {action for action in ACTIONS if may(Role.OWNER, action)} == set(ACTIONS)


def test_a_role_is_given_to_a_name_or_a_group_and_binds_root_too() -> None:
    rules = Rules(person=(Given(name="@privacy", roles=(Role.OFFICER,)), Given(name="root", roles=(Role.OPERATOR,))))
    assert roles_of(rules, CAROL) == {Role.OFFICER}
    assert roles_of(rules, ROOT) == {Role.OPERATOR}, "who has a role is bound by it"
    assert roles_of(Rules(), ROOT) == {Role.OWNER}
    assert roles_of(rules, EVE) == frozenset()


def test_people_see_their_own_and_nothing_of_others() -> None:
    anna = themselves("anna")
    assert under(Rules(), anna, "subject", "anna") is Role.SUBJECT
    assert under(Rules(), anna, "rights", "anna") is Role.SUBJECT
    for subject in ("bert", ""):
        assert under(Rules(), anna, "subject", subject) is None
    assert under(Rules(), anna, "ledger", "anna") is None


def test_an_officer_must_say_why_and_the_log_says_so_without_the_persons_name(tmp_path: Path) -> None:
    give(tmp_path, "@privacy", Role.OFFICER)
    with pytest.raises(AccessRefused, match="no reason"):
        admit(tmp_path, "subject", subject="anna", what="subject show", person=CAROL, now_ms=NOW)
    role = admit(tmp_path, "subject", subject="anna", what="subject show", reason="request 7", person=CAROL, now_ms=NOW)
    assert role is Role.OFFICER
    with pytest.raises(AccessRefused, match="eve may not subject"):
        admit(tmp_path, "subject", subject="anna", what="subject show", reason="curious", person=EVE, now_ms=NOW)
    log = seen(tmp_path)
    told = [(look.who, look.role, look.reason, look.allowed) for look in log.looks]
    assert told == [
        ("carol", "", "", False),
        ("carol", "officer", "request 7", True),
        ("eve", "", "curious", False),
    ]
    assert b"anna" not in (tmp_path / looks.FILE).read_bytes()
    assert len(looks.about(log.looks, mark_of(tmp_path, "anna"))) == 3
    assert looks.about(log.looks, mark_of(tmp_path, "bert")) == []
    assert log.flaws == ()


def test_the_owner_need_not_say_why(tmp_path: Path) -> None:
    assert admit(tmp_path, "subject", subject="anna", person=ROOT) is Role.OWNER


def test_a_token_holds_until_it_ends_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    secret = new_token(tmp_path, "carol", Role.OFFICER, wall_ms() + 1_000)
    assert secret not in (tmp_path / access.RULES).read_text()
    found = by_token(tmp_path, secret, wall_ms())
    assert found is not None
    assert (found.name, found.roles, found.by) == ("carol", {Role.OFFICER}, "token")
    assert by_token(tmp_path, secret, wall_ms() + 2_000) is None
    assert by_token(tmp_path, secret + "x", wall_ms()) is None
    take(tmp_path, "carol")
    assert by_token(tmp_path, secret, wall_ms()) is None
    with pytest.raises(RolesMalformed, match="carol"):
        take(tmp_path, "carol")


def test_rules_with_a_wrong_key_let_nobody_in(tmp_path: Path) -> None:
    (tmp_path / access.RULES).write_text('[[person]]\nname = "carol"\nrole = ["officer"]\n')
    with pytest.raises(RolesMalformed, match="roles"):
        admit(tmp_path, "subject", subject="anna", person=ROOT)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may say who called sudo")
def test_behind_sudo_stands_who_called_it(tmp_path: Path) -> None:
    found = who(tmp_path, {"SUDO_UID": "65534"})
    assert found.owns
    assert found.by in {"sudo", "login"}
    assert found.by == "login" or found.name == "nobody"


def test_a_name_in_the_environment_is_not_believed_of_those_who_do_not_own_the_files(tmp_path: Path) -> None:
    found = who(tmp_path, {"SUDO_UID": "not a number"})
    assert found.by != "sudo"


def written(state: Path, count: int, now_ms: int = NOW) -> None:
    for number in range(count):
        note_look(
            state, CAROL, Role.OFFICER, "subject", subject=f"s{number}", what="subject show", reason="x", now_ms=now_ms
        )


def test_a_changed_byte_is_found_and_located(tmp_path: Path) -> None:
    written(tmp_path, 5)
    raw = (tmp_path / looks.FILE).read_bytes()
    whole = looks.examine(raw)
    ends = [place for place, byte in enumerate(raw) if byte == 10]
    for place in range(0, len(raw), 3):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        found = looks.examine(changed)
        line = sum(end < place for end in ends) + 1
        if line == 5:
            assert found.flaws or found.head != whole.head, "the newest line is told by its head"
        else:
            assert found.flaws, place
            assert any(f"look {line}" in flaw.what or f"line {line}" in flaw.where for flaw in found.flaws), place
    for gone in range(4):
        lines = raw.splitlines(keepends=True)
        assert looks.examine(b"".join(lines[:gone] + lines[gone + 1 :])).flaws, "a line was taken out"


@given(st.binary(max_size=400))
def test_any_bytes_are_a_log_or_have_flaws(raw: bytes) -> None:
    found = looks.examine(raw)
    assert len(found.flaws) == raw.count(b"\n"), "no line of these is a look"


@given(st.text(max_size=9), st.text(max_size=60))
def test_a_look_says_what_was_typed_on_one_line(name: str, reason: str) -> None:
    look = looks.Look(
        number=1, time_ms=NOW, who=name, by="user", role="", action="subject", reason=reason, previous=looks.GENESIS
    )
    line = looks.line_of(look)
    assert b"\n" not in line
    assert looks.entry_of(line) == look


def test_what_a_power_cut_left_of_a_line_is_no_look(tmp_path: Path) -> None:
    written(tmp_path, 2)
    with (tmp_path / looks.FILE).open("ab") as file:
        file.write(b'{"type":"look","number":3,"time')
    assert len(seen(tmp_path).looks) == 2
    assert seen(tmp_path).flaws == ()
    written(tmp_path, 1)
    assert [look.number for look in seen(tmp_path).looks] == [1, 2, 3]
    assert seen(tmp_path).flaws == ()


def test_a_log_whose_newest_line_is_no_look_takes_no_more_and_nothing_is_shown(tmp_path: Path) -> None:
    (tmp_path / looks.FILE).write_bytes(b"scribble\n")
    with pytest.raises(LookNotEntered, match="no look"):
        admit(tmp_path, "subject", subject="anna", person=ROOT)


def test_many_doors_write_one_chain(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as doors:
        list(doors.map(lambda _: written(tmp_path, 10), range(4)))
    assert [look.number for look in seen(tmp_path).looks] == list(range(1, 41))
    assert seen(tmp_path).flaws == ()


def test_a_door_waits_for_another_that_writes(tmp_path: Path) -> None:
    written(tmp_path, 1)
    other = os.open(tmp_path / looks.FILE, os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    door = Thread(target=written, args=(tmp_path, 1))
    door.start()
    door.join(0.3)
    assert door.is_alive()
    os.close(other)
    door.join(20)
    assert [look.number for look in seen(tmp_path).looks] == [1, 2]


def test_old_looks_give_way_young_ones_never(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "FOLD_BYTES", 2_000)
    written(tmp_path, 8, NOW - (access.KEPT_DAYS + 1) * DAY_MS)
    written(tmp_path, 20, NOW)
    log = seen(tmp_path)
    assert log.folded == 8
    assert [look.number for look in log.looks] == list(range(9, 29))
    assert log.flaws == ()


def test_words_that_are_no_text_are_entered_all_the_same(tmp_path: Path) -> None:
    look = note_look(
        tmp_path, EVE, None, "subject", subject="a\udce9", what="subject show", reason="x\udce9\n" * 900, now_ms=NOW
    )
    assert len(look.reason) == looks.TEXT_MAX
    assert seen(tmp_path).flaws == ()


def test_roles_are_given_and_the_log_is_read_by_commands(tmp_path: Path) -> None:
    state = ("--state-dir", str(tmp_path))
    runner = CliRunner()
    assert runner.invoke(main, ["access", "grant", "carol", "officer", *state]).exit_code == 0
    listed = runner.invoke(main, ["access", "ls", *state]).stdout
    assert "carol" in listed
    assert "officer" in listed
    assert runner.invoke(main, ["subject", "show", "anna", "--reason", "request 7", *state]).exit_code == 1
    log = runner.invoke(main, ["access", "log", "--subject", "anna", *state])
    assert log.exit_code == 0
    assert "request 7" in log.stdout
    assert "carol" not in log.stdout, "only looks at this person"
    assert runner.invoke(main, ["access", "revoke", "carol", *state]).exit_code == 0
    assert "subject  " in runner.invoke(main, ["access", "roles"]).stdout


def test_a_head_that_was_noted_is_found_again_also_by_the_digits_that_are_printed(tmp_path: Path) -> None:
    written(tmp_path, 3)
    log, runner = str(tmp_path / looks.FILE), CliRunner()
    noted = looks.read(tmp_path).head
    written(tmp_path, 2)
    for head in (noted, f"{noted[:16]}…", noted[:20].upper()):
        assert runner.invoke(audit, ["looks", log, "--head", head]).exit_code == 0, head
    other = "0" * 15 + "1" if noted[0] != "0" else "1" * 16
    gone = runner.invoke(audit, ["looks", log, "--head", other])
    assert gone.exit_code == 1
    assert "stands nowhere" in gone.output
    assert runner.invoke(audit, ["looks", log, "--head", "abc"]).exit_code == 2
