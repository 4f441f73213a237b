"""The daemon's start: settings, profile, loop, and nothing that these do not need."""

import contextlib
import gc
import os
import sys
from pathlib import Path

from firmware_configs.errors import EdgeError


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
    from firmware_configs.loader import load

    settings = load_settings(settings_path, os.environ)
    chosen = profile or (Path(settings.profile) if settings.profile else None)
    if chosen is None:
        raise SettingsError("no device profile", hint="pass --profile FILE, or set profile in agent.toml")
    try:
        loop = Loop(settings, load(chosen))
        gc.freeze()
        gc.enable()
        loop.run()
    except StoreCorrupt:
        # The next start takes over what can be read; this process may hold more that is not true.
        with contextlib.suppress(OSError):
            suspect(Path(settings.state_dir) / FILE).touch()
        raise


def start_plainly(settings_path: str = "", profile: str = "") -> int:
    """`start` without click around it; returns the exit code."""
    path = settings_path or os.environ.get("EDGE_AGENT_SETTINGS", "") or "agent.toml"
    try:
        start(Path(path), Path(profile) if profile else None)
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0
