"""Old versions and old metadata go; what a device runs, or would go back to, stays."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct

from coordinator.registry import garbage
from coordinator.shell.registry_store import Registry
from coordinator.shell.rollout_store import RolloutStore
from firmware_configs.messages import Desired, Reported

METADATA_KEPT: Final = 8
"""Versions of each role's metadata that stay: a reader that is under way asks for the one it was led to."""


class Swept(Struct, frozen=True, kw_only=True):
    """What went, or would."""

    versions: list[tuple[str, str]]
    files: int
    bytes: int
    dry_run: bool
    missing: dict[str, int] = {}
    """Role → signatures that are missing before the versions are gone; their files stay until then."""


def in_use(desired: Iterable[Desired], reported: Iterable[Reported]) -> set[tuple[str, str]]:
    """(bundle, version) that a device is wanted to run, runs, or has on trial."""
    wanted = {pair for one in desired for pair in one.bundles.items()}
    told = {
        (name, version)
        for one in reported
        for name, state in one.bundles.items()
        for version in (state.version, state.serving)
        if version
    }
    return wanted | told


def returned_to(home: Path) -> set[tuple[str, str]]:
    """(bundle, version) that a rollout brings out, or would return a device to."""
    store = RolloutStore(home)
    try:
        rollouts = store.all()
    finally:
        store.close()
    brought = {(one.plan.bundle, one.plan.version) for one in rollouts}
    return brought | {(one.plan.bundle, member.before) for one in rollouts for member in one.members.values()}


def sweep(registry: Registry, keep: int, needed: Collection[tuple[str, str]], *, dry_run: bool) -> Swept:
    """Collect the garbage.

    Args:
        keep: newest versions of each bundle that stay in any case.
        needed: see `in_use`.
    """
    published: dict[str, list[str]] = {}
    for target in registry.published():
        published.setdefault(target.bundle, []).append(target.version)
    gone = garbage(published, keep, needed)
    files = [path for path in (registry.find(*pair) for pair in gone) if path is not None]
    with registry.alone():
        missing = registry.remove(gone) if gone and not dry_run else {}
        files = sorted({*files, *_unreferenced(registry)}) if not missing else []
        size = sum(path.stat().st_size for path in files)
        if not dry_run:
            for path in files:
                path.unlink()
    return Swept(versions=gone, files=len(files), bytes=size, dry_run=dry_run, missing=missing)


def _unreferenced(registry: Registry) -> list[Path]:
    """Files of targets that nothing leads to, and metadata that no reader can still be led to."""
    waiting = registry.repository.waiting().values()
    everything = [
        *registry.repository.everything().values(),
        *(d.signed for d in waiting if hasattr(d.signed, "targets")),
    ]
    led_to = {registry.file_of(file) for signed in everything for file in signed.targets.values()}
    found = [path for path in registry.targets.rglob("*") if path.is_file() and path not in led_to]
    by_role: dict[str, list[tuple[int, Path]]] = {}
    for path in registry.metadata.glob("[0-9]*.*.json"):
        number, role, _ = path.name.split(".", 2)
        by_role.setdefault(role, []).append((int(number), path))
    for role, rows in by_role.items():
        if role != "root":  # a device that was away for years needs every root
            current = registry.repository.current(role).signed.version
            found += [path for number, path in rows if number < current - METADATA_KEPT]
    return found
