"""Load for the agent's benchmarks: a broker, the system under test as a real process, and one client that drives it."""

import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from coordinator.shell import broker as brokers

BUNDLE = max((Path(__file__).parents[2] / "models" / "zoo" / "bundles").glob("context-*.edgeward"))
DEVICE = "bench"
READING = {"temperature": 21.3, "humidity": 27.1, "light": 430.0, "co2": 720.0}
READY_S = 30.0
FILL_WINDOW = 1_000

PROFILE = """
schema = 1
name = "bench"
version = "1.0.0"
[device]
class = "bench"
fleet = "bench"
disk_mib_max = 4096
[[purpose]]
name = "bench"
legal_basis = "contract"
consent = "not-needed"
text = "A benchmark reads synthetic values of no person and decides."
[[source]]
name = "room"
topic = "bench/{device}/in"
event_id = "id"
[[source.field]]
name = "temperature"
category = "user.sensor"
purposes = ["bench"]
[[source.field]]
name = "humidity"
category = "user.sensor"
purposes = ["bench"]
[[source.field]]
name = "light"
category = "user.sensor"
purposes = ["bench"]
[[source.field]]
name = "co2"
category = "user.sensor"
purposes = ["bench"]
[retention]
"user.sensor" = { days = 1 }
[[model]]
name = "context"
versions = ">=1,<2"
purposes = ["bench"]
[[placement]]
name = "presence"
trigger = { kind = "event", source = "room" }
purposes = ["bench"]
models = ["context"]
candidate = [{ item = "on" }, { item = "off", score = "1.0 - context" }]
policy = { kind = "best" }
fallback = "off"
[[egress]]
kind = "decision"
purposes = ["bench"]
bytes_day_max = 9_000_000_000
[[egress]]
kind = "status"
purposes = ["bench"]
bytes_day_max = 9_000_000_000
"""


@contextmanager
def broker(kind: str, folder: Path, more: str = "") -> Iterator[int]:
    """A broker on a free port of this machine: `iotcore` or `mosquitto`; `more` goes to mosquitto.conf."""
    port = brokers.free_port()
    if kind == "iotcore":
        running = brokers.start(folder, "127.0.0.1", port)
        try:
            yield port
        finally:
            running.stop()
        return
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 1000000\n{more}")
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    process = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _listens(port), "mosquitto")
        yield port
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(ready: Callable[[], bool], what: str, seconds: float = READY_S) -> None:
    """Poll until it holds; AssertionError when it does not in time."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"{what} was not ready in {seconds:.0f} s"
        time.sleep(0.02)


def write_agent(folder: Path, port: int, profile: str = PROFILE, bundle: Path = BUNDLE, device: str = DEVICE) -> Path:
    """Settings and profile of an agent under `folder`; returns the settings file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profile.toml").write_text(profile)
    settings = folder / "agent.toml"
    settings.write_text(
        f'device = "{device}"\nstate_dir = "{folder / "state"}"\nprofile = "{folder / "profile.toml"}"\n'
        f'bundles = ["{bundle}"]\nallow_unsigned = true\nbroker = {{ url = "mqtt://127.0.0.1:{port}" }}\n'
    )
    return settings


@contextmanager
def process(
    *command: str, log: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A child that is stopped at the end."""
    out = log.open("ab") if log else subprocess.DEVNULL
    running = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def agent_command(settings: Path) -> tuple[str, ...]:
    """How to start an agent."""
    return (sys.executable, "-m", "edge_agent.cli", "run", "--settings", str(settings))


class Driver:
    """One client, one thread: publishes to a topic and counts what comes back on another."""

    def __init__(self, port: int, name: str) -> None:
        self.answers = 0
        self._client = Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.max_inflight_messages = 65_535
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._number = 0
        self._poll = select.poll()
        self._poll.register(self._client.socket(), select.POLLIN)
        self._tend_until(self._client.is_connected)

    def listen(self, topic: str) -> None:
        """Count what comes on a topic."""
        granted: list[int] = []
        self._client.on_subscribe = lambda *_: granted.append(1)
        self._client.subscribe(topic, qos=1)
        self._tend_until(lambda: bool(granted))

    def _tend_until(self, holds: Callable[[], bool], seconds: float = 10.0) -> bool:
        deadline = time.monotonic() + seconds
        while not holds():
            self.tend(5)
            if time.monotonic() > deadline:
                return False
        return True

    def tend(self, wait_ms: float) -> None:
        """Read and write what there is."""
        while self._client.want_write():
            self._client.loop_write()
        if self._poll.poll(wait_ms):
            self._client.loop_read()
            self._client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        self._client.loop_misc()

    def send(self, topic: str, **more: str) -> None:
        """Publish one more reading, with more fields where given."""
        self._number += 1
        event = {"id": f"{id(self)}-{self._number}", **READING, "light": 400.0 + self._number % 50, **more}
        self.publish(topic, msgspec.json.encode(event))

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish a payload, QoS 1."""
        self._client.publish(topic, payload, qos=1)
        while self._client.want_write():
            self._client.loop_write()

    def settle(self, seconds: float) -> None:
        """Go on reading for a while."""
        self._tend_until(lambda: False, seconds)

    def flood(self, topic: str, window: int, readings: Iterable[dict[str, str]]) -> None:
        """Publish all, with at most `window` unanswered, until each is answered."""
        seen, sent = self.answers, 0
        for more in readings:
            while sent - (self.answers - seen) >= window:
                self.tend(100)
            self.send(topic, **more)
            sent += 1
        assert self._tend_until(lambda: self.answers - seen >= sent, READY_S), "answers are missing"

    def fill(self, topic: str, count: int) -> None:
        """Publish `count` readings as fast as the broker takes them; nobody needs to answer."""
        taken: list[int] = []
        self._client.on_publish = lambda *_: taken.append(1)
        for sent in range(count):
            while sent - len(taken) >= FILL_WINDOW:
                self.tend(10)
            self.send(topic)
        assert self._tend_until(lambda: len(taken) >= count, READY_S), "the broker takes no more"
        self._client.on_publish = None

    def ask(self, topic: str, answer: str) -> None:
        """Publish an empty request whose answer goes to a topic that is listened to."""
        asked = Properties(PacketTypes.PUBLISH)
        asked.ResponseTopic, asked.ContentType = answer, "application/json"
        self._number += 1
        asked.CorrelationData = str(self._number).encode()
        self._client.publish(topic, b"{}", qos=1, properties=asked)
        self.tend(0)

    def ask_until_answered(self, topic: str, answer: str) -> None:
        """Until the other side is there."""
        deadline, seen = time.monotonic() + READY_S, self.answers
        while self.answers == seen:
            assert time.monotonic() < deadline, f"nobody answers on {topic}"
            self.ask(topic, answer)
            self._tend_until(lambda: self.answers > seen, 0.5)
        self.settle(0.3)

    def warm(self, topic: str, **more: str) -> None:
        """Until the other side answers."""
        deadline = time.monotonic() + READY_S
        while self.answers == 0:
            assert time.monotonic() < deadline, f"nobody answers on {topic}"
            self.send(topic, **more)
            self._tend_until(lambda: self.answers > 0, 0.25)
        self._tend_until(lambda: False, 0.3)

    def closed_loop(self, topic: str, count: int) -> list[float]:
        """Milliseconds from publish to answer, one at a time."""
        found = []
        for _ in range(count):
            seen = self.answers
            started = time.perf_counter()
            self.send(topic)
            while self.answers == seen:
                self.tend(100)
            found.append((time.perf_counter() - started) * 1_000)
        return found

    def open_loop(self, topic: str, seconds: float, window: int) -> float:
        """Answers a second with at most `window` unanswered."""
        seen, sent = self.answers, 0
        started = time.perf_counter()
        while (now := time.perf_counter() - started) < seconds:
            while sent - (self.answers - seen) < window:
                self.send(topic)
                sent += 1
            self.tend(1)
        done = self.answers - seen
        self._tend_until(lambda: self.answers - seen >= sent, 10.0)
        return done / now

    def _on_message(self, _client: Client, _data: object, _message: MQTTMessage) -> None:
        self.answers += 1

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()


def rss_mib(pid: int) -> float:
    """Resident memory of a process (VmRSS), MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return round(int(next(line.split()[1] for line in lines if line.startswith("VmRSS:"))) / 1_024, 2)


def cpu_s(pid: int) -> float:
    """CPU that a process has used, all its threads, user and system, s; to the nanosecond, where `/proc` has ticks."""
    # clock_getcpuclockid(3), which Python lacks for processes: Linux makes the clock's number of the process's.
    return time.clock_gettime((~pid << 3) | 2)


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="edgeward-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
