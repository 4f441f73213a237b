"""A copy of a coordinator's home is whole or is none, and a home that was made from it is what it was."""

import contextlib
import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.cli import main
from coordinator.errors import BackupDamaged, BackupFailed, BackupRefused, CoordinatorError
from coordinator.shell.backup import MANIFEST, backup, read, restore
from coordinator.shell.hold import APP_LOCK, hold
from coordinator.shell.registry_store import Registry
from coordinator.shell.store import Store
from coordinator.shell.verifying import verify
from tests.coordinator.fleet import CONTEXT


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with keys, a registry that publishes a bundle, a device, logs and locks."""
    home = tmp_path_factory.mktemp("place") / "home"
    Store(home).enrol("home-1", 2**63 + 7, "key")
    Registry.ensure(home).publish(CONTEXT)
    (home / "logs").mkdir()
    (home / "logs" / "door.log").write_text("chatter\n")
    (home / "runs" / "r1").mkdir(parents=True)
    return home


@pytest.fixture(scope="module")
def copied(home: Path) -> Path:
    to = home.parent / "copy"
    backup(home, to)
    return to


@pytest.fixture
def own(copied: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(copied, tmp_path / "own"))


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and bytes of all that is copied byte by byte, and modes of folders."""
    return {
        str(path.relative_to(folder)): (stat.S_IMODE(path.stat().st_mode), path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
        if path.suffix not in (".lock", ".db") and not path.name.endswith(("-wal", "-shm")) and "logs" not in path.parts
    }


def test_a_restored_home_is_what_it_was_with_its_permissions(home: Path, copied: Path, tmp_path: Path) -> None:
    restore(copied, tmp_path / "deep" / "again")
    again = tmp_path / "deep" / "again"
    assert contents(again) == contents(home)
    assert Store(again).devices() == Store(home).devices()
    found = [[(one.level, one.where) for one in verify(Registry.existing(place))] for place in (home, again)]
    assert found[0] == found[1]
    assert "error" not in {level for level, _ in found[1]}
    assert Registry.existing(again).published()[0].bundle == "context"
    assert not (again / "logs").exists()


def test_nobody_else_can_read_a_copy(copied: Path) -> None:
    for path in (copied, *copied.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_copy_that_is_made_while_others_write_holds_whole_transactions(home: Path, tmp_path: Path) -> None:
    place = tmp_path / "home"
    shutil.copytree(home, place)
    path, stop = place / "coordinator.db", threading.Event()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE pair (a INTEGER, b BLOB)")

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=30)) as mine:
            while not stop.is_set():
                with mine:
                    n = mine.execute("SELECT count(*) FROM pair").fetchone()[0]
                    mine.execute("INSERT INTO pair VALUES (?, randomblob(9000))", (n,))
                    mine.execute("INSERT INTO pair VALUES (?, randomblob(9000))", (n,))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for n in range(3):
            backup(place, tmp_path / f"copy-{n}")
            restore(tmp_path / f"copy-{n}", tmp_path / f"again-{n}")
            with closing(sqlite3.connect(tmp_path / f"again-{n}" / "coordinator.db")) as found:
                assert found.execute("SELECT count(*) % 2 FROM pair").fetchone() == (0,)
                assert found.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        stop.set()
        writer.join()


def test_nothing_is_overwritten(home: Path, copied: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine").write_text("mine")
    with pytest.raises(BackupRefused, match="is there already"):
        backup(home, taken)
    with pytest.raises(BackupRefused, match="is there already"):
        restore(copied, taken)
    with pytest.raises(BackupRefused, match="inside the home"):
        backup(home, home / "copy")
    with pytest.raises(BackupRefused, match="no coordinator"):
        backup(tmp_path / "nowhere", tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    assert (taken / "mine").read_text() == "mine"


def test_an_empty_folder_may_stand_where_the_home_is_to_be(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    restore(copied, tmp_path / "home")
    assert Store(tmp_path / "home").devices()


def test_no_copy_is_made_while_a_round_is_driven(home: Path, tmp_path: Path) -> None:
    with hold(home / "runs" / "r1" / APP_LOCK), pytest.raises(BackupRefused, match="run r1 is under way"):
        backup(home, tmp_path / "copy")


def test_a_damaged_database_is_not_passed_off_as_a_copy(home: Path, tmp_path: Path) -> None:
    place = tmp_path / "home"
    shutil.copytree(home, place)
    with (place / "coordinator.db").open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(8192))
    with pytest.raises(BackupDamaged, match=r"coordinator\.db"):
        backup(place, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_link_in_the_home_is_named(home: Path, tmp_path: Path) -> None:
    place = tmp_path / "home"
    shutil.copytree(home, place)
    (place / "elsewhere").symlink_to(tmp_path)
    with pytest.raises(BackupRefused, match="elsewhere is neither"):
        backup(place, tmp_path / "copy")


def _lose(copy: Path) -> None:
    (copy / "home" / "keys" / "root.key").unlink()


def _add(copy: Path) -> None:
    (copy / "home" / "keys" / "stranger.key").write_text("mine")


def _link(copy: Path) -> None:
    (copy / "home" / "keys" / "root.key").unlink()
    (copy / "home" / "keys" / "root.key").symlink_to(copy / "home" / "keys" / "targets.key")


def _climb(copy: Path) -> None:
    path = copy / MANIFEST
    path.write_text(path.read_text().replace('"keys/root.key"', '"../root.key"'))


def _open(copy: Path) -> None:
    path = copy / MANIFEST
    path.write_text(path.read_text().replace(f'"mode": {0o600}', '"mode": 2541', 1))


@pytest.mark.parametrize("spoil", [_lose, _add, _link, _climb, _open])
def test_a_copy_that_was_changed_makes_no_home(spoil: object, own: Path, tmp_path: Path) -> None:
    assert callable(spoil)
    spoil(own)
    with pytest.raises(BackupDamaged):
        restore(own, tmp_path / "home")
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


def test_one_changed_bit_anywhere_makes_no_home(own: Path, tmp_path: Path) -> None:
    files = [path for path in (own / "home").rglob("*") if path.is_file() and path.stat().st_size]
    assert len(files) > 15
    for path in files:
        raw = path.read_bytes()
        path.write_bytes(bytes([raw[0] ^ 1]) + raw[1:])
        with pytest.raises(BackupDamaged):
            restore(own, tmp_path / "home")
        path.write_bytes(raw)
    restore(own, tmp_path / "home")


@given(raw=st.binary(max_size=200), at=st.integers(0, 10_000), cut=st.booleans())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_manifest_is_the_error_says_so(raw: bytes, at: int, cut: bool, copied: Path) -> None:
    good = (copied / MANIFEST).read_bytes()
    at %= len(good)
    with (
        _manifest(copied, good[:at] + raw + (b"" if cut else good[at + len(raw) :])),
        contextlib.suppress(CoordinatorError),
    ):
        read(copied)


@contextlib.contextmanager
def _manifest(copy: Path, raw: bytes) -> Iterator[None]:
    good = (copy / MANIFEST).read_bytes()
    (copy / MANIFEST).write_bytes(raw)
    try:
        yield
    finally:
        (copy / MANIFEST).write_bytes(good)


def test_what_cannot_be_written_leaves_nothing(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackupFailed, match="file"):
        backup(home, tmp_path / "file" / "copy")


def test_the_commands_say_what_was_done_and_what_is_next(home: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["backup", str(tmp_path / "copy"), "--home", str(home)])
    assert done.exit_code == 0, done.output
    assert "private keys" in done.output
    done = CliRunner().invoke(main, ["restore", str(tmp_path / "copy"), "--home", str(tmp_path / "home"), "--json"])
    assert done.exit_code == 0, done.output
    again = CliRunner().invoke(main, ["restore", str(tmp_path / "copy"), "--home", str(tmp_path / "home")])
    assert again.exit_code == 2
    assert "CRD111" in again.output
