"""A real agent in this process: the real loop, line, store and profile, turned by the test's own thread."""

import select
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import tomli_w

from edge_agent import settings
from edge_agent.shell.mqtt import Link
from edge_agent.shell.run import Loop
from firmware_configs.loader import load
from tests.conformance.brokers import Place

SECONDS = 8.0
SOURCES = {"zero": 0, "one": 1, "two": 2}

_HEAD = """
schema = 1
name = "conformance"
version = "1.0.0"
[device]
class = "bench"
fleet = "bench"
[[purpose]]
name = "test"
legal_basis = "contract"
consent = "not-needed"
text = "A test reads synthetic values of no person and decides."
[retention]
"user.sensor" = { days = 30 }
"""
_SOURCE = """
[[source]]
name = "{name}"
topic = "{topic}"
qos = {qos}
codec = "{codec}"
event_id = "{event_id}"
[[source.field]]
name = "{name}_value"
path = "{path}"
category = "user.sensor"
purposes = ["test"]
[[placement]]
name = "on-{name}"
trigger = {{ kind = "event", source = "{name}" }}
purposes = ["test"]
candidate = [{{ item = "on", score = "1.0" }}]
"""
_REST = """
[[placement]]
name = "ask"
trigger = { kind = "request" }
purposes = ["test"]
candidate = [{ item = "yes", score = "1.0" }]
expiry_s = 3600
"""
_EGRESS = """
[[egress]]
kind = "{kind}"
purposes = ["test"]
bytes_day_max = 9_000_000_000
"""


def source(name: str, topic: str, qos: int = 1, codec: str = "json", event_id: str = "id", path: str = "value") -> str:
    """A source of the profile, and a placement that decides on each of its events."""
    return _SOURCE.format(name=name, topic=topic, qos=qos, codec=codec, event_id=event_id, path=path)


def profile(*sources: str) -> str:
    """A profile with `sources`, or one for each QoS: topics `conf/{device}/zero`, `…/one`, `…/two`."""
    sources = sources or tuple(source(name, f"conf/{{device}}/{name}", qos) for name, qos in SOURCES.items())
    kinds = ("decision", "status", "rejection")
    return _HEAD + "".join(sources) + _REST + "".join(_EGRESS.format(kind=kind) for kind in kinds)


def write(folder: Path, url: str, device: str, text: str, **broker: object) -> Path:
    """Settings and profile under `folder`; returns the settings file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profile.toml").write_text(text)
    told = {"url": url, **{key: value if isinstance(value, int) else str(value) for key, value in broker.items()}}
    file = folder / "agent.toml"
    document = {"device": device, "state_dir": "state", "profile": "profile.toml", "broker": told}
    file.write_text(tomli_w.dumps(document))
    return file


class Device:
    """One agent, which lives while it is turned."""

    def __init__(self, file: Path) -> None:
        held = settings.load(file, {})
        self.name = held.device
        self.loop = Loop(held, load(Path(held.profile)))
        self.said: list[tuple[str, str, str]] = []
        self.loop.say = lambda level, code, text: self.said.append((level, code, text))

    @property
    def link(self) -> Link:
        """Its line, a real one."""
        assert isinstance(self.loop.link, Link)
        return self.loop.link

    def count(self, name: str) -> int:
        """One of the agent's counters."""
        return self.loop.agent.counters.get(name, 0)

    @property
    def up(self) -> bool:
        """Whether it is connected and its subscriptions are answered."""
        return self.link.state == "up" and self.link.greeted is None and not self.link._asked

    def complaint(self, *words: str) -> str:
        """The first thing it said that holds all of `words`; empty: nothing did."""
        lines = (f"{code} {text}" for _, code, text in self.said)
        return next((line for line in lines if all(word in line for word in words)), "")

    def close(self) -> None:
        """Stop as SIGTERM would."""
        self.loop.close()

    def vanish(self) -> None:
        """The power fails: no goodbye to anyone, nothing more is committed."""
        opened = self.link.socket
        if opened is not None:
            opened.close()
        self.link._hang_up()
        self.loop._vigil.close()
        self.loop.store.close()


def _rest(devices: "Sequence[Device]") -> None:
    """Until something comes, a moment at most. Not by `select`: it knows no descriptor above 1023."""
    poll = select.poll()
    for device in devices:
        poll.register(device.loop._vigil._awake, select.POLLIN)
        if device.link.socket is not None:
            poll.register(
                device.link.socket.fileno(), select.POLLIN | (select.POLLOUT if device.link.wants_write else 0)
            )
    poll.poll(20)


def drive(*devices: Device, until: Callable[[], object], seconds: float = SECONDS) -> bool:
    """Turn the devices until it holds; False when it does not in time."""
    deadline = time.monotonic() + seconds
    while not until():
        if time.monotonic() > deadline:
            return False
        if not sum(device.loop.turn() for device in devices):
            _rest(devices)
    return True


@contextmanager
def device(file: Path) -> Iterator[Device]:
    """A connected agent, stopped at the end."""
    running = Device(file)
    try:
        assert drive(running, until=lambda: running.up), running.said
        yield running
    finally:
        running.close()


def url(place: Place, listener: str, version: str) -> str:
    """The broker's URL for one of its listeners."""
    scheme = {"tls": "mqtts", "ws": "ws", "wss": "wss"}.get(listener, "mqtt")
    return f"{scheme}://127.0.0.1:{place.port(listener, version)}"
