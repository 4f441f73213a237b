"""What is wrong in a fleet, and how to mend it: findings from what is known of each device."""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct
from packaging.version import InvalidVersion, Version

from coordinator.fleet.view import DeviceView

MINUTE_MS = 60_000
DAY_MS = 86_400_000
Severity = Literal["failure", "warning"]


class Thresholds(Struct, frozen=True, kw_only=True):
    """From when something is found. Times in ms."""

    silent_ms: int = 15 * MINUTE_MS
    """A device that is online says its status every minute."""
    stuck_ms: int = 30 * MINUTE_MS
    """A wish that is taken is echoed within seconds."""
    skew_ms: int = 2 * MINUTE_MS
    certificate_ms: int = 21 * DAY_MS
    """A device renews when 30 days are left: one that has fewer could not."""
    newest_agent: str = ""
    """Version that the fleet should run; empty: the newest that is seen."""


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that is wrong with one device."""

    severity: Severity
    code: str
    """silent, offline, never-seen, ignored, stuck, ahead, bundle, document, certificate, clock or old-agent."""
    device: str
    what: str
    fix: str


def examine(devices: Iterable[DeviceView], now_ms: int, limits: Thresholds | None = None) -> list[Finding]:
    """Everything that is wrong, failures first. Revoked devices are not looked at."""
    held = [device for device in devices if not device.revoked]
    limits = limits or Thresholds()
    newest = _newest(limits.newest_agent, held)
    found: list[Finding] = []
    for device in held:
        found += _presence(device, now_ms, limits)
        found += _revision(device, now_ms, limits)
        found += _bundles(device)
        found += _documents(device)
        found += _certificate(device, now_ms, limits)
        found += _clock(device, limits)
        found += _agent(device, newest)
    return sorted(found, key=lambda one: (one.severity != "failure", one.code, one.device))


def _presence(device: DeviceView, now_ms: int, limits: Thresholds) -> list[Finding]:
    quiet_ms = now_ms - device.seen_ms
    if not device.seen_ms and device.online is not True:
        if now_ms - device.enrolled_ms < limits.silent_ms:
            return []
        fix = "start it: edge-agent run; on the device: edge-agent doctor says what stops it. A profile that declares "
        fix += "no status tells nothing but presence"
        return [_finding("warning", "never-seen", device, "it is enrolled and was never heard", fix)]
    if device.online is False and quiet_ms > limits.silent_ms:
        fix = "is it on power and network? on the device: edge-agent doctor"
        return [_finding("warning", "offline", device, f"offline for {duration(quiet_ms)}", fix)]
    if device.online and device.said_by == "device" and quiet_ms > limits.silent_ms:
        what = f"the broker holds it for online, but it has said nothing for {duration(quiet_ms)}"
        fix = "its bytes for status may be spent for today, or it hangs; on the device: edge-agent status"
        return [_finding("failure", "silent", device, what, fix)]
    return []


def _revision(device: DeviceView, now_ms: int, limits: Thresholds) -> list[Finding]:
    wanted, reported = device.desired.revision, device.reported
    if reported is None or device.online is not True:
        return []
    if reported.ignored:
        kind = reported.ignored.split(":")[0]
        fix = f"edge-coordinator fleet sync {device.name} writes it again above what the device has"
        if kind == "foreign":
            fix = "two coordinators write to it: stop one, or enrol the device again with this one (edge-agent enrol)"
        return [_finding("failure", "ignored", device, f"it refuses what is wanted: {reported.ignored}", fix)]
    if reported.revision > wanted:
        what = f"it reports revision {reported.revision}, but only {wanted} was written here"
        fix = f"this coordinator was restored from an older copy: edge-coordinator fleet sync {device.name}"
        return [_finding("failure", "ahead", device, what, fix)]
    if reported.revision < wanted and now_ms - device.wished_ms > limits.stuck_ms:
        what = f"revision {wanted} was written {duration(now_ms - device.wished_ms)} ago; it is at {reported.revision}"
        fix = f"say it again: edge-coordinator fleet sync {device.name}; may it read its topic `desired` at the broker?"
        return [_finding("failure", "stuck", device, what, fix)]
    return []


def _bundles(device: DeviceView) -> list[Finding]:
    states = device.reported.bundles if device.reported is not None else {}
    found = []
    for name, state in states.items():
        if state.state in {"failed", "returned"}:
            what = f"{name} {state.version} {state.state}: {state.reason or 'no reason given'}"
            fix = f"edge-coordinator fleet logs {device.name}; deploy a version that works, or mend what it names"
            found.append(_finding("failure", "bundle", device, what, fix))
    return found


def _documents(device: DeviceView) -> list[Finding]:
    """A profile or experiments that the device does not take."""
    states = device.reported.documents if device.reported is not None else {}
    fix = "mend what it names, publish a higher version, and want that: edge-coordinator fleet want"
    return [
        _finding("failure", "document", device, f"{kind} {one.version} {one.state}: {one.reason or 'no reason'}", fix)
        for kind, one in states.items()
        if one.state in {"failed", "returned"}
    ]


def _certificate(device: DeviceView, now_ms: int, limits: Thresholds) -> list[Finding]:
    left_ms = device.certificate_ends_ms - now_ms
    if not device.certificate_ends_ms or left_ms > limits.certificate_ms:
        return []
    fix = "on the device: edge-agent keys renew --settings agent.toml"
    if left_ms <= 0:
        return [_finding("failure", "certificate", device, f"its certificate ended {duration(-left_ms)} ago", fix)]
    return [_finding("warning", "certificate", device, f"its certificate ends in {duration(left_ms)}", fix)]


def _clock(device: DeviceView, limits: Thresholds) -> list[Finding]:
    if abs(device.skew_ms) <= limits.skew_ms:
        return []
    if device.skew_ms > 0:
        what, fix = f"its clock is {duration(device.skew_ms)} ahead", "let it keep time by NTP"
    else:
        what = f"its clock is {duration(-device.skew_ms)} behind, or what it says waits so long"
        fix = "let it keep time by NTP; on the device: edge-agent status tells what waits for the broker"
    return [_finding("warning", "clock", device, what, fix)]


def _agent(device: DeviceView, newest: Version | None) -> list[Finding]:
    own = _version(device.agent)
    if own is None or newest is None or own.release[:2] >= newest.release[:2]:
        return []
    return [_finding("warning", "old-agent", device, f"agent {own}, the fleet has {newest}", "update its package")]


def _newest(given: str, devices: list[DeviceView]) -> Version | None:
    if given:
        return _version(given)
    return max((v for d in devices if (v := _version(d.agent)) is not None), default=None)


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _finding(severity: Severity, code: str, device: DeviceView, what: str, fix: str) -> Finding:
    return Finding(severity=severity, code=code, device=device.name, what=what, fix=fix)


def duration(ms: int) -> str:
    """In the largest unit that is whole, rounded down: `3 d`, `5 h`, `12 min`, `40 s`."""
    for unit, size in (("d", DAY_MS), ("h", 60 * MINUTE_MS), ("min", MINUTE_MS)):
        if ms >= 2 * size or (unit == "min" and ms >= size):
            return f"{ms // size} {unit}"
    return f"{max(0, ms) // 1_000} s"
