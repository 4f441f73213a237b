"""What a broker spends on connections and messages: for `tests.benchmarks.capacity`.

CPU is the broker process's own, so other work on the machine disturbs it little. Clients are bare sockets: a CONNECT,
a SUBSCRIBE to a topic of their own, and silence. `python -m tests.benchmarks.capacity_broker FOLDER` is the embedded
broker as a process of its own, which prints its port and lives until its standard input ends.
"""

import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from coordinator.shell import broker as brokers
from coordinator.shell import mosquitto, pki
from coordinator.shell.authority import operator
from coordinator.shell.store import Store
from tests.benchmarks import load

LOOPBACK = "127.0.0.1"
SETTLE_S = 1.0


@contextmanager
def embedded(folder: Path) -> Iterator[tuple[int, int]]:
    """iotcore, started by a process of its own: its port and process id."""
    command = [sys.executable, "-m", "tests.benchmarks.capacity_broker", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin
        assert running.stdout
        try:
            port = int(running.stdout.readline())
            (broker,) = psutil.Process(running.pid).children()
            yield port, broker.pid
        finally:
            running.stdin.close()
            running.wait(30)


@contextmanager
def plain_mosquitto(folder: Path) -> Iterator[tuple[int, int]]:
    """mosquitto without TLS: its port and process id."""
    port = brokers.free_port()
    config = folder / "plain.conf"
    config.write_text(
        f"listener {port} {LOOPBACK}\nallow_anonymous true\nset_tcp_nodelay true\nmax_inflight_messages 0\n"
    )
    with _started([mosquitto.command(folder)[0], "-c", str(config)], port) as pid:
        yield port, pid


@contextmanager
def fleet_mosquitto(home: Path) -> Iterator[tuple[int, int, ssl.SSLContext]]:
    """mosquitto as `up --broker mosquitto` runs it: port with mutual TLS, process id, a client's side."""
    Store(home)
    authority, server = pki.ensure_authority(home), pki.ensure_server(home)
    port, own_port = brokers.free_port(), brokers.free_port()
    mosquitto.write(home, server, LOOPBACK, port, own_port)
    pair = operator(home)
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.load_cert_chain(pair.certificate, pair.key)
    with _started(mosquitto.command(home), own_port) as pid:
        yield own_port, pid, context


@contextmanager
def _started(command: list[str], port: int) -> Iterator[int]:
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        load.wait_for(lambda: _listens(port), "mosquitto")
        yield running.pid
    finally:
        running.terminate()
        running.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def _text(word: str) -> bytes:
    return len(word).to_bytes(2, "big") + word.encode()


def _packet(kind: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes([kind, len(body)]) + body


def connect_packet(name: str) -> bytes:
    """MQTT 5 CONNECT: a session that is kept for a day, keep-alive 600 s (section 3.1 of the standard)."""
    session = b"\x11" + (86_400).to_bytes(4, "big")
    return _packet(0x10, _text("MQTT") + b"\x05\x00\x02\x58" + bytes([len(session)]) + session + _text(name))


def subscribe_packet(topic: str) -> bytes:
    """MQTT 5 SUBSCRIBE at QoS 1 (section 3.8)."""
    return _packet(0x82, b"\x00\x01\x00" + _text(topic) + b"\x01")


def join(line: socket.socket, name: str) -> None:
    """Be a client that listens on its own topic."""
    line.sendall(connect_packet(name))
    assert line.recv(4)[:1] == b"\x20", "no CONNACK"
    line.sendall(subscribe_packet(f"edgeward/1/{name}/desired"))
    line.recv(256)


def connection_bytes(port: int, pid: int, clients: int) -> float:
    """Resident memory of the broker a client that is connected and listens, bytes."""
    with ExitStack() as open_lines:
        before = load.rss_mib(pid)
        for number in range(clients):
            line = open_lines.enter_context(socket.create_connection((LOOPBACK, port)))
            join(line, f"home-{number}")
        time.sleep(SETTLE_S)
        return (load.rss_mib(pid) - before) * 2**20 / clients


def secure_connections(port: int, pid: int, context: ssl.SSLContext, clients: int) -> tuple[float, float]:
    """CPU (s) and resident memory (bytes) of the broker a client that comes with mutual TLS, a full handshake each."""
    with ExitStack() as open_lines:
        spent, held = load.cpu_s(pid), load.rss_mib(pid)
        for number in range(clients):
            raw = open_lines.enter_context(socket.create_connection((LOOPBACK, port)))
            line = open_lines.enter_context(context.wrap_socket(raw, server_hostname=LOOPBACK))
            join(line, f"home-{number}")
        spent = load.cpu_s(pid) - spent
        time.sleep(SETTLE_S)
        return spent / clients, (load.rss_mib(pid) - held) * 2**20 / clients


def message_s(port: int, pid: int, messages: int) -> float:
    """CPU of the broker for a message that comes at QoS 1 and goes to one subscriber at QoS 1, s."""
    driver = load.Driver(port, "driver")
    driver.listen("edgeward/1/home-1/status")
    driver.flood("edgeward/1/home-1/status", 64, ({} for _ in range(200)))
    before = load.cpu_s(pid)
    driver.flood("edgeward/1/home-1/status", 64, ({} for _ in range(messages)))
    spent = load.cpu_s(pid) - before
    driver.close()
    return spent / messages


def main() -> None:
    """The embedded broker, until the standard input ends."""
    port = brokers.free_port()
    running = brokers.start(Path(sys.argv[1]), LOOPBACK, port)
    print(port, flush=True)
    sys.stdin.read()
    running.stop()


if __name__ == "__main__":
    main()
