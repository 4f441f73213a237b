"""The updater: fetches a bundle, a profile or experiments through TUF, tries it, and hands the file to the agent.

Everything that the network says is checked against the root that the device was given (`edge_agent/shell/trust.py`).
Only then the file is opened: a bundle in a probe process, a document by the profile's own reader.
"""

import errno
import hashlib
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Final

from packaging.version import InvalidVersion, Version
from tuf.api.metadata import TargetFile

from edge_agent.errors import (
    BundleUnavailable,
    DiskFull,
    FleetForbidden,
    OversizeRefused,
    ProbeFailed,
    TargetInvalid,
    UpdateError,
)
from edge_agent.shell.attested import check_attestation
from edge_agent.shell.download import Line, Pace
from edge_agent.shell.pipe import Ended, Fetched, FetchTask, ProbeTask, parent_line
from edge_agent.shell.probing import probed
from edge_agent.shell.trust import Trust
from firmware_configs import targets
from firmware_configs.errors import EdgeError

BUNDLE_BYTES_MAX: Final = 256 * 1024 * 1024
SPARE_BYTES: Final = 8 * 1024 * 1024
"""Disk that stays free beside a fetched bundle."""
_NAME = re.compile(r"^[a-z][a-z0-9-]{0,62}$")


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
    except OSError as error:
        code = DiskFull.code if error.errno == errno.ENOSPC else UpdateError.code
        line.send(Ended(code=code, reason=f"{type(error).__name__}: {error}"))
        return
    except Exception as error:  # noqa: BLE001 - the process's last line: whatever it was, the agent is told
        line.send(Ended(code=UpdateError.code, reason=f"{type(error).__name__}: {error}"))
        return
    line.send(fetched)
    line.send(Ended())


def fetch(task: FetchTask) -> Fetched:
    """Fetch, verify and try.

    Raises:
        UpdateError: each reason has its own class, see `edge_agent.errors`.
    """
    _refuse_invalid(task)
    folder = Path(task.bundles_dir)
    folder.mkdir(parents=True, exist_ok=True)
    trust = opened(task)
    trust.refresh()
    if task.kind != "bundle":
        from edge_agent.shell.documents import fetch_document

        return fetch_document(trust, task)
    draft = folder / f".{task.name}-{task.version}{targets.BUNDLE}.part"
    target = folder / f"{task.name}-{task.version}{targets.BUNDLE}"
    signed = find(trust, task, targets.bundle(task.name, task.version), BUNDLE_BYTES_MAX)
    check_attestation(trust, task.name, task.version, signed, folder, needed=task.attested)
    found = next((path for path in (target, draft) if trust.is_held(signed, path)), draft)
    if not trust.is_held(signed, found):
        refuse_full(folder, draft, signed)
        trust.bring(signed, draft)
    try:
        holds = f"{task.name} {task.version}"
        probed(ProbeTask(path=str(found), backend=task.backend, memory_mib=task.memory_mib, holds=holds))
    except ProbeFailed:
        draft.unlink(missing_ok=True)
        raise
    settle(found, target)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    return Fetched(name=task.name, version=task.version, path=str(target), sha256=digest)


def opened(task: FetchTask) -> Trust:
    """The registry, as this device believes it so far."""
    line = Line(task.ca, lambda: Pace(task.rate_max, task.rate_min, task.patience_s))
    return Trust(Path(task.trust_dir), task.registry, line, task.not_before_ms)


def find(trust: Trust, task: FetchTask, path: str, bytes_max: int) -> TargetFile:
    """What was signed under a path, when this device may have it.

    Raises:
        BundleUnavailable: nothing. OversizeRefused: too much. FleetForbidden: for others.
    """
    found = trust.find(path)
    if found is None:
        raise BundleUnavailable(
            f"the registry has no {path} that its role has signed", hint="publish it: edge-coordinator registry publish"
        )
    if found.length > bytes_max:
        raise OversizeRefused(f"{path} has {found.length} bytes; at most {bytes_max} are taken", hint="shrink it")
    custom = found.custom if isinstance(found.custom, dict) else {}
    fleets = custom.get("fleets") or [task.fleet]
    if task.fleet not in fleets:
        raise FleetForbidden(
            f"{path} is for {', '.join(map(str, fleets))}, and this device is of the fleet `{task.fleet}`",
            hint="deploy a version that is published for this fleet",
        )
    return found


def refuse_full(folder: Path, part: Path, signed: TargetFile) -> None:
    """Refuse what the disk has no room for, before a byte of it is asked for.

    Raises:
        DiskFull: so much is missing.
    """
    free = shutil.disk_usage(folder).free
    left = signed.length - (part.stat().st_size if part.exists() else 0)
    if free < left + SPARE_BYTES:
        raise DiskFull(f"{free} bytes are free, {signed.path} needs {left}", hint=f"make room in {folder}")


def settle(found: Path, target: Path) -> None:
    """Give a verified file its name; after that a power cut cannot take it away."""
    found.replace(target)
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_invalid(task: FetchTask) -> None:
    try:
        plain = str(Version(task.version)) == task.version
    except InvalidVersion:
        plain = False
    if not plain or not _NAME.match(task.name) or (task.fleet and not _NAME.match(task.fleet)):
        raise TargetInvalid(
            f"`{task.name}` `{task.version}` cannot be a name and a version", hint="names are a-z, 0-9 and -; PEP 440"
        )


if __name__ == "__main__":
    main()
