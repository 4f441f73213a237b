"""The machine: folder, medium, clock, memory, and files that should be private."""

import ctypes
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from edge_agent.credentials import is_credential
from edge_agent.errors import SettingsError
from edge_agent.settings import Settings
from edge_agent.shell.clock import local_hours, wall_ms
from edge_agent.shell.doctor.check import Check, fail, failed, ok, warn
from firmware_configs.profile import Device

RELEASED_MS = 1_767_225_600_000
"""2026-01-01: this software is younger than any clock that says less."""
FREE_MIN_MIB = 16
SYNC_TRIES = 7
SYNC_SLOW_MS = 50.0
TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronised."""


def folder(state_dir: Path, device: Device) -> Iterator[Check]:
    """Whether the agent may live there."""
    if not state_dir.exists():
        parent = next(up for up in (state_dir, *state_dir.parents) if up.exists())
        if os.access(parent, os.W_OK):
            yield ok("folder", f"{state_dir} will be made at the first start")
        else:
            yield fail("folder", f"{state_dir} cannot be made in {parent}", _MAKE.format(state_dir))
        return
    if not state_dir.is_dir():
        yield fail("folder", f"{state_dir} is no folder", "name another state_dir")
        return
    if os.statvfs(state_dir).f_flag & os.ST_RDONLY:
        yield fail("folder", f"{state_dir} is on a read-only medium", "mount it writable; until then nothing is kept")
        return
    if not os.access(state_dir, os.R_OK | os.W_OK | os.X_OK):
        yield fail("folder", f"user {os.getuid()} may not write in {state_dir}", _MAKE.format(state_dir))
        return
    mode = state_dir.stat().st_mode & 0o777
    if mode & 0o007:
        yield warn("folder", f"{state_dir} is open to every user (mode {mode:03o})", f"chmod o-rwx {state_dir}")
    else:
        yield ok("folder", f"{state_dir} is ours (mode {mode:03o})")
    yield _space(state_dir, device)
    yield _speed(state_dir)


_MAKE = "install -d -m 700 -o USER {}   (USER: who runs the agent)"


def _space(state_dir: Path, device: Device) -> Check:
    free = shutil.disk_usage(state_dir).free / 2**20
    held = sum(file.stat().st_size for file in state_dir.rglob("*") if file.is_file()) / 2**20
    what = f"{free:,.0f} MiB free; the agent holds {held:,.0f} of {device.disk_mib_max} MiB"
    if free < FREE_MIN_MIB:
        return fail("space", what, "free space; a full medium degrades the agent to memory")
    if free + held < device.disk_mib_max:
        return warn("space", what, "free space, or lower [device] disk_mib_max in the profile")
    return ok("space", what)


def _speed(state_dir: Path) -> Check:
    """What one wait for the medium costs: critical sources wait once a batch before they are acknowledged."""
    took = []
    with tempfile.TemporaryFile(dir=state_dir) as file:
        for _ in range(SYNC_TRIES):
            file.write(os.urandom(4_096))
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - started) * 1_000)
    what = f"fsync takes {statistics.median(took):.1f} ms (at most {max(took):.1f})"
    if statistics.median(took) > SYNC_SLOW_MS:
        return warn("disk speed", what, "a faster medium, or fewer sources with critical = true")
    return ok("disk speed", what)


def clock(settings: Settings, newest_ms: int) -> Iterator[Check]:
    """Whether this machine knows the time.

    Args:
        newest_ms: time of the newest committed row, unix ms; 0: none.
    """
    try:
        local_hours(settings.timezone)
    except SettingsError as error:
        yield failed("timezone", error)
    now_ms = wall_ms()
    told = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_ms / 1_000))
    if now_ms < RELEASED_MS:
        yield fail("clock", f"it says {told}", "set the clock: `timedatectl set-ntp true`, or a battery for the RTC")
    elif newest_ms > now_ms + 300_000:
        yield warn("clock", f"it says {told}, {(newest_ms - now_ms) / 1_000:,.0f} s before the newest row", _BACK)
    elif _synchronised() is False:
        yield warn("clock", f"it says {told}, but the system does not call it synchronised", _SYNC)
    else:
        yield ok("clock", f"it says {told}")


_BACK = "the clock was set back: see which of both is right; expiry and rate limits wait until it has caught up"
_SYNC = "run an NTP client (systemd-timesyncd or chrony) and let UDP port 123 out"


def _synchronised() -> bool | None:
    """What the kernel thinks of its clock; None where it cannot be asked."""
    try:
        # struct timex is about 200 bytes; its first field, modes = 0, only asks.
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != TIME_ERROR


def memory(device: Device, *, running: bool) -> Check:
    """Whether what the profile allows is there."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) / 1_024
    except (OSError, ValueError, StopIteration):
        return ok("memory", "this system does not say")
    what = f"{free:,.0f} MiB available; the profile allows the agent {device.memory_mib_max}"
    if not running and free < device.memory_mib_max:
        return warn("memory", what, "stop something else, or lower memory_mib_max and give smaller models")
    return ok("memory", what)


def secrets(settings: Settings) -> Iterator[Check]:
    """Whether keys and passwords are for their owner only."""
    named = {
        "broker.password_file": settings.broker.password_file,
        "broker.key": settings.broker.key,
        "broker.visit_key": settings.broker.visit_key,
        "superlink.node_key": settings.superlink.node_key,
        "smtp.password_file": settings.smtp.password_file,
        "smtp.addresses_file": settings.smtp.addresses_file,
        "push.token_file": settings.push.token_file,
        "push.addresses_file": settings.push.addresses_file,
    }
    for name, file in named.items():
        if not file:
            continue
        if is_credential(Path(file), os.environ):
            yield ok("secrets", f"{name} is a credential of systemd's")
            continue
        mode = Path(file).stat().st_mode & 0o777
        if mode & 0o077 and name.startswith(("smtp.", "push.")):
            yield fail("secrets", f"{name}: {file} can be read by others, so no letter leaves", f"chmod 600 {file}")
        elif mode & 0o027:
            yield warn("secrets", f"{name}: {file} can be read by others (mode {mode:03o})", f"chmod 600 {file}")
        elif not os.access(file, os.R_OK):
            yield fail("secrets", f"{name}: user {os.getuid()} may not read {file}", f"chown USER {file}")
        else:
            yield ok("secrets", f"{name} is private")
