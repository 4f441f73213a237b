"""`edge-coordinator up`: broker, SuperLink and registry server, started, watched, and stopped together."""

import json
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

from iotcore import Broker
from msgspec import Struct

from coordinator.errors import ChildFailed, NotRunning, PortTaken
from coordinator.shell import broker as brokers
from coordinator.shell import flower, pki
from coordinator.shell.registry_store import Registry
from coordinator.shell.store import Store

LOOPBACK = "127.0.0.1"
ANY = ("0.0.0.0", "::")  # noqa: S104 - to recognise it
READY_S = 40.0
STOP_S = 8.0
REFRESH_S = 6 * 3_600
"""How often the registry is signed again; its timestamp lives for a week."""


class Endpoints(Struct, frozen=True, kw_only=True):
    """`endpoints.json`: where everything is; the other commands and the demo read it."""

    broker: str
    registry: str
    superlink: str
    """`host:port` for devices: the same port as the registry, see `coordinator.shell.door`."""
    ca: str
    root: str
    """The trusted root that devices are given."""
    control: str
    """`host:port` of the SuperLink itself, on loopback; whoever reaches it can start runs."""


class Options(Struct, frozen=True, kw_only=True):
    """What `up` was asked for."""

    home: Path
    host: str = "127.0.0.1"
    reach: str = "127.0.0.1"
    """DNS name or address under which devices reach this machine."""
    names: tuple[str, ...] = pki.LOCAL
    """What the server certificate is for."""
    broker: str = ""
    """URL of a broker of your own; empty: the embedded one."""
    broker_port: int = 0
    port: int = 0
    """Of registry and rounds."""
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
    running = start(options)
    try:
        for name in Endpoints.__struct_fields__:
            say(f"{name:<10} {getattr(running.endpoints, name)}")
        say("ready; Ctrl-C stops everything")
        if options.ready_file is not None:
            options.ready_file.write_text("ready\n")
        refreshed = time.monotonic()
        while not stopping:
            time.sleep(0.2)
            running.check()
            if time.monotonic() - refreshed > REFRESH_S:
                refreshed = time.monotonic()
                Registry.existing(options.home).refresh()
    finally:
        running.stop()
        if options.ready_file is not None:
            options.ready_file.unlink(missing_ok=True)


def start(options: Options) -> Running:
    """Start everything and wait until it answers."""
    home = options.home.resolve()
    Store(home)
    registry = Registry.ensure(home)
    registry.refresh()
    authority, server = pki.ensure_authority(home), pki.ensure_server(home, options.names)
    control_port, port = _port(LOOPBACK, 0), _port(options.host, options.port)
    broker = None
    broker_url = options.broker
    if not broker_url:
        broker_port = _port(options.host, options.broker_port)
        broker = brokers.start(home, options.host, broker_port)
        broker_url = f"mqtt://{options.reach}:{broker_port}"
    endpoints = Endpoints(
        broker=broker_url,
        registry=f"https://{options.reach}:{port}",
        superlink=f"{options.reach}:{port}",
        ca=str(authority.certificate),
        root=str(registry.root_path),
        control=f"{LOOPBACK}:{control_port}",
    )
    running = Running(endpoints, broker=broker, logs=home / "logs")
    try:
        flower.write_connection(home, endpoints.control, authority.certificate)
        link = flower.superlink_command(
            home, LOOPBACK, control_port, authority.certificate, server.certificate, server.key
        )
        _spawn(running, "superlink", link, home)
        _spawn(running, "door", _door_command(home, endpoints, options.host, port, server), home)
        _wait_tls(running, LOOPBACK, control_port, authority.certificate)
        _wait_tls(running, LOOPBACK if options.host in ANY else options.host, port, authority.certificate)
    except BaseException:
        running.stop()
        raise
    (home / "endpoints.json").write_text(json.dumps({n: getattr(endpoints, n) for n in endpoints.__struct_fields__}))
    return running


def _door_command(home: Path, endpoints: Endpoints, host: str, port: int, server: pki.Pair) -> list[str]:
    command = [sys.executable, "-m", "coordinator.shell.door", "--folder", str(home / "registry")]
    command += ["--superlink", endpoints.control, "--ca", endpoints.ca, "--host", host, "--port", str(port)]
    return [*command, "--certificate", str(server.certificate), "--key", str(server.key)]


def endpoints_of(home: Path) -> Endpoints:
    """Where a running coordinator's parts are.

    Raises:
        NotRunning: `up` was never run in this home.
    """
    try:
        return Endpoints(**json.loads((home / "endpoints.json").read_text()))
    except FileNotFoundError:
        raise NotRunning(
            f"no coordinator in {home}", hint=f"start one in another terminal: edge-coordinator up --home {home}"
        ) from None


def _port(host: str, wanted: int) -> int:
    if not wanted:
        return brokers.free_port(host)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, wanted))
        except OSError as error:
            raise PortTaken(f"{host}:{wanted}: {error.strerror}", hint="choose another port, or 0 for any") from error
    return wanted


def _spawn(running: Running, name: str, command: list[str], home: Path) -> None:
    running.logs.mkdir(parents=True, exist_ok=True)
    with (running.logs / f"{name}.log").open("ab") as log:
        running.processes[name] = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=flower.environment(home),
            start_new_session=True,
        )


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


def _last(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f"; its last words: {lines[-1][:200]}" if lines else ""
