"""What steps pass on: files by name, their hashes, and the cache on disk.

An entry of the cache is a folder that appears whole or not at all, so a run that was killed goes on where it stopped.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from models.errors import PipelineInvalid

Files = Mapping[str, bytes]


def digest(files: Files) -> str:
    """sha256, hex, of names and contents, whatever their order."""
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(f"{len(name)}:{name}:{len(files[name])}:".encode())
        whole.update(files[name])
    return whole.hexdigest()


def unfold(files: Files, folder: Path) -> None:
    """Write the files under `folder`.

    Raises:
        PipelineInvalid: a name that leads out of it.
    """
    for name, content in files.items():
        target = folder / name
        if not target.resolve().is_relative_to(folder.resolve()):
            raise PipelineInvalid(f"a step made a file named {name!r}", hint="names stay within the folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


class Cache:
    """Results of steps by key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> dict[str, bytes] | None:
        """What a step made under this key, once its bytes are the ones that were put; None: run the step."""
        entry = self._folder / key
        try:
            wanted = (entry / "digest").read_text(encoding="ascii")
            found = {
                str(path.relative_to(entry / "files")): path.read_bytes()
                for path in sorted((entry / "files").rglob("*"))
                if path.is_file()
            }
        except (OSError, UnicodeDecodeError):
            return None
        return found if digest(found) == wanted else None

    def put(self, key: str, files: Files) -> None:
        """Keep what a step made; an entry that is damaged is replaced."""
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".part-", dir=self._folder))
        try:
            (draft / "files").mkdir()
            unfold(files, draft / "files")
            (draft / "digest").write_text(digest(files), encoding="ascii")
            if (self._folder / key).exists():
                shutil.rmtree(self._folder / key)
            draft.rename(self._folder / key)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
