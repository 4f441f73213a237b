"""A whole copy of a coordinator's home, and the way back from it.

Databases are copied by SQLite's online backup, so `up` may run meanwhile; everything else byte by byte, under the
registry's lock. A manifest with the SHA-256 of each file is written last. Both ways work on a folder beside the one
that was asked for, which is renamed when it is whole and on the medium: what has the name is complete.
"""

import hashlib
import os
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from coordinator.errors import BackupDamaged, BackupFailed, BackupRefused
from coordinator.shell.database import FILE
from coordinator.shell.hold import APP_LOCK, COMMAND_LOCK, is_held
from coordinator.shell.registry_store import Registry

MANIFEST: Final = "manifest.json"
CONTENT: Final = "home"
MAGIC: Final = b"SQLite format 3\0"
LOGS: Final = "logs"
COMPANIONS: Final = ("-wal", "-shm", "-journal")
"""Of a database: what is in them is in the copy of the database."""
CHUNK: Final = 1 << 20


class Kept(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file."""

    path: str
    """Below the home, with `/`."""
    sha256: str
    """Hex, of the copy."""
    size: int
    """Bytes."""
    mode: int
    """Permission bits that the file had in the home; the copy's own are 0600."""


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`manifest.json`: all that a copy holds."""

    schema: int
    made_ms: int
    """Unix ms."""
    folders: dict[str, int]
    """Path below the home to permission bits; the home itself is ``.``."""
    files: tuple[Kept, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def backup(home: Path, to: Path) -> Manifest:
    """Copy a home.

    The coordinator's database comes first, so that what it names (nodes at the SuperLink, files of the registry) is in
    what is copied after it.

    Raises:
        BackupRefused: there is no coordinator in `home`, `to` exists or is inside the home, rounds run, or something
            in the home is neither a file nor a folder.
        BackupDamaged: a database of the home is damaged.
        BackupFailed: it cannot be read or written, such as on a full disk.
    """
    home, to = home.resolve(), to.absolute()
    if not (home / FILE).is_file():
        raise BackupRefused(f"no coordinator in {home}", hint="name its folder with --home")
    if to.resolve().is_relative_to(home):
        raise BackupRefused(f"{to} is inside the home", hint="choose a folder elsewhere, on another disk")
    _refuse_present(to)
    _refuse_rounds(home)
    with _beside(to) as made, Registry(home).alone():
        content = made / CONTENT
        content.mkdir(mode=0o700)
        folders, paths = _walk(home)
        for folder in folders:
            (content / folder).mkdir(mode=0o700, exist_ok=True)
        paths.sort(key=lambda path: (path != FILE, not _is_database(home / path), path))
        files = [kept for path in paths if (kept := _take(home / path, content / path, path)) is not None]
        _refuse_rounds(home)
        manifest = Manifest(schema=1, made_ms=int(time.time() * 1_000), folders=folders, files=tuple(files))
        _write(made / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        _sync(made, content, *(content / folder for folder in folders))
    return manifest


def restore(source: Path, home: Path) -> Manifest:
    """Make a home from a copy; the home appears whole or not at all.

    Raises:
        BackupRefused: `source` is no copy, or there is something in `home` already.
        BackupDamaged: a file is missing, changed or more than the manifest lists, or the manifest is none.
        BackupFailed: it cannot be read or written.
    """
    home = home.absolute()
    _refuse_present(home)
    manifest = read(source)
    content = source / CONTENT
    with _beside(home) as made:
        for folder in sorted(manifest.folders):
            (made / folder).mkdir(mode=0o700, exist_ok=True)
        for file in manifest.files:
            _put(content / file.path, made / file.path, file)
        for folder, mode in manifest.folders.items():
            (made / folder).chmod(mode | stat.S_IRWXU)
        _sync(*(made / folder for folder in manifest.folders))
    return manifest


def read(source: Path) -> Manifest:
    """The manifest of a copy whose files are those that it lists; their bytes are not looked at.

    Raises:
        BackupRefused, BackupDamaged: see `restore`.
    """
    path = source / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError):
        hint = "name the folder that `edge-coordinator backup` made"
        raise BackupRefused(f"no {MANIFEST} in {source}", hint=hint) from None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _damaged(f"{path}: {error}") from error
    if manifest.schema != 1:
        raise BackupRefused(f"{path} has schema {manifest.schema}", hint="use the version of edgeward that wrote it")
    modes = [*manifest.folders.values(), *(file.mode for file in manifest.files)]
    names = [*manifest.folders, *(file.path for file in manifest.files)]
    if len(set(names)) != len(names) or not all(map(_is_below, names)) or not all(0 <= m <= 0o777 for m in modes):
        raise _damaged(f"{path} lists something twice, outside the home, or with impossible permissions")
    listed = {PurePosixPath(name) for name in names}
    if {PurePosixPath("."), *(parent for one in listed for parent in one.parents)} - {
        PurePosixPath(folder) for folder in manifest.folders
    }:
        raise _damaged(f"{path} lists a file without its folder")
    there = {one.relative_to(source / CONTENT).as_posix() for one in (source / CONTENT).rglob("*")} | {"."}
    if odd := sorted(there ^ set(names)):
        raise _damaged(f"{source}: {odd[0]} is {'missing' if odd[0] in names else 'not in the manifest'}")
    return manifest


def _damaged(what: str) -> BackupDamaged:
    return BackupDamaged(what, hint="this copy cannot be trusted: use an older one")


def _is_below(name: str) -> bool:
    path = PurePosixPath(name)
    return str(path) == name and "\0" not in name and not path.is_absolute() and ".." not in path.parts


def _refuse_present(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not (path.is_dir() and not any(path.iterdir()))):
        raise BackupRefused(f"{path} is there already", hint="nothing is overwritten: move it away, or name another")


def _refuse_rounds(home: Path) -> None:
    """A run's files change between its database's rows while it is driven."""
    for lock in (APP_LOCK, COMMAND_LOCK):
        if held := [path for path in home.glob(f"runs/*/{lock}") if is_held(path)]:
            raise BackupRefused(
                f"run {held[0].parent.name} is under way", hint="wait for its end: edge-coordinator watch"
            )


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A folder of ours (0700) that takes the target's name when the body is through, and goes when it is not."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            yield made
            # Takes the place of an empty folder only; a full one is an error.
            made.rename(target)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        _sync(target.parent)
    except OSError as error:
        raise BackupFailed(f"{target}: {error}", hint="is a disk full, or read-only?") from error


def _walk(home: Path) -> tuple[dict[str, int], list[str]]:
    """Folders with their permissions, and files, below a home."""
    folders, paths = {".": stat.S_IMODE(home.stat().st_mode) & 0o777}, []
    for path in sorted(home.rglob("*")):
        name = path.relative_to(home).as_posix()
        if name.split("/")[0] == LOGS or path.suffix == ".lock":
            continue
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(mode):
            folders[name] = mode & 0o777
        elif stat.S_ISREG(mode):
            paths.append(name)
        elif not stat.S_ISSOCK(mode):
            raise BackupRefused(f"{path} is neither a file nor a folder", hint="put the thing itself there, or nothing")
    databases = {name for name in paths if _is_database(home / name)}
    return folders, [n for n in paths if not any(n.endswith(c) and n.removesuffix(c) in databases for c in COMPANIONS)]


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except FileNotFoundError:
        return False


def _take(source: Path, target: Path, name: str) -> Kept | None:
    """Copy one file of the home; None: it has gone meanwhile."""
    try:
        mode = stat.S_IMODE(source.stat().st_mode) & 0o777
        if _is_database(source):
            _copy_database(source, target)
            digest, size = _digest(target)
        else:
            digest, size = _copy(source, target)
    except FileNotFoundError:
        return None
    return Kept(path=name, sha256=digest, size=size, mode=mode)


def _put(source: Path, target: Path, file: Kept) -> None:
    if source.is_symlink() or not source.is_file():
        raise _damaged(f"{source} is no file")
    if _copy(source, target) != (file.sha256, file.size):
        raise _damaged(f"{source} is not what was copied")
    target.chmod(file.mode)


def _copy_database(source: Path, target: Path) -> None:
    """By SQLite's online backup; the copy is one file, checked, mode 0600."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with (
            closing(sqlite3.connect(f"file:{quote(str(source))}?mode=rw", uri=True, timeout=15)) as live,
            closing(sqlite3.connect(target)) as copy,
        ):
            live.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
            found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise BackupDamaged(f"{source}: {error}", hint="stop what holds it, or restore an older copy") from error
    if found != "ok":
        raise BackupDamaged(f"{source}: {found}", hint="restore an older copy; this one would be damaged, too")
    _sync(target)


def _copy(source: Path, target: Path) -> tuple[str, int]:
    """SHA-256 (hex) and bytes of what was written, mode 0600, on the medium."""
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with source.open("rb") as read_from, os.fdopen(descriptor, "wb") as file:
        while chunk := read_from.read(CHUNK):
            digest.update(chunk)
            size += file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest(), size


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size


def _write(path: Path, raw: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _sync(*paths: Path) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
