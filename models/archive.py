"""A canonical ZIP: one set of files has one sequence of bytes, and no other sequence is read.

Entries are stored (not compressed), sorted by name, with fixed times and attributes. The reader writes the
archive again from what it read and compares: a byte changed anywhere, even in a header that nobody looks at,
is refused. Stored entries cannot expand, so the archive's size bounds the memory.
"""

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from models.errors import BundleMalformed, BundleTooLarge
from models.limits import BUNDLE_BYTES_MAX

EPOCH = (1980, 1, 1, 0, 0, 0)
_AGAIN = "fetch or build it again"


def pack(files: Mapping[str, bytes]) -> bytes:
    """The canonical archive of `files` (name → content)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def unpack(raw: bytes, what: str, entries_max: int) -> dict[str, bytes]:
    """Name → content of a canonical archive.

    Args:
        raw: the whole archive.
        what: what to call it in errors.
        entries_max: more entries than this are refused before any is read.
    Raises:
        BundleMalformed: not such an archive.
        BundleTooLarge: more bytes or entries than allowed.
    """
    if len(raw) > BUNDLE_BYTES_MAX:
        raise BundleTooLarge(
            f"{what} has {len(raw)} bytes, at most {BUNDLE_BYTES_MAX} are read", hint="build a smaller model"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            files = _contents(archive, what, entries_max)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise BundleMalformed(f"{what} is not a readable archive: {error}", hint=_AGAIN) from error
    if pack(files) != raw:
        raise BundleMalformed(f"{what} is not in canonical form: its bytes were changed", hint=_AGAIN)
    return files


def _contents(archive: zipfile.ZipFile, what: str, entries_max: int) -> dict[str, bytes]:
    entries = archive.infolist()
    if len(entries) > entries_max:
        raise BundleTooLarge(f"{what} has {len(entries)} entries, at most {entries_max} are read", hint=_AGAIN)
    files: dict[str, bytes] = {}
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.filename in files:
            raise BundleMalformed(f"{what}: entry {entry.filename!r} is compressed or stands there twice", hint=_AGAIN)
        files[entry.filename] = archive.read(entry)
    return files


def read_limited(path: Path) -> bytes:
    """The bytes of a file that may be no larger than a bundle.

    Raises:
        BundleMalformed: it cannot be read.
        BundleTooLarge: it is larger.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(BUNDLE_BYTES_MAX + 1)
    except OSError as error:
        raise BundleMalformed(f"{path} cannot be read: {error.strerror}", hint="check the path") from error
    if len(raw) > BUNDLE_BYTES_MAX:
        raise BundleTooLarge(
            f"{path} has more than {BUNDLE_BYTES_MAX} bytes", hint="build a smaller model, or check the path"
        )
    return raw
