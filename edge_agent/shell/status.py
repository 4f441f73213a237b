"""What `edge-agent status` tells: the committed state, and a running agent's vital signs beside it."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from edge_agent.shell import database
from edge_agent.shell.vitals import Vitals, ask


class Round(Struct, frozen=True, kw_only=True):
    """The newest federated round that was offered to this device."""

    run: str = ""
    state: str = ""
    """running, sent, interrupted, or the code of what kept the device from it."""


class Disk(Struct, frozen=True, kw_only=True):
    """Bytes on the medium."""

    database_bytes: int
    log_bytes: int
    """SQLite's write-ahead log, folded back now and then."""
    bundles_bytes: int
    free_bytes: int
    """Left on the medium for everybody."""


class Report(Struct, frozen=True, kw_only=True):
    """The whole of `edge-agent status --json`."""

    running: bool
    """Whether an agent answers in this folder; without one, `live` is null and the rest is what was committed."""
    live: Vitals | None
    schema: int
    bundles: dict[str, str]
    """Bundle → version that is active."""
    round: Round
    counters: dict[str, int]
    """Everything counted since the first start: events, decisions, rejections by code, duplicates, …"""
    subjects: int
    """Profiles held."""
    rows: dict[str, int]
    """Decisions, examples and recorded events held."""
    waiting: int
    """Messages in the outbox: committed, not yet acknowledged by the broker."""
    ledger_entries: int
    disk: Disk
    database_bytes: int


def read(state_dir: Path) -> Report:
    """The report on an agent's folder.

    Raises:
        StoreUnavailable, StoreCorrupt, SchemaTooNew
    """
    path = state_dir / database.FILE
    connection = database.open_readable(path)

    def one(statement: str) -> int:
        return int(connection.execute(statement).fetchone()[0])

    meta = dict(connection.execute("SELECT key, value FROM state WHERE room = 'meta'").fetchall())
    rows = dict(connection.execute("SELECT shelf, count(*) FROM shelf GROUP BY shelf").fetchall())
    waiting, subjects = (
        one("SELECT count(*) FROM outbox"),
        one("SELECT count(*) FROM state WHERE room = 'profile'"),
    )
    schema = one("PRAGMA user_version")
    entries = one("SELECT coalesce(max(seq), 0) FROM ledger") if schema > 1 else 0
    connection.close()
    live = ask(state_dir)
    counters = msgspec.msgpack.decode(meta["counters"], type=dict[str, int]) if "counters" in meta else {}
    run, state = msgspec.msgpack.decode(meta["run"], type=tuple[str, str]) if "run" in meta else ("", "")
    disk = _disk(state_dir)
    return Report(
        running=live is not None,
        live=live,
        schema=schema,
        bundles={key.split(":", 1)[1]: value.decode() for key, value in meta.items() if key.startswith("bundle:")},
        round=Round(run=run, state=state),
        counters=live.counters if live is not None else counters,
        subjects=subjects,
        rows=rows,
        waiting=waiting,
        ledger_entries=entries,
        disk=disk,
        database_bytes=disk.database_bytes,
    )


def status(state_dir: Path) -> dict[str, Any]:
    """`read` as plain values."""
    found: dict[str, Any] = msgspec.to_builtins(read(state_dir))
    return found


def _disk(state_dir: Path) -> Disk:
    log = state_dir / f"{database.FILE}-wal"
    bundles = (file.stat().st_size for file in (state_dir / "bundles").glob("*") if file.is_file())
    return Disk(
        database_bytes=(state_dir / database.FILE).stat().st_size,
        log_bytes=log.stat().st_size if log.exists() else 0,
        bundles_bytes=sum(bundles),
        free_bytes=shutil.disk_usage(state_dir).free,
    )


def in_words(found: Report) -> list[str]:
    """The report for people."""
    lines = _live_words(found.live) if found.live is not None else ["agent      not running; this is what it committed"]
    lines.append(f"bundles    {', '.join(f'{n} {v}' for n, v in found.bundles.items()) or 'none'}")
    lines.append(f"round      {found.round.run or 'none yet'} {found.round.state}")
    lines.append(f"waiting    {found.waiting} messages for the broker")
    lines.append(f"holds      {found.subjects} profiles, {found.rows.get('example', 0)} examples")
    disk = found.disk
    own, bundles, free = disk.database_bytes + disk.log_bytes, disk.bundles_bytes, disk.free_bytes
    lines.append(f"disk       {_mib(own)} MiB database, {_mib(bundles)} MiB bundles, {_mib(free)} MiB free")
    return lines + [f"{name:<28} {count:>10,}" for name, count in sorted(found.counters.items())]


def _live_words(live: Vitals) -> list[str]:
    hours, rest = divmod(int(live.uptime_s), 3_600)
    up = f"{hours} h {rest // 60:02d} min {rest % 60:02d} s"
    lines = [
        f"agent      {live.agent} as {live.device}, process {live.pid}, up {up}",
        f"profile    {live.profile} {live.profile_hash[:12]}",
        f"broker     {live.line.url} {live.line.state}",
    ]
    if live.line.code:
        lines += [f"           [{live.line.code}] {live.line.what}", f"           fix: {live.line.fix}"]
    if live.store.degraded:
        lines.append(f"degraded   {live.store.degraded}; {live.store.backlog_bytes:,} bytes wait in memory")
    over = " (above the profile's limit)" if live.memory_mib > live.memory_mib_max else ""
    lines.append(f"memory     {live.memory_mib:g} of {live.memory_mib_max} MiB{over}")
    for placement, lag in live.signal_to_decision_ms.items():
        own = live.arrival_to_decision_ms.get(placement, lag)
        lines.append(
            f"lag        {placement}: half within {lag.p50_ms:,.3g} ms of the signal, 99 % within "
            f"{lag.p99_ms:,.3g} ms; of its arrival {own.p50_ms:,.3g} and {own.p99_ms:,.3g} ms ({lag.count:,} decisions)"
        )
    lines.append(f"wear       {live.written_bytes_per_1000_events:,.0f} bytes written per 1,000 events")
    return lines


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f}"
