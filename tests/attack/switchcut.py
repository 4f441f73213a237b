"""Power cuts while a profile takes over: `python -m tests.attack.switchcut --loops 100 --seed 1 --json`.

As `tests.attack.powercut`, with profiles: each loop publishes a profile, tells a real agent to run it, and kills agent
and updater with SIGKILL at a random moment of that. Whole means: the pointer can be read, the file that it names holds
the profile that it says, byte for byte, and the agent that starts again runs the old or the new one, by the hash that
it tells. A profile under which the agent was killed twice within ten seconds gives way to the one before, as it should.
"""

import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from coordinator.shell import pki
from coordinator.shell.registry_store import Registry
from edge_agent.shell import slots
from firmware_configs.loader import parse
from firmware_configs.messages import Status
from tests.attack.mirror import mirror
from tests.attack.powercut import START_S, SWAP, Bench, main, watched
from tests.attack.yard import CONTEXT
from tests.benchmarks.load import PROFILE, broker, wait_for

BUNDLE = "1.0.0"


def text(number: int) -> str:
    """A profile that keeps events a little shorter with each version, so that nobody has to approve it."""
    held = PROFILE.replace("[[placement]]", SWAP).replace('version = "1.0.0"', f'version = "1.0.{number}"')
    return held.replace("{ days = 1 }", f"{{ days = {1 - number / 1_000} }}")


def label(number: int) -> str:
    return f"bench-1.0.{number}"


class Profiles:
    """What was published, and which of it runs."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench, self._folder = bench, folder
        self._hashes: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.know(0)

    def know(self, number: int) -> None:
        self.texts[label(number)] = text(number)
        self._hashes[parse(text(number), "profile").hash[:16]] = label(number)

    def publish(self, number: int) -> None:
        self.know(number)
        path = self._folder / "profile.toml"
        path.write_text(text(number))
        _, lacking = self.bench.registry.publish_document(path, "profile", "bench", "", approved=False)
        assert not lacking

    def told(self, since: int = 0) -> Iterator[str]:
        """Which profile the agent says that it runs, each time it says so after `since` messages."""
        for topic, payload in list(self.bench.ear.heard)[since:]:
            if topic.endswith("/status"):
                said = msgspec.msgpack.decode(payload, type=Status)
                if said.online and said.profile:
                    yield self._hashes.get(said.profile[:16], f"unknown {said.profile}")

    def faults(self) -> list[str]:
        """What is not whole on the disk."""
        pointer = self.bench.state / slots.FOLDER / slots.POINTER
        if not pointer.exists():
            return []
        try:
            held = msgspec.json.decode(pointer.read_bytes(), type=slots.Pointer)
        except msgspec.MsgspecError as error:
            return [f"the pointer is torn: {error}"]
        found = []
        for slot in (held.active, held.before):
            path = self.bench.state / slots.FOLDER / slot.file
            if slot.file and path.read_text() != self.texts[slot.documents["profile"]]:
                found.append(f"{slot.file} is not {slot.documents['profile']}")
        return found

    def gave_way(self) -> set[str]:
        held = slots.read(self.bench.state)
        return {held.active.documents.get("profile", label(0))} if held.given_up else set()


def run(loops: int, seed: int, folder: Path, say: bool = False, keep: Path | None = None) -> dict[str, object]:
    """So many power cuts; what came of them."""
    dice = random.Random(seed)  # noqa: S311 - when the power fails
    home = folder / "home"
    registry = Registry.ensure(home)
    registry.publish(CONTEXT)
    pki.ensure_server(home)
    ran: Counter[str] = Counter()
    faults: list[str] = []
    with broker("iotcore", folder) as port, mirror(home) as served, contextlib.ExitStack() as left:
        served.folder = home / "registry"
        bench = left.enter_context(watched(Bench(folder, port, served, registry), keep))
        profiles = Profiles(bench, folder)
        bench.start()
        span_s = _switch(profiles, 1)
        for number in range(2, loops + 2):
            old, new = label(number - 1), label(number)
            profiles.publish(number)
            bench.want(BUNDLE, profile=new)
            time.sleep(dice.uniform(0.0, span_s * 1.2))
            bench.cut()
            own = profiles.faults()
            since = len(bench.ear.heard)
            bench.start()
            first = _first(profiles, since)
            if first not in {old, new} | profiles.gave_way():
                own.append(f"{first} runs, neither {old} nor {new}")
            ran["new" if first == new else "old" if first == old else "before"] += 1
            _reach(profiles, new)
            own += profiles.faults()
            faults += [f"loop {number - 2}: {one}" for one in own]
            if say:
                print(f"{number - 1}/{loops}: {first} ran; {len(faults)} faults", file=sys.stderr, flush=True)
    return {
        "kills": loops,
        "seed": seed,
        "whole": loops - len({one.split(":")[0] for one in faults}),
        "faults": faults,
        "ran": dict(ran),
        "span_s": round(span_s, 2),
    }


def _first(profiles: Profiles, since: int) -> str:
    """The profile that the agent tells of first, after so many messages."""
    wait_for(lambda: any(profiles.told(since)), "its status", START_S)
    return next(profiles.told(since))


def _reach(profiles: Profiles, wanted: str) -> None:
    wait_for(lambda: list(profiles.told())[-1:] == [wanted], wanted, START_S)
    assert profiles.bench.decides() == BUNDLE


def _switch(profiles: Profiles, number: int) -> float:
    """Seconds that a switch takes here and now, from the wish to the new profile's first word."""
    profiles.publish(number)
    started = time.monotonic()
    profiles.bench.want(BUNDLE, profile=label(number))
    _reach(profiles, label(number))
    return time.monotonic() - started


if __name__ == "__main__":
    main(__doc__, run)
