"""A home that an earlier version left is taken up whole or not at all; one of a newer version is left alone."""

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.cli import main
from coordinator.errors import HomeTooNew, HomeUnreadable
from coordinator.shell import database
from coordinator.shell.dashboard import asking
from coordinator.shell.dashboard import database as dashboard
from coordinator.shell.dashboard.trail import Trail
from coordinator.shell.dashboard.users import Users
from coordinator.shell.experiment_store import ExperimentStore
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.privacy_store import PrivacyStore
from coordinator.shell.quarantine_store import QuarantineStore
from coordinator.shell.rollout_store import RolloutStore
from coordinator.shell.run_store import RunStore
from coordinator.shell.store import Store

STORED = Path(__file__).parents[1] / "stored"
SCHEMAS = {database.FILE: database.SCHEMA, dashboard.NAME: dashboard.SCHEMA}
STORES: list[Callable[[Path], object]] = [
    Store, FleetStore, QuarantineStore, PrivacyStore, ExperimentStore, RolloutStore,
]  # fmt: skip
DIES = """
import os, signal, sqlite3, sys
from pathlib import Path
from coordinator.shell.database import upgrade
path = Path(sys.argv[1])
connection = sqlite3.connect(path, isolation_level=None)
connection.create_function("die", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
upgrade(connection, path, Path(sys.argv[2]))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """As it was left before databases were numbered: the demo's, and a little by hand."""
    for name, file in ((database.FILE, "coordinator_schema_0.sql"), (dashboard.NAME, "dashboard_schema_0.sql")):
        with closing(sqlite3.connect(tmp_path / name)) as old:
            old.executescript((STORED / file).read_text(encoding="utf-8"))
    return tmp_path


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Table → all that is in it."""
    with closing(sqlite3.connect(path)) as opened:
        tables = [name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(opened.execute(f"SELECT * FROM {name}"), key=repr) for name in tables}  # noqa: S608


def number(path: Path) -> int:
    """The version that the database says."""
    with closing(sqlite3.connect(path)) as opened:
        return int(opened.execute("PRAGMA user_version").fetchone()[0])


def set_number(path: Path, value: int) -> None:
    with closing(sqlite3.connect(path)) as opened:
        opened.execute(f"PRAGMA user_version = {value}")


def open_all(home: Path) -> None:
    for store in STORES:
        store(home)
    Users(home).all()


def test_an_old_home_says_what_it_said(home: Path) -> None:
    devices = [f"home-{n}" for n in range(1, 6)]
    store = Store(home)
    assert [device.name for device in store.devices()] == devices
    (run,) = store.runs()
    assert (run.bundle, run.version, run.ended, run.failure) == ("affinity", "1.0.0", True, "")
    assert [one.number for one in store.rounds(run.key)] == [1, 2]
    plan = RunStore(home).plan(run.key)
    assert (plan.request.rounds, plan.job.minimum_reports, str(plan.job.home)) == (2, 5, "/srv/edgeward")
    fleet = FleetStore(home)
    assert fleet.groups() == {"beta": devices[:3]}
    assert [view.tags for view in fleet.views()] == [{"site": "lab"}, {"site": "lab"}, {}, {}, {}]
    assert len(fleet.log("home-5")) > 0
    assert list(QuarantineStore(home).entries()) == ["home-5"]
    (account,) = PrivacyStore(home).accounts("context")
    assert [spend.noise_multiplier for spend in account.spent] == [2.0]
    rollouts = RolloutStore(home)
    (rollout,) = rollouts.all()
    assert (rollout.key, len(rollouts.wishes(rollout.key))) == ("r", 1)
    assert rollouts.verify("r").startswith("36dc5f651a4e7258"), "the hash at the end of its log"
    assert ExperimentStore(home).plans() == [], "its tables were not there yet"
    assert Users(home).known("ann", "correct horse battery") is not None
    assert len(Trail(home).newest(9)) == 2


def test_its_databases_then_say_their_version_and_have_lost_nothing(home: Path) -> None:
    before = {name: rows(home / name) for name in SCHEMAS}
    open_all(home)
    for name, schema in SCHEMAS.items():
        assert number(home / name) == len(list(schema.glob("*.sql")))
        assert before[name].items() <= rows(home / name).items()


def test_a_new_home_says_its_version_and_has_the_tables_of_an_upgraded_one(home: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    for place in (home, new):
        open_all(place)
    for name in SCHEMAS:
        assert number(new / name) == number(home / name) >= 1
        assert set(rows(new / name)) - {"sqlite_sequence"} == set(rows(home / name)) - {"sqlite_sequence"}


@pytest.mark.parametrize("store", STORES)
def test_a_database_of_a_newer_edgeward_is_refused_and_not_touched(store: Callable[[Path], object], home: Path) -> None:
    path = home / database.FILE
    open_all(home)
    newest = number(path)
    set_number(path, newest + 1)
    before = path.read_bytes()
    with pytest.raises(HomeTooNew, match=f"has schema {newest + 1}, this edgeward knows up to {newest}") as refused:
        store(home)
    assert "install the newer edgeward again" in refused.value.hint
    assert path.read_bytes() == before


def test_a_dashboards_file_of_a_newer_edgeward_is_refused_and_not_touched(home: Path) -> None:
    path = home / dashboard.NAME
    set_number(path, 999)
    before = path.read_bytes()
    for look in (lambda: Users(home).all(), lambda: Trail(home).note("ann", "operator", "looked", "/")):
        with pytest.raises(HomeTooNew, match=r"dashboard\.db has schema 999"):
            look()
    assert path.read_bytes() == before


def test_a_page_over_a_newer_database_says_why_there_is_nothing_to_see(home: Path) -> None:
    set_number(home / database.FILE, 999)
    with pytest.raises(HomeTooNew, match="has schema 999"):
        asking.readable(home)


def test_a_command_over_a_newer_database_ends_with_the_code_and_what_to_do(home: Path) -> None:
    set_number(home / database.FILE, 999)
    done = CliRunner().invoke(main, ["nodes", "ls", "--home", str(home)])
    assert done.exit_code == 1
    assert "CRD115" in done.output
    assert "has schema 999" in done.output
    assert "put back the backup" in done.output
    assert "Traceback" not in done.output


def test_a_database_that_went_newer_meanwhile_is_refused_in_the_middle_of_work(home: Path) -> None:
    store = Store(home)
    set_number(home / database.FILE, 999)
    with pytest.raises(HomeTooNew):
        store.devices()


def test_many_at_once_upgrade_it_once(home: Path) -> None:
    failed: list[Exception] = []

    def start() -> None:
        try:
            barrier.wait()
            open_all(home)
        except Exception as error:  # noqa: BLE001 - it is what the test asks for
            failed.append(error)

    barrier = threading.Barrier(8)
    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert number(home / database.FILE) == len(list(database.SCHEMA.glob("*.sql")))


def folder(path: Path, files: list[list[str]]) -> Path:
    """A folder of schema files."""
    path.mkdir(exist_ok=True)
    for old in path.glob("*.sql"):
        old.unlink()
    for n, statements in enumerate(files, start=1):
        (path / f"{n:04}_step.sql").write_text("".join(f"{one};\n" for one in statements))
    database._files.cache_clear()
    return path


FILES = st.lists(
    st.lists(st.sampled_from(["CREATE", "INSERT", "DROP"]), min_size=1, max_size=3), min_size=1, max_size=3
)


def written(files: list[list[str]]) -> list[list[str]]:
    """Statements that can be run: each drops or fills a table of its own that one before it has made."""
    made: list[list[str]] = [["CREATE TABLE first (n)"]]
    for n, kinds in enumerate(files):
        steps: list[str] = []
        for k, kind in enumerate(kinds):
            name = f"t_{n}_{k}"
            steps.append(f"CREATE TABLE {name} (\n    n INTEGER DEFAULT 3 -- a; comment\n)")
            if kind != "CREATE":
                steps.append(f"INSERT INTO {name} DEFAULT VALUES" if kind == "INSERT" else f"DROP TABLE {name}")
        made.append(steps)
    return made


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(FILES, st.data())
def test_an_upgrade_that_fails_anywhere_leaves_the_database_as_it_was(
    tmp_path: Path, files: list[list[str]], data: st.DataObject
) -> None:
    path, steps = tmp_path / "some.db", written(files)
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        database.upgrade(connection, path, folder(tmp_path / "schema", steps[:1]))
        connection.execute("INSERT INTO first VALUES (1)")
        connection.commit()
        before = list(connection.iterdump())
        where = data.draw(st.integers(1, len(steps) - 1))
        at = data.draw(st.integers(0, len(steps[where])))
        broken = [list(one) for one in steps]
        broken[where].insert(at, "INSERT INTO nowhere VALUES (1)")
        with pytest.raises(sqlite3.OperationalError, match="nowhere"):
            database.upgrade(connection, path, folder(tmp_path / "schema", broken))
        assert not connection.in_transaction
        assert (list(connection.iterdump()), number(path)) == (before, 1)
        database.upgrade(connection, path, folder(tmp_path / "schema", steps))
        assert number(path) == len(steps)
    assert rows(path)["first"] == [(1,)]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_upgrade_whose_process_is_killed_is_done_again_from_the_beginning(tmp_path: Path, at: int) -> None:
    path = tmp_path / "some.db"
    first, steps = ["CREATE TABLE first (n)"], ["CREATE TABLE second (n)", "INSERT INTO second VALUES (1)"]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        database.upgrade(connection, path, folder(tmp_path / "schema", [first]))
    before = rows(path)
    deadly = folder(tmp_path / "schema", [first, [*steps[:at], "SELECT die()", *steps[at:]]])
    command = [sys.executable, "-c", DIES, str(path), str(deadly)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert (rows(path), number(path)) == (before, 1)
    with closing(sqlite3.connect(path)) as connection:
        database.upgrade(connection, path, folder(tmp_path / "schema", [first, steps]))
    assert (rows(path)["second"], number(path)) == ([(1,)], 2)


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_schema_files_are_numbered_without_a_gap(schema: Path) -> None:
    names = sorted(path.name for path in schema.iterdir())
    assert [name[:5] for name in names] == [f"{n:04}_" for n in range(1, len(names) + 1)]


@given(
    st.text(max_size=80),
    st.lists(st.sampled_from(["CREATE TABLE a (b);", "-- no; end", "SELECT ';'\n;", "", "SELECT 1"])),
)
def test_statements_taken_apart_are_the_file(text: str, lines: list[str]) -> None:
    for whole in (text, "\n".join(lines)):
        assert "".join(database._statements(whole)).split() == whole.split()


@given(st.binary(max_size=3_000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_whatever_is_in_the_file_it_is_taken_up_or_refused_by_name(tmp_path: Path, noise: bytes) -> None:
    for name in (database.FILE, f"{database.FILE}-wal", f"{database.FILE}-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / database.FILE).write_bytes(noise)
    try:
        Store(tmp_path).devices()
    except HomeUnreadable as error:
        assert error.hint
