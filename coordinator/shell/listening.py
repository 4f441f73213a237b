"""What devices say of themselves, and the broker of them, written down while the coordinator is up.

Status, reports, rejections and alerts have passed the device's own ledger: what its profile does not let out does not
come here. Presence of a device that says nothing comes from the broker, where that tells of connections
(`log_dest topic` of mosquitto).
"""

import re
import threading
import time
from pathlib import Path
from typing import Self

import msgspec
from paho.mqtt.client import Client, MQTTMessage

from coordinator.errors import ChildFailed
from coordinator.shell import line
from coordinator.shell.fleet_store import FleetStore, Heard
from firmware_configs.messages import JSON, ROOT, Alert, Rejected, Reported, Status

KINDS = ("status", "reported", "rejected", "alert")
BROKER_LOG = "$SYS/broker/log/N"
WRITE_S = 0.5
WAITING_MAX = 100_000
BYTES_MAX = 262_144
SUMMARY_BYTES_MAX = 2_048
# mosquitto 2: `New client connected from 127.0.0.1:1 as home-1 (p5, …`, `Client home-1 disconnected.`, and others.
_CAME = re.compile(r"New client connected from \S+ as (\S+) \(")
_WENT = re.compile(r"Client (\S+) (?:disconnected|closed its connection|has exceeded timeout)")


class Listener:
    """Hears the fleet and keeps what it says. Use as a context manager."""

    def __init__(self, broker: str, home: Path, *, broker_log: bool) -> None:
        """Prepare.

        Args:
            broker_log: whether the broker may be asked for its log; the embedded one hangs up on who does.
        """
        self._broker, self._home, self._broker_log = broker, home, broker_log
        self._store = FleetStore(home)
        self._lock = threading.Lock()
        self._heard: list[Heard] = []
        self._stop = threading.Event()
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        def prepare(client: Client) -> None:
            client.on_message = self._on_message
            filters = [(f"{ROOT}/+/{kind}", 1) for kind in KINDS] + ([(BROKER_LOG, 0)] if self._broker_log else [])
            client.on_connect = lambda one, *_: one.subscribe(filters)

        self._client = line.dial(self._broker, self._home, prepare)
        self._writer = threading.Thread(target=self._write, name="fleet", daemon=True)
        self._writer.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        line.hang_up(self._client)
        self._stop.set()
        self._writer.join()

    def check(self) -> None:
        """Raise when nothing can be written down any more.

        Raises:
            ChildFailed: with the reason.
        """
        if self._failure is not None:
            raise ChildFailed(f"the fleet cannot be heard: {self._failure}", hint="is the disk full?")

    def _write(self) -> None:
        while True:
            stopping = self._stop.wait(WRITE_S)
            with self._lock:
                heard, self._heard = self._heard, []
            try:
                if heard:
                    self._store.hear(heard)
            except Exception as error:  # noqa: BLE001 - `up` ends with it; a thread that dies in silence tells nobody
                self._failure = error
                return
            if stopping:
                return

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        now = int(time.time() * 1_000)
        if message.topic == BROKER_LOG:
            one = presence(message.payload.decode(errors="replace"), now)
        else:
            device, kind = message.topic.split("/")[-2:]
            content = getattr(message.properties, "ContentType", "") if message.properties is not None else ""
            one = word(device, kind, bytes(message.payload), now, live=not message.retain, as_json=content == JSON)
        if one is not None:
            with self._lock:
                if len(self._heard) < WAITING_MAX:
                    self._heard.append(one)


def presence(text: str, now_ms: int) -> Heard | None:
    """What a line of mosquitto's log tells of a device; None: nothing."""
    for pattern, online in ((_CAME, True), (_WENT, False)):
        if (found := pattern.search(text)) is not None:
            said = msgspec.msgpack.encode({"online": online, "said_by": "broker"})
            return Heard(
                device=found[1],
                kind="presence",
                time_ms=now_ms,
                packed=said,
                online=online,
                said_by="broker",
                summary=said,
            )
    return None


def word(device: str, kind: str, payload: bytes, now_ms: int, *, live: bool, as_json: bool) -> Heard | None:
    """A device's message; None for what is none of ours, speaks for another device, or is too long."""
    if len(payload) > BYTES_MAX:
        return None
    decode = msgspec.json.decode if as_json or payload[:1] == b"{" else msgspec.msgpack.decode
    try:
        if kind == "status":
            return _status(decode(payload, type=Status), device, now_ms, live)
        if kind == "reported":
            return _reported(decode(payload, type=Reported), device, now_ms, live)
        said = decode(payload, type=Rejected if kind == "rejected" else Alert)
        if isinstance(said, Alert) and said.device != device:
            return None
        packed = msgspec.msgpack.encode(said)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, TypeError):
        return None
    if len(packed) > SUMMARY_BYTES_MAX:
        packed = msgspec.msgpack.encode({"too_long": len(packed)})
    return Heard(device=device, kind=kind, time_ms=now_ms, packed=packed, live=live, summary=packed)


def _status(said: Status, device: str, now_ms: int, live: bool) -> Heard | None:
    if said.device != device:
        return None
    summary = {"online": said.online, "agent": said.agent, "profile": said.profile}
    return Heard(
        device=device,
        kind="status",
        time_ms=now_ms,
        packed=msgspec.msgpack.encode(said),
        online=said.online,
        skew_ms=said.time_ms - now_ms if live and said.online and said.time_ms else None,
        live=live,
        summary=msgspec.msgpack.encode(summary),
    )


def _reported(said: Reported, device: str, now_ms: int, live: bool) -> Heard | None:
    if said.device != device:
        return None
    bundles = {n: f"{b.version} {b.state}{f': {b.reason}' if b.reason else ''}" for n, b in said.bundles.items()}
    summary = {"revision": said.revision, "bundles": bundles, "learning": said.learning, "ignored": said.ignored}
    return Heard(
        device=device,
        kind="reported",
        time_ms=now_ms,
        packed=msgspec.msgpack.encode(said),
        live=live,
        summary=msgspec.msgpack.encode(summary),
    )
