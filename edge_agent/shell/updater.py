"""The updater: fetches one bundle through TUF, probes it, and hands the file to the agent.

Everything that the network says is checked by python-tuf against the root that the device was given: signatures,
versions that only rise, expiry, lengths and hashes. Only then the file is opened, in a probe process.
"""

import contextlib
import hashlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import urllib3
from tuf.api import exceptions
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from edge_agent.errors import (
    BundleUnavailable,
    DiskFull,
    MetadataExpired,
    ProbeFailed,
    RegistryUnreachable,
    RollbackRefused,
    SignatureRejected,
    UpdateError,
)
from edge_agent.shell.pipe import Ended, Fetched, FetchTask, ProbeTask, parent_line
from edge_agent.shell.probing import probed
from firmware_configs.errors import EdgeError

BUNDLE_BYTES_MAX: Final = 256 * 1024 * 1024
SPARE_BYTES: Final = 8 * 1024 * 1024
"""Disk that stays free beside a fetched bundle."""
CHUNK: Final = 65_536
TIMEOUT_S: Final = 15.0


class Fetcher(FetcherInterface):
    """HTTPS, trusting one certificate authority and nothing else."""

    def __init__(self, ca: str) -> None:
        self._pool = urllib3.PoolManager(
            cert_reqs="CERT_REQUIRED",
            ca_certs=ca or None,
            timeout=urllib3.Timeout(connect=TIMEOUT_S, read=TIMEOUT_S),
            retries=urllib3.Retry(total=3, backoff_factor=0.3, redirect=0, raise_on_status=False),
        )

    def _fetch(self, url: str) -> Iterator[bytes]:
        response = self._pool.request("GET", url, preload_content=False)
        if response.status != 200:
            response.release_conn()
            raise exceptions.DownloadHTTPError(f"{response.status} for {url}", response.status)
        return self._chunks(response)

    @staticmethod
    def _chunks(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        # python-tuf counts the bytes against the signed length and stops an endless download.
        yield from response.stream(CHUNK)
        response.release_conn()


def main() -> None:
    """Entry of the child process."""
    line = parent_line()
    task = line.receive()
    if not isinstance(task, FetchTask):
        sys.exit(2)
    try:
        fetched = fetch(task)
    except EdgeError as error:
        line.send(Ended(code=error.code, reason=f"{error.what}; fix: {error.hint}"))
        return
    except Exception as error:  # noqa: BLE001 - the process's last line: whatever it was, the agent is told
        line.send(Ended(code=UpdateError.code, reason=f"{type(error).__name__}: {error}"))
        return
    line.send(fetched)
    line.send(Ended())


def fetch(task: FetchTask) -> Fetched:
    """Fetch, verify and probe.

    Raises:
        UpdateError: each reason has its own class, see `edge_agent.errors`.
    """
    name = f"bundles/{task.name}-{task.version}.edgeward"
    draft = Path(task.bundles_dir) / f".{task.name}-{task.version}.edgeward.part"
    target = Path(task.bundles_dir) / f"{task.name}-{task.version}.edgeward"
    Path(task.bundles_dir).mkdir(parents=True, exist_ok=True)
    with named_errors(task.registry, name):
        found = download(task, name, draft, target)
    try:
        probed(ProbeTask(path=str(found), backend=task.backend, memory_mib=task.memory_mib))
    except ProbeFailed:
        draft.unlink(missing_ok=True)
        raise
    digest = hashlib.sha256(found.read_bytes()).hexdigest()
    found.replace(target)
    return Fetched(name=task.name, version=task.version, path=str(target), sha256=digest)


def download(task: FetchTask, name: str, draft: Path, held: Path) -> Path:
    """Where the verified target's bytes are: at `draft`, or where an earlier time left them, when they still are
    what is signed now."""
    base = task.registry.rstrip("/")
    updater = Updater(
        metadata_dir=task.trust_dir,
        metadata_base_url=f"{base}/metadata/",
        target_dir=task.bundles_dir,
        target_base_url=f"{base}/targets/",
        fetcher=Fetcher(task.ca),
        config=UpdaterConfig(prefix_targets_with_hash=True),
        bootstrap=None,
    )
    updater.refresh()
    info = updater.get_targetinfo(name)
    if info is None:
        raise BundleUnavailable(f"the registry has no {name}", hint="publish it: edge-coordinator registry publish")
    if info.length > BUNDLE_BYTES_MAX:
        raise BundleUnavailable(
            f"{name} has {info.length} bytes; at most {BUNDLE_BYTES_MAX} are taken", hint="shrink it"
        )
    for path in (held, draft):
        if updater.find_cached_target(info, str(path)) is not None:
            return path
    free = shutil.disk_usage(task.bundles_dir).free
    if free < info.length + SPARE_BYTES:
        raise DiskFull(f"{free} bytes are free, {name} needs {info.length}", hint=f"make room in {task.bundles_dir}")
    updater.download_target(info, str(draft))
    return draft


@contextlib.contextmanager
def named_errors(registry: str, name: str) -> Iterator[None]:
    """python-tuf's errors, by what the reader can do."""
    try:
        yield
    except exceptions.DownloadLengthMismatchError as error:
        raise SignatureRejected(
            f"{name}: longer than what was signed ({error})", hint="do not trust it; check the registry"
        ) from error
    except exceptions.DownloadError as error:
        status = getattr(error, "status_code", 0)
        if status in {403, 404} and "targets" in str(error):
            raise BundleUnavailable(f"{registry} does not serve {name}", hint="publish it again") from error
        raise RegistryUnreachable(
            f"{registry}: {error}", hint="check registry.url, registry.ca and the network"
        ) from error
    except exceptions.ExpiredMetadataError as error:
        hint = "is the device's clock right? else the registry must be refreshed: keep `edge-coordinator up` running"
        raise MetadataExpired(f"{registry}: {error}", hint=hint) from error
    except (exceptions.BadVersionNumberError, exceptions.EqualVersionNumberError) as error:
        raise RollbackRefused(
            f"{registry} offers older metadata: {error}", hint="restore the newest registry"
        ) from error
    except exceptions.RepositoryError as error:
        raise SignatureRejected(
            f"{registry}: {error}",
            hint="the registry was changed by someone without its keys, or registry.trusted_root is of another one",
        ) from error
    except OSError as error:
        if error.errno == 28:
            raise DiskFull(
                f"no space left for {name}", hint="make room, then the next `desired` tries again"
            ) from error
        raise RegistryUnreachable(
            f"{registry}: {error}", hint="check registry.trusted_root and the state folder"
        ) from error


if __name__ == "__main__":
    main()
