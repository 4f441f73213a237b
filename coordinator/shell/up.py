"""`edge-coordinator up`: broker, SuperLink and registry server, started, watched, and stopped together."""

import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import msgspec
from iotcore import Broker
from msgspec import Struct

from coordinator.errors import BrokerUnfit, ChildFailed, PortTaken
from coordinator.shell import authority as device_authority
from coordinator.shell import broker as brokers
from coordinator.shell import flower, mosquitto, pki
from coordinator.shell.home import Endpoints, alone, last_endpoints, note_pid
from coordinator.shell.leash import leashed
from coordinator.shell.listening import Listener
from coordinator.shell.mqtt_control import Control
from coordinator.shell.registry_store import Registry
from coordinator.shell.rollout_child import RolloutChild
from coordinator.shell.store import Store
from firmware_configs.notify import notify

LOOPBACK = "127.0.0.1"
ANY = ("0.0.0.0", "::")  # noqa: S104 - to recognise it
READY_S = 40.0
STOP_S = 8.0
MOSQUITTO = "mosquitto"
REFRESH_S = 6 * 3_600
"""How often the registry is signed again; its timestamp lives for a week."""


class Options(Struct, frozen=True, kw_only=True):
    """What `up` was asked for."""

    home: Path
    host: str = "127.0.0.1"
    reach: str = "127.0.0.1"
    """DNS name or address under which devices reach this machine."""
    names: tuple[str, ...] = pki.LOCAL
    """What the server certificate is for."""
    broker: str = ""
    """URL of a broker of your own; `mosquitto`: one is run with mutual TLS; empty: the embedded one."""
    broker_port: int = 0
    websocket_port: int = 0
    """Where pages reach the mosquitto that we run; 0: nowhere."""
    port: int = 0
    """Of registry and rounds."""
    replies: Path | None = None
    """Folder for a record of what learners say; None: none is made."""
    ready_file: Path | None = None


@dataclass
class Running:
    """What was started."""

    endpoints: Endpoints
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    broker: Broker | None = None
    logs: Path = Path()

    def check(self) -> None:
        """Raise when a child has ended.

        Raises:
            ChildFailed: which one, and where its log is.
        """
        for name, process in self.processes.items():
            if (code := process.poll()) is not None:
                log = self.logs / f"{name}.log"
                raise ChildFailed(f"{name} ended with exit code {code}", hint=f"read {log}{_last(log)}")
        if self.broker is not None and not self.broker.is_running:
            raise ChildFailed("the embedded broker ended", hint="start again, or use --broker URL")

    def stop(self) -> None:
        """Stop all children, politely first."""
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        for process in self.processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.broker is not None:
            self.broker.stop()


def up(options: Options, say: Callable[[str], None]) -> None:
    """Run until SIGINT or SIGTERM.

    Raises:
        PortTaken, ChildFailed: see there.
    """
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    options.home.mkdir(parents=True, exist_ok=True)
    with alone(options.home):
        running = start(options)
        _serve(running, options, say, lambda: stopping)


def _serve(running: Running, options: Options, say: Callable[[str], None], stopping: Callable[[], bool]) -> None:
    rollouts = None
    try:
        for name in Endpoints.__struct_fields__:
            if value := getattr(running.endpoints, name):
                say(f"{name:<13} {value}")
        with Listener(running.endpoints.broker, options.home, broker_log=MOSQUITTO in running.processes) as listener:
            _repeat(running.endpoints, options.home)
            say("ready; Ctrl-C stops everything")
            notify("READY=1")
            if options.ready_file is not None:
                options.ready_file.write_text("ready\n")
            rollouts = RolloutChild(options.home, running.endpoints.broker, running.logs)
            refreshed, lists = time.monotonic(), Lists(running, options.home)
            while not stopping():
                time.sleep(0.2)
                running.check()
                listener.check()
                rollouts.tend()
                lists.tend(time.monotonic())
                if time.monotonic() - refreshed > REFRESH_S:
                    refreshed = time.monotonic()
                    Registry.existing(options.home).refresh()
                    if MOSQUITTO in running.processes:
                        device_authority.publish(options.home)
    finally:
        notify("STOPPING=1")
        if rollouts is not None:
            rollouts.stop()
        running.stop()
        if options.ready_file is not None:
            options.ready_file.unlink(missing_ok=True)


class Lists:
    """Has mosquitto read its lists again when one has changed."""

    def __init__(self, running: Running, home: Path) -> None:
        self._running, self._home = running, home
        self._known, self._due_s = mosquitto.stamp(home), 0.0

    def tend(self, now_s: float) -> None:
        """A revocation is read at once; newcomers wait for each other where the list is long."""
        now = mosquitto.stamp(self._home)
        if now == self._known or (now[1:] == self._known[1:] and now_s < self._due_s):
            return
        self._known, self._due_s = now, now_s + mosquitto.pause_s(self._home)
        if MOSQUITTO in self._running.processes:
            self._running.processes[MOSQUITTO].send_signal(signal.SIGHUP)


def _repeat(endpoints: Endpoints, home: Path) -> None:
    """Say again what is wanted of each device: an embedded broker that starts has forgotten what it retained."""
    store = Store(home)
    devices = [device.name for device in store.devices()]
    if devices:
        with Control(endpoints.broker, store) as control:
            control.repeat(devices)


def start(options: Options) -> Running:
    """Start everything and wait until it answers. What is not given is as it was the last time, where it can be.

    Raises:
        BrokerUnfit: mosquitto is not installed, or another broker is to get a WebSocket listener.
        PortTaken, ChildFailed: see there.
    """
    if options.websocket_port and options.broker != MOSQUITTO:
        raise BrokerUnfit("only the mosquitto that we run gets a WebSocket listener", hint="--broker mosquitto")
    home = options.home.resolve()
    before = last_endpoints(home)
    Store(home)
    registry = Registry.ensure(home)
    registry.refresh()
    authority, server = pki.ensure_authority(home), pki.ensure_server(home, options.names)
    control_port = _port(LOOPBACK, 0)
    port = _port(options.host, options.port, before.registry if before else None)
    broker = None
    broker_url, device_broker, pages_broker = options.broker, "", ""
    own_port = inner_port = broker_port = 0
    if options.broker == MOSQUITTO:
        broker_port = _port(options.host, options.broker_port, before.device_broker if before else None)
        own_port = _port(LOOPBACK, 0, before.broker if before else None)
        if options.websocket_port:
            pages_port = _port(options.host, options.websocket_port)
            pages_broker = f"wss://{options.reach}:{pages_port}"
        mosquitto.write(home, server, options.host, broker_port, own_port, options.websocket_port)
        broker_url, device_broker = f"mqtts://{LOOPBACK}:{own_port}", f"mqtts://{options.reach}:{broker_port}"
    elif not broker_url:
        broker_port = _port(options.host, options.broker_port, before.broker if before else None)
        inner_port = brokers.free_port(LOOPBACK)
        broker = brokers.start(home, LOOPBACK, inner_port)
        broker_url = f"mqtt://{options.reach}:{broker_port}"
    endpoints = Endpoints(
        broker=broker_url,
        device_broker=device_broker,
        pages_broker=pages_broker,
        registry=f"https://{options.reach}:{port}",
        superlink=f"{options.reach}:{port}",
        ca=str(authority.certificate),
        root=str(registry.root_path),
        control=f"{LOOPBACK}:{control_port}",
    )
    running = Running(endpoints, broker=broker, logs=home / "logs")
    try:
        if own_port:
            _spawn(running, MOSQUITTO, mosquitto.command(home), home)
            _wait_port(running, LOOPBACK, own_port)
        flower.write_connection(home, endpoints.control, authority.certificate)
        link = flower.superlink_command(
            home, LOOPBACK, control_port, authority.certificate, server.certificate, server.key
        )
        _spawn(running, "superlink", link, home)
        door = _door_command(home, endpoints, options.host, port, server)
        door += ["--replies", str(options.replies.absolute())] if options.replies is not None else []
        _spawn(running, "door", door, home)
        if inner_port:
            _spawn(running, "mqtt-door", _mqtt_door_command(options.host, broker_port, inner_port), home)
            _wait_port(running, LOOPBACK if options.host in ANY else options.host, broker_port)
        _wait_tls(running, LOOPBACK, control_port, authority.certificate)
        _wait_tls(running, LOOPBACK if options.host in ANY else options.host, port, authority.certificate)
    except BaseException:
        running.stop()
        raise
    (home / "endpoints.json").write_bytes(msgspec.json.encode(endpoints))
    return running


def _mqtt_door_command(host: str, port: int, inner_port: int) -> list[str]:
    command = [sys.executable, "-m", "coordinator.shell.mqtt_door", "--host", host, "--port", str(port)]
    return [*command, "--broker-port", str(inner_port)]


def _door_command(home: Path, endpoints: Endpoints, host: str, port: int, server: pki.Pair) -> list[str]:
    command = [sys.executable, "-m", "coordinator.shell.door", "--folder", str(home / "registry")]
    command += ["--superlink", endpoints.control, "--ca", endpoints.ca, "--host", host, "--port", str(port)]
    return [*command, "--certificate", str(server.certificate), "--key", str(server.key)]


def _port(host: str, wanted: int, before: str | None = None) -> int:
    """The port that is wanted; else the one of the last time, if it is free; else any."""
    last = urlsplit(before).port if before else None
    for port in (wanted, last or 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if wanted:
                    hint = "choose another port, or 0 for any"
                    raise PortTaken(f"{host}:{wanted}: {error.strerror}", hint=hint) from error
                continue
        if port:
            return port
    return brokers.free_port(host)


def _spawn(running: Running, name: str, command: list[str], home: Path) -> None:
    running.logs.mkdir(parents=True, exist_ok=True)
    with (running.logs / f"{name}.log").open("ab") as log:
        running.processes[name] = subprocess.Popen(
            leashed(command),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=flower.environment(home),
            start_new_session=True,
            # The lock of `alone`.
            close_fds=False,
        )
    note_pid(home, running.processes[name].pid)


def _wait_tls(running: Running, host: str, port: int, ca: Path) -> None:
    """Until the server shows a certificate that our authority signed."""
    context = ssl.create_default_context(cafile=str(ca))
    deadline = time.monotonic() + READY_S
    while True:
        running.check()
        try:
            with socket.create_connection((host, port), 1) as raw, context.wrap_socket(raw, server_hostname=host):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise ChildFailed(
                    f"nothing answers at {host}:{port}", hint=f"read the logs in {running.logs}"
                ) from None
            time.sleep(0.1)


def _wait_port(running: Running, host: str, port: int) -> None:
    """Until something listens."""
    deadline = time.monotonic() + READY_S
    while True:
        running.check()
        try:
            with socket.create_connection((host, port), 1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise ChildFailed(f"nothing listens at {host}:{port}", hint=f"read {running.logs}") from None
            time.sleep(0.1)


def _last(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f"; its last words: {lines[-1][:200]}" if lines else ""
