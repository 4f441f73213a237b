"""The daemon's start: settings, profile, loop, and nothing that these do not need."""

import contextlib
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from firmware_configs.errors import EdgeError

if TYPE_CHECKING:
    from firmware_configs.loader import Loaded


def start(settings_path: Path, profile: Path | None) -> None:
    """Run the agent until SIGTERM.

    Args:
        settings_path: agent.toml; EDGE_AGENT_* variables override it.
        profile: overrides the settings' own.
    Raises:
        EdgeError: it cannot start.
    """
    # What is made from here to the first turn lives as long as the process: looking through it again and again for
    # garbage costs a tenth of the start, and later a pause for every full collection.
    gc.disable()
    # numpy's linear algebra would start a thread for each processor, which spin while we start (half of its CPU) and
    # have nothing to do later: models run on their own runtime.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from edge_agent.shell.postponed import LATER, postpone

    for name in LATER:
        postpone(name)
    from edge_agent.errors import SettingsError, StoreCorrupt
    from edge_agent.settings import load as load_settings
    from edge_agent.shell.database import FILE, suspect
    from edge_agent.shell.run import Loop
    from edge_agent.shell.wish import waiting
    from firmware_configs.loader import load

    settings = load_settings(settings_path, os.environ)
    if not settings.core_dumps:
        from edge_agent.shell import dumps

        dumps.forbid()
    chosen = profile or (Path(settings.profile) if settings.profile else None)
    if chosen is None:
        raise SettingsError("no device profile", hint="pass --profile FILE, or set profile in agent.toml")
    state_dir = Path(settings.state_dir)
    staged = profile is None and (state_dir / "profiles" / "slot.json").exists()
    if eraser_waits := waiting(state_dir):
        from edge_agent.shell.eraser import send

        send(settings_path)
        eraser_waits = waiting(state_dir)
    try:
        loop = Loop(settings, _latest(state_dir, chosen) if staged else load(chosen))
        loop.unfulfilled = frozenset(eraser_waits)
        gc.freeze()
        gc.enable()
        loop.run()
        if loop.renewing:
            # The same process with another profile: whoever watches it sees no end.
            os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - it is this very program
    except StoreCorrupt:
        # The next start takes over what can be read; this process may hold more that is not true.
        with contextlib.suppress(OSError):
            suspect(Path(settings.state_dir) / FILE).touch()
        raise


def _latest(state_dir: Path, own: Path) -> "Loaded":
    """The profile that came from the registry; one that cannot be read gives way to the one before."""
    from edge_agent.shell import slots
    from firmware_configs.errors import ProfileError
    from firmware_configs.loader import load

    path = slots.choose(state_dir, own)
    try:
        return load(path)
    except ProfileError as error:
        if path == own:
            raise
        slots.give_up(state_dir, f"{error.code} {error.what}")
        return _latest(state_dir, own)


def start_plainly(settings_path: str = "", profile: str = "") -> int:
    """`start` without click around it; returns the exit code."""
    path = settings_path or os.environ.get("EDGE_AGENT_SETTINGS", "") or "agent.toml"
    try:
        start(Path(path), Path(profile) if profile else None)
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0
