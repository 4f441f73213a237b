"""What this device believes of the registry: TUF by python-tuf, from the root that it was given.

Signatures, versions that only rise, expiry, lengths and hashes are python-tuf's. Added here: names for its errors, a
time that a clock that was set back cannot go behind, and a root to start from that no power cut can take away.
"""

import contextlib
import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tuf.api import exceptions
from tuf.api.metadata import Metadata, TargetFile
from tuf.ngclient import Updater, UpdaterConfig

from edge_agent.errors import (
    BundleUnavailable,
    DiskFull,
    MetadataExpired,
    RegistryUnreachable,
    RollbackRefused,
    SignatureRejected,
)
from edge_agent.shell.download import Line, named

ANCHOR: Final = "anchor.json"
"""The first root. python-tuf's own root.json is a link that is replaced in two steps; a power cut between them would
leave a device without any."""
SIGNED_AT: Final = "x-edgeward-signed"


class Trust:
    """One visit to the registry."""

    def __init__(self, folder: Path, registry: str, line: Line, not_before_ms: int) -> None:
        """Args:
        folder: where TUF's metadata is kept between visits.
        registry: HTTPS address.
        not_before_ms: unix ms that have passed for certain.
        Raises:
            SignatureRejected: there is no root to start from.
        """
        self._folder, self._registry, self._line = folder, registry.rstrip("/"), line
        self._not_before = datetime.datetime.fromtimestamp(not_before_ms / 1_000, datetime.UTC)
        self._updater = Updater(
            metadata_dir=str(folder),
            metadata_base_url=f"{self._registry}/metadata/",
            target_base_url=f"{self._registry}/targets/",
            fetcher=line,
            # Bytes: what does not end is given up there.
            config=UpdaterConfig(
                root_max_length=262_144,
                timestamp_max_length=16_384,
                snapshot_max_length=1_048_576,
                targets_max_length=4_194_304,
            ),
            bootstrap=anchor(folder),
        )

    def refresh(self) -> None:
        """Bring the metadata up to date.

        Raises:
            UpdateError: why not; what was believed before still is.
        """
        with self._named("the registry's metadata"):
            self._updater.refresh()
            for role in ("root", "timestamp", "snapshot", "targets"):
                self._refuse_expired(role)

    def find(self, path: str) -> TargetFile | None:
        """What was signed under a path; None: nothing."""
        with self._named(path):
            found = self._updater.get_targetinfo(path)
            for role in self.roles_of(path):
                if (self._folder / f"{role}.json").exists():
                    self._refuse_expired(role)
            return found

    def is_held(self, target: TargetFile, path: Path) -> bool:
        """Whether a file is what was signed."""
        return self._updater.find_cached_target(target, str(path)) is not None

    def bring(self, target: TargetFile, part: Path) -> None:
        """Download what is missing of a target, and compare the whole with what was signed.

        Raises:
            UpdateError: a `part` that is not what was signed is gone; one that is not complete stays.
        """
        folder, _, name = target.path.rpartition("/")
        url = f"{self._registry}/targets/{folder}/{target.hashes['sha256']}.{name}"
        try:
            with self._named(target.path):
                self._line.resume(url, part, target.length)
                with part.open("rb") as file:
                    target.verify_length_and_hashes(file)
        except SignatureRejected:
            part.unlink(missing_ok=True)
            raise

    def roles_of(self, path: str) -> list[str]:
        """The delegated roles that may sign for a path."""
        delegations = self._read("targets").signed.delegations
        return [name for name, _ in delegations.get_roles_for_target(path)] if delegations is not None else []

    def keys_of(self, role: str) -> tuple[list[Any], int]:
        """A delegated role's keys, and how many of them must sign."""
        targets = self._read("targets").signed
        held = targets.get_delegated_role(role)
        return [targets.get_key(keyid) for keyid in held.keyids], held.threshold

    def _read(self, role: str) -> "Metadata[Any]":
        return Metadata.from_bytes((self._folder / f"{role}.json").read_bytes())

    def _refuse_expired(self, role: str) -> None:
        """Expiry by a time that a clock that was set back cannot change: the newest that anyone has vouched for."""
        now = datetime.datetime.now(datetime.UTC)
        signed = self._read("timestamp").signed.unrecognized_fields.get(SIGNED_AT, "")
        with contextlib.suppress(ValueError, TypeError):
            now = max(now, datetime.datetime.fromisoformat(signed))
        now = max(now, self._not_before)
        held = self._read(role).signed
        if held.is_expired(now):
            raise exceptions.ExpiredMetadataError(f"{role} expired at {held.expires:%Y-%m-%d %H:%M}")

    @contextlib.contextmanager
    def _named(self, name: str) -> Iterator[None]:
        with named(self._registry, name), named_errors(self._registry, name):
            yield


@contextlib.contextmanager
def named_errors(registry: str, name: str) -> Iterator[None]:
    """python-tuf's errors, by what the reader can do."""
    try:
        yield
    except exceptions.DownloadHTTPError as error:
        if error.status_code in {403, 404} and "/targets/" in str(error):
            raise BundleUnavailable(f"{registry} does not serve {name}", hint="publish it again") from error
        raise RegistryUnreachable(f"{registry}: {error}", hint="check the registry's log") from error
    except exceptions.ExpiredMetadataError as error:
        hint = "is the device's clock right? else the registry must be refreshed: keep `edge-coordinator up` running"
        raise MetadataExpired(f"{registry}: {error}", hint=hint) from error
    except (exceptions.BadVersionNumberError, exceptions.EqualVersionNumberError) as error:
        raise RollbackRefused(
            f"{registry} offers metadata that is older, or of different times: {error}",
            hint="restore the newest registry",
        ) from error
    except exceptions.RepositoryError as error:
        raise SignatureRejected(
            f"{registry}: {error}",
            hint="the registry was changed by someone without its keys, or registry.trusted_root is of another one",
        ) from error
    except OSError as error:
        if error.errno == 28:
            raise DiskFull(f"no space left for {name}", hint="make room; it is tried again by itself") from error
        raise RegistryUnreachable(
            f"{registry}: {error}", hint="check registry.trusted_root and the state folder"
        ) from error


def anchor(folder: Path) -> bytes:
    """The root to start from, laid beside python-tuf's own files at the first visit.

    Raises:
        SignatureRejected: there is none.
        OSError: it cannot be laid down.
    """
    own = folder / ANCHOR
    for path in (own, folder / "root.json", *sorted((folder / "root_history").glob("*.root.json"))):
        try:
            raw = path.read_bytes()
        except OSError:
            continue
        if path != own:
            _lay(own, raw)
        return raw
    raise SignatureRejected("this device has no trusted root", hint="set registry.trusted_root in agent.toml")


def _lay(path: Path, raw: bytes) -> None:
    draft = path.with_name(f".{path.name}.part")
    with draft.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
