"""What the officer reads: the audit log, what was spent on privacy, what devices' ledgers say, what may leave."""

import datetime
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from coordinator.errors import LogDamaged, RegistryMissing
from coordinator.fleet.view import DeviceView
from coordinator.shell.dashboard.asking import Ask
from coordinator.shell.dashboard.pages.accounts import accounts
from coordinator.shell.dashboard.trail import Trail
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.quarantine_store import QuarantineStore
from coordinator.shell.registry_store import Registry
from coordinator.shell.rollout_store import RolloutStore
from firmware_configs.errors import EdgeError
from firmware_configs.ledger import DAY_MS, Seal
from firmware_configs.loader import parse
from firmware_configs.report import wording

ROWS = 300
DEVICES = 500
SOURCES = ("dashboard", "rollouts", "devices", "registry")


class Line(Struct, frozen=True, kw_only=True):
    """One thing that somebody did, wherever it was written down."""

    at_ms: int
    source: str
    who: str
    did: str
    what: str
    why: str = ""


def audit(ask: Ask) -> dict[str, Any]:
    """Who did what, newest first: on the dashboard, to rollouts, to devices, in the registry."""
    source = ask.query.get("source", "")
    looks = ask.query.get("looks", "") == "yes"
    trail = Trail(ask.home)
    found = [
        Line(
            at_ms=one.deed.at_ms,
            source="dashboard",
            who=f"{one.deed.who or 'nobody'}{f' ({one.deed.role})' if one.deed.role else ''}",
            did=one.deed.did,
            what=one.deed.what,
            why=one.deed.why,
        )
        for one in trail.newest(ROWS, looks=looks)
    ]
    found += [*_rollouts(ask.home), *_devices(ask.home), *_registry(ask.home)]
    chosen = [line for line in found if source in {"", line.source}]
    chosen.sort(key=lambda line: line.at_ms, reverse=True)
    return {
        "lines": chosen[:ROWS],
        "more": max(0, len(chosen) - ROWS),
        "sources": SOURCES,
        "source": source,
        "looks": looks,
        "chains": _chains(ask.home, trail),
    }


def _rollouts(home: Path) -> list[Line]:
    store = RolloutStore(home)
    try:
        return [
            Line(
                at_ms=entry.note.at_ms,
                source="rollouts",
                who=entry.note.who,
                did=entry.note.what,
                what=one.key,
                why=entry.note.why,
            )
            for one in store.all()
            for entry in store.log(one.key)
        ]
    finally:
        store.close()


def _devices(home: Path) -> list[Line]:
    """Quarantine, and devices that were let in or put out."""
    lines = [
        Line(at_ms=one.time_ms, source="devices", who=one.by, did=one.what, what=one.device, why=one.reason)
        for one in QuarantineStore(home).audit()
    ]
    for view in FleetStore(home).views():
        lines.append(Line(at_ms=view.enrolled_ms, source="devices", who="coordinator", did="enrolled", what=view.name))
        if view.wished_ms:
            did = f"wanted revision {view.desired.revision}"
            lines.append(Line(at_ms=view.wished_ms, source="devices", who="coordinator", did=did, what=view.name))
    return lines


def _registry(home: Path) -> list[Line]:
    """What is published, by the time at which its file was laid down: the signed metadata keep no other."""
    try:
        own = Registry.existing(home)
    except RegistryMissing:
        return []
    lines = []
    for target in own.published():
        path = own.find(target.bundle, target.version)
        lines += _published(f"{target.bundle} {target.version}", path)
    for file in own.documents():
        lines += _published(file.path, own.file_of(file))
    return lines


def _published(what: str, path: Path | None) -> list[Line]:
    if path is None or not path.exists():
        return []
    at_ms = int(path.stat().st_mtime * 1_000)
    return [Line(at_ms=at_ms, source="registry", who="coordinator", did="published", what=what)]


def _chains(home: Path, trail: Trail) -> list[dict[str, str]]:
    """Each log that is chained: whole, with its newest hash, or damaged, and where."""
    found = [{"log": "dashboard", **_verified(trail.verify)}]
    store = RolloutStore(home)
    try:
        found += [{"log": f"rollout {one.key}", **_verified(partial(store.verify, one.key))} for one in store.all()]
    finally:
        store.close()
    return found


def _verified(verify: Callable[[], str]) -> dict[str, str]:
    try:
        return {"head": verify(), "damage": ""}
    except LogDamaged as error:
        return {"head": "", "damage": error.what}


def privacy(ask: Ask) -> dict[str, Any]:
    """ε by bundle and population, devices' ledgers, and what each profile lets out."""
    views = [view for view in FleetStore(ask.home).views() if not view.revoked]
    ledgers = [ledger(view) for view in views]
    return {
        **accounts(ask),
        "ledgers": ledgers[:DEVICES],
        "ledgers_more": max(0, len(ledgers) - DEVICES),
        "sealed": sum(bool(one["day"]) for one in ledgers),
        "profiles": profiles(ask.home, views),
    }


def ledger(view: DeviceView) -> dict[str, Any]:
    """What a device last said of its egress ledger: the newest row's hash, and the newest day that it sealed."""
    found = {"device": view.name, "head": view.reported.ledger_head if view.reported is not None else ""}
    found |= {"day": "", "rows": 0, "root": "", "signed": False}  # type: ignore[dict-item]
    packed = view.status.ledger_seal if view.status is not None else b""
    try:
        seal = msgspec.msgpack.decode(packed, type=Seal)
    except msgspec.MsgspecError:
        return found
    if seal.device != view.name or not 0 <= seal.day < 100_000:
        return found
    day = datetime.datetime.fromtimestamp(seal.day * DAY_MS / 1_000, datetime.UTC).date().isoformat()
    rows = max(0, seal.last - seal.first + 1)
    return {**found, "day": day, "rows": rows, "root": seal.root, "signed": bool(seal.signature)}


def profiles(home: Path, views: list[DeviceView]) -> list[dict[str, Any]]:
    """What each profile of the registry lets out, in the auditor's words, and who says to run it."""
    try:
        own = Registry.existing(home)
        files = [file for file in own.documents() if file.path.endswith(".toml")]
    except RegistryMissing:
        return []
    found = []
    for file in files:
        try:
            loaded = parse(own.file_of(file).read_text(), file.path)
        except (EdgeError, OSError, UnicodeDecodeError):
            continue  # experiments are no profile
        profile = loaded.profile
        found.append(
            {
                "name": profile.name,
                "version": profile.version,
                "path": file.path,
                "hash": loaded.hash,
                "devices": sum(bool(view.profile) and loaded.hash.startswith(view.profile) for view in views),
                "egress": [
                    {
                        "kind": one.kind,
                        "what": wording.KINDS[one.kind][0],
                        "to": wording.KINDS[one.kind][1],
                        "bytes_day_max": one.bytes_day_max,
                        "purposes": one.purposes,
                        "protection": wording.protection(one),
                    }
                    for one in profile.egress
                ],
            }
        )
    return found
