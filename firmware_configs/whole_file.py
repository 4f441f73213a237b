"""Files that commands write: whole or not at all, and nothing but files is replaced."""

from pathlib import Path


def write(out: Path, raw: bytes, mode: int = 0o666) -> None:
    """Write the bytes: a file gets all of them at once; what is no file (`/dev/stdout`, a pipe) gets them as it stands.

    Args:
        out: where to; a link is followed.
        raw: all of it.
        mode: of a new file, before the umask.
    Raises:
        OSError: it cannot be written.
    """
    if out.exists() and not out.is_file():
        with out.open("wb") as opened:  # not replaced: as root that would leave a file where a device was
            opened.write(raw)
        return
    place = out.resolve()
    draft = place.with_name(f".{place.name}.part")
    draft.touch(mode=mode)
    draft.write_bytes(raw)
    draft.replace(place)
