"""All checks in the order in which one mends things: settings first, then the machine, then the line and the models."""

import os
from collections.abc import Iterator
from pathlib import Path

from edge_agent.settings import Settings
from edge_agent.settings import load as load_settings
from edge_agent.shell.doctor import bundles, device, line, state
from edge_agent.shell.doctor.check import Check, fail, failed, ok
from edge_agent.shell.vitals import ask
from firmware_configs.errors import EdgeError
from firmware_configs.loader import load
from firmware_configs.messages import Topics
from firmware_configs.profile import Profile


def examine(settings_path: Path, profile_path: Path | None) -> Iterator[Check]:
    """Check after check, each as soon as it is known.

    Args:
        settings_path: agent.toml; EDGE_AGENT_* variables count, as they do for the agent.
        profile_path: overrides the settings' own.
    """
    try:
        settings = load_settings(settings_path, os.environ)
    except EdgeError as error:
        yield failed("settings", error)
        return
    yield ok("settings", f"{settings_path}, device {settings.device}")
    chosen = profile_path or (Path(settings.profile) if settings.profile else None)
    if chosen is None:
        yield fail("profile", "there is none", "set profile in agent.toml, or pass --profile FILE")
        return
    try:
        loaded = load(chosen)
    except EdgeError as error:
        yield failed("profile", error)
        return
    profile = loaded.profile
    yield ok("profile", f"{profile.name} {profile.version} ({loaded.hash[:12]})")
    yield from _with_profile(settings, profile)


def _with_profile(settings: Settings, profile: Profile) -> Iterator[Check]:
    folder = Path(settings.state_dir)
    live = ask(folder) if folder.is_dir() else None
    if live is not None:
        yield ok("agent", f"runs as process {live.pid}, up {live.uptime_s:.0f} s, {live.memory_mib:g} MiB")
    else:
        yield ok("agent", "does not run here now")
    held = state.Held()
    yield from device.folder(folder, profile.device)
    yield from state.state(folder, held)
    yield from device.clock(settings, held.newest_ms)
    yield device.memory(profile.device, running=live is not None)
    yield from device.secrets(settings)
    yield from line.certificates(settings)
    yield from line.broker(settings, _filters(settings, profile), live)
    yield from line.ports(settings)
    yield from bundles.runtimes(profile)
    yield from bundles.models(settings, profile, held.bundles)


def _filters(settings: Settings, profile: Profile) -> list[str]:
    own = Topics(settings.device)
    sources = [source.topic.replace("{device}", settings.device) for source in profile.source]
    return [own.of("feedback"), own.of("consent", "+"), own.of("request", "+"), own.of("desired"), *sources]
