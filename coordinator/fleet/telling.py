"""Devices and findings for people and for JSON."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from coordinator.fleet.health import Finding, duration
from coordinator.fleet.shadow import differences
from coordinator.fleet.view import DeviceView
from firmware_configs.shown import line

FINDINGS_MAX = 100
"""Findings that are written out for people; JSON has all."""


def row(device: DeviceView) -> dict[str, Any]:
    """A device in a list."""
    return {
        "device": device.name,
        "presence": device.presence,
        "agent": device.agent,
        "profile": device.profile,
        "bundles": device.bundles,
        "learning": device.learning,
        "seen_ms": device.seen_ms,
        "in_sync": not differences(device.desired, device.reported),
        "tags": device.tags,
        "groups": list(device.groups),
    }


def table(devices: Sequence[DeviceView], now_ms: int) -> list[str]:
    """Lines with a heading."""
    lines = [f"{'device':<24} {'presence':<8} {'seen':>8} {'agent':<8} {'profile':<9} {'learning':<10} bundles, tags"]
    for one in devices:
        seen = duration(now_ms - one.seen_ms) if one.seen_ms else "never"
        runs = [f"{name} {version}" for name, version in sorted(one.bundles.items())]
        marks = [f"{key}={value}" for key, value in sorted(one.tags.items())] + [f"@{name}" for name in one.groups]
        behind = ["(not as wanted)"] if differences(one.desired, one.reported) else []
        lines.append(
            f"{one.name:<24} {one.presence:<8} {seen:>8} {one.agent or '-':<8} {one.profile[:8] or '-':<9} "
            f"{one.learning or '-':<10} {', '.join([*runs, *marks, *behind])}".rstrip()
        )
    return [line(one) for one in lines]


def whole(device: DeviceView) -> dict[str, Any]:
    """Everything that is known of a device."""
    return {
        **row(device),
        "node": str(device.node),
        "enrolled_ms": device.enrolled_ms,
        "said_by": device.said_by,
        "skew_ms": device.skew_ms,
        "certificate_ends_ms": device.certificate_ends_ms,
        "desired": msgspec.to_builtins(device.desired),
        "reported": msgspec.to_builtins(device.reported),
        "delta": msgspec.to_builtins(differences(device.desired, device.reported)),
        "counters": device.status.counters if device.status is not None else {},
    }


def in_words(device: DeviceView, now_ms: int) -> list[str]:
    """The same for people."""
    seen = f"{duration(now_ms - device.seen_ms)} ago" if device.seen_ms else "never"
    said = f", said by the {device.said_by}" if device.said_by else ""
    lines = [
        f"device       {device.name}, node {device.node}",
        f"presence     {device.presence}{said}; last heard {seen}",
        f"agent        {device.agent or 'not told'}, profile {device.profile or 'not told'}",
        f"enrolled     {when(device.enrolled_ms)}",
        f"certificate  {'until ' + when(device.certificate_ends_ms) if device.certificate_ends_ms else 'none of ours'}",
    ]
    if device.tags or device.groups:
        marks = [f"{key}={value}" for key, value in sorted(device.tags.items())] + [f"@{one}" for one in device.groups]
        lines.append(f"tags         {', '.join(marks)}")
    lines.append(f"wanted       revision {device.desired.revision}, written {when(device.wished_ms)}")
    lines += [f"             {name} {version}" for name, version in sorted(device.desired.bundles.items())]
    lines += [f"             {kind} {label}" for kind, label in sorted(device.desired.documents.items())]
    lines += [f"             window {text}" for text in device.desired.maintenance]
    if device.reported is not None:
        lines.append(f"reported     revision {device.reported.revision}, {device.learning or 'not learning'}")
        for name, state in sorted(device.reported.bundles.items()):
            lines.append(f"             {name} {state.version} {state.state} {state.reason}".rstrip())
        for kind, state in sorted(device.reported.documents.items()):
            lines.append(f"             {kind} {state.version} {state.state} {state.reason}".rstrip())
    found = differences(device.desired, device.reported)
    lines.append(f"differs      {'nothing' if not found else f'{len(found)} things'}")
    lines += [
        f"             {d.what}: wanted {d.wanted}, runs {d.runs or 'nothing'}; {d.why}".rstrip("; ") for d in found
    ]
    counters = device.status.counters if device.status is not None else {}
    lines += [f"{name:<28} {count:>10,}" for name, count in sorted(counters.items())]
    return [line(one) for one in lines]


def findings_in_words(found: Sequence[Finding], devices: int) -> list[str]:
    """What the doctor says."""
    if not devices:
        return ["no device was looked at: is this the home, and does --where mean any?"]
    if not found:
        return [f"{devices:,} devices, nothing is wrong"]
    lines = []
    for one in found[:FINDINGS_MAX]:
        lines += [f"{one.severity:<8} {one.code:<12} {one.device}: {one.what}", f"         fix: {one.fix}"]
    if len(found) > FINDINGS_MAX:
        lines.append(f"… and {len(found) - FINDINGS_MAX:,} more; --where narrows, --json has all")
    failures = sum(one.severity == "failure" for one in found)
    return [*map(line, lines), f"{devices:,} devices: {failures:,} failures, {len(found) - failures:,} warnings"]


def log_line(time_ms: int, kind: str, value: Mapping[str, object]) -> str:
    """A row of a device's log."""
    said = ", ".join(f"{key}: {one}" for key, one in value.items() if one not in ("", None, {}))
    return line(f"{when(time_ms)}  {kind:<9} {said}")


def when(ms: int) -> str:
    """A moment in UTC; never."""
    return datetime.fromtimestamp(ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S") if ms else "never"
