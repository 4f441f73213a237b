"""Who may sign in, for how long, and the log of what they did."""

import json
import sqlite3
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from coordinator.cli import main
from coordinator.errors import LogDamaged, PasswordWeak, TagInvalid, UnknownUser, UserTaken
from coordinator.fleet.attempts import EACH_MAX, Attempts
from coordinator.shell.dashboard import passwords
from coordinator.shell.dashboard.database import NAME
from coordinator.shell.dashboard.door import local
from coordinator.shell.dashboard.trail import Trail
from coordinator.shell.dashboard.users import IDLE_MS, LASTS_MS, Users

PASSWORD = "four words without sense"


class Clock:
    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.ms


def test_a_user_is_known_by_name_and_password_and_by_nothing_less(tmp_path: Path) -> None:
    users = Users(tmp_path)
    made = users.add("ann", "operator", PASSWORD)
    assert users.known("ann", PASSWORD) == made
    for name, password in (("ann", PASSWORD + "x"), ("ann", ""), ("bob", PASSWORD), ("ann", "x" * 9_999)):
        assert users.known(name, password) is None
    with pytest.raises(UserTaken):
        users.add("ann", "viewer", PASSWORD)
    with pytest.raises(TagInvalid):
        users.add("../ann", "viewer", PASSWORD)
    with pytest.raises(PasswordWeak):
        users.add("bob", "viewer", "short")
    raw = (tmp_path / NAME).read_bytes()
    assert PASSWORD.encode() not in raw
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert passwords.hashed(PASSWORD).key != passwords.hashed(PASSWORD).key, "each has a salt of its own"


def test_a_session_ends_by_time_by_idleness_by_leaving_and_with_its_user(tmp_path: Path) -> None:
    clock = Clock()
    users = Users(tmp_path, clock)
    ann = users.add("ann", "operator", PASSWORD)
    secret = users.enter(ann)
    found = users.session(secret)
    assert found is not None
    assert found.user == ann
    assert users.session("another") is None
    assert secret.encode() not in (tmp_path / NAME).read_bytes()
    for _ in range(LASTS_MS // (IDLE_MS // 2)):
        assert users.session(secret) is not None
        clock.ms += IDLE_MS // 2
    clock.ms += 1
    assert users.session(secret) is None, "whatever is done in it"
    idle = users.enter(ann)
    clock.ms += IDLE_MS + 1
    assert users.session(idle) is None
    left, other = users.enter(ann), users.enter(ann)
    users.leave(left)
    assert users.session(left) is None
    assert users.session(other) is not None
    users.remove("ann")
    assert users.session(other) is None
    with pytest.raises(UnknownUser):
        users.remove("ann")


def test_the_trail_tells_on_whoever_changes_it(tmp_path: Path) -> None:
    trail = Trail(tmp_path, Clock())
    for what in ("/fleet", "/rounds"):
        trail.note("ann", "viewer", "looked", what)
    trail.note("olga", "operator", "rollout.rollback", "r", why="it is slow")
    head = trail.verify()
    assert [one.deed.did for one in trail.newest(10)] == ["rollout.rollback", "looked", "looked"]
    assert [one.deed.what for one in trail.newest(10, looks=False)] == ["r"]
    assert trail.newest(10)[0].hash == head
    database = sqlite3.connect(tmp_path / NAME)
    with database:
        database.execute("DELETE FROM trail WHERE number = 2")
    database.close()
    with pytest.raises(LogDamaged, match="line 2"):
        trail.verify()


def test_whoever_gets_in_is_not_held_to_an_attempt() -> None:
    attempts = Attempts()
    for now in range(10 * EACH_MAX):
        assert attempts.allowed("a", float(now))
        attempts.failed("a", float(now))
        attempts.forgive("a")
    for now in range(EACH_MAX):
        attempts.failed("a", float(now))
    assert not attempts.allowed("a", float(EACH_MAX))
    assert attempts.allowed("b", float(EACH_MAX))


@pytest.mark.parametrize(
    "path", ["//elsewhere.example", "https://elsewhere.example", "/\\elsewhere", "\\\\elsewhere", "fleet", "", "/a\nb"]
)
def test_nobody_is_sent_elsewhere_after_signing_in(path: str) -> None:
    assert local(path) == "/"
    assert local("/fleet?q=a") == "/fleet?q=a"


def test_users_are_managed_by_command(tmp_path: Path) -> None:
    def run(*words: str, given: str = "") -> "object":
        done = CliRunner().invoke(main, ["dashboard", "users", *words, "--home", str(tmp_path)], input=given)
        return done.exit_code, done.stdout, done.stderr

    add = ("add", "ann", "--role", "officer")
    assert run(*add, "--password-file", "-", given=f"{PASSWORD}\n") == (0, "ann may sign in as officer\n", "")
    assert run(*add, given=f"{PASSWORD}\n{PASSWORD}\n")[0] == 2  # type: ignore[index]
    code, out, _ = run("ls", "--json")  # type: ignore[misc]
    assert code == 0
    assert [(one["name"], one["role"]) for one in json.loads(out)] == [("ann", "officer")]
    assert run("rm", "ann")[0] == 0  # type: ignore[index]
    assert run("rm", "ann")[0] == 2  # type: ignore[index]


def test_a_dashboard_that_others_could_reach_wants_tls(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["dashboard", "--home", str(tmp_path), "--host", "0.0.0.0", "--port", "0"])  # noqa: S104
    assert done.exit_code == 2
    assert "CRD804" in done.stderr
    assert "--tls" in done.stderr
