"""Where a process of virtual devices has its profile and bundles from: this machine's disk, or what was carried to it.

Paths name them in both cases. Whoever is carried something never opens one: a machine of a cluster has no such files.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from firmware_configs import strict
from firmware_configs.errors import ProfileUnreadable
from firmware_configs.loader import Loaded, parse
from firmware_configs.loader import load as load_profile
from firmware_configs.virtual import World
from models import archive
from models.bundle import SUFFIX, Bundle, bundle_of, open_bundle
from models.datasets import Rating, ratings_of, read_ratings, read_text
from models.errors import BundleMalformed

Ref = TypeVar("Ref")


class Files(Protocol):
    """Reads what a world is made of."""

    def profile(self, path: str) -> Loaded:
        """Raises `firmware_configs.errors.ProfileError`."""

    def bundle(self, path: str) -> Bundle:
        """Raises `models.errors.ModelError`."""

    def ratings(self, path: str) -> list[Rating]:
        """Raises `models.errors.DatasetInvalid`."""


class Disk:
    """Of this machine."""

    def profile(self, path: str) -> Loaded:
        """See `Files`."""
        return load_profile(Path(path))

    def bundle(self, path: str) -> Bundle:
        """See `Files`."""
        return open_bundle(Path(path))

    def ratings(self, path: str) -> list[Rating]:
        """See `Files`."""
        return read_ratings(Path(path))


class Carried(Generic[Ref]):
    """What came with a task: references, each looked up when its bytes are needed, once a process."""

    def __init__(self, fetch: Callable[[Ref], bytes]) -> None:
        """Set up.

        Args:
            fetch: reference → the bytes.
        """
        self._fetch = fetch
        self._refs: dict[str, Ref] = {}

    def take(self, refs: Mapping[str, Ref]) -> None:
        """The references of the newest task, by path; later versions of bundles are among them."""
        self._refs |= refs

    def _read(self, path: str) -> bytes:
        if path not in self._refs:
            raise BundleMalformed(f"{path} did not come with the task", hint="give each simulation an --out of its own")
        return self._fetch(self._refs[path])

    def profile(self, path: str) -> Loaded:
        """See `Files`."""
        return parse(self._read(path).decode(), path)

    def bundle(self, path: str) -> Bundle:
        """See `Files`."""
        return bundle_of(self._read(path), Path(path))

    def ratings(self, path: str) -> list[Rating]:
        """See `Files`."""
        return ratings_of(self._read(path).decode(), Path(path))


class Carrier(Generic[Ref]):
    """Puts a world's files where all machines can fetch them, and keeps up with the folder that rounds write into.

    Attributes:
        refs: path → reference.
    """

    def __init__(self, world: World, put: Callable[[bytes], Ref]) -> None:
        """Read the profile, the bundles and the cohort.

        Args:
            put: bytes → a reference that travels.
        Raises:
            EdgeError: one of them cannot be read.
        """
        self._put, self._folder = put, Path(world.folder)
        text = strict.read_text(Path(world.profile), ProfileUnreadable)
        self.refs = {world.profile: put(text.encode())}
        for path in world.bundles:
            self.refs[path] = put(archive.read_limited(Path(path)))
        if world.cohort:
            self.refs[world.cohort] = put(read_text(Path(world.cohort)).encode())
        # What an earlier simulation left there is no version of this one.
        self._seen = self._found()

    def _found(self) -> dict[Path, tuple[int, int, int]]:
        stats = {path: path.stat() for path in sorted(self._folder.glob(f"*{SUFFIX}"))}
        return {path: (one.st_ino, one.st_mtime_ns, one.st_size) for path, one in stats.items()}

    def keep_up(self) -> None:
        """Put what was written into the folder since the last time.

        Raises:
            BundleMalformed: it cannot be read.
        """
        found = self._found()
        for path, state in found.items():
            if self._seen.get(path) != state:
                self.refs[str(path)] = self._put(archive.read_limited(path))
        self._seen = found
