"""The process that holds virtual devices: `python -m edge_agent.shell.virtual`, started by `edge-coordinator simulate`.

It speaks `firmware_configs.virtual` over its standard streams: first the world, then what happens to whom. What one
device does depends on nothing but the seed and what it is told, so it does not matter which process lives it.
"""

import contextlib
import gc
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np

from edge_agent.errors import SettingsMalformed
from edge_agent.infer.bundle import model_of
from edge_agent.infer.model import LoadedModel
from edge_agent.shell.virtual_files import Disk, Files
from edge_agent.virtual.cohort import Cohort
from edge_agent.virtual.counts import Counts
from edge_agent.virtual.day import Surroundings
from edge_agent.virtual.device import Device, Fleet
from edge_agent.virtual.taking_part import School, Taking, finished, offered, trained
from firmware_configs.errors import EdgeError
from firmware_configs.virtual import Exercise, Exercised, Failed, Live, Lived, Reply, ToDevices, World, receive, send
from models.bundle import SUFFIX, Bundle

TOLD_EVERY = 50
"""Devices after which the simulation hears how far it is."""
CHUNK = 256
"""Devices of a round that are in memory as agents at once."""


class Host:
    """All devices of a process."""

    def __init__(self, world: World, files: Files | None = None) -> None:
        """Read the profile, open the bundles.

        Args:
            files: reads them; None: from this machine's disk.
        Raises:
            EdgeError: one of them cannot be used.
        """
        self.world, self._files = world, files or Disk()
        loaded = self._files.profile(world.profile)
        backends = {model.name: model.backend for model in loaded.profile.model}
        bundles = [self._files.bundle(path) for path in world.bundles]
        own = [model_of(bundle, "onnx") for bundle in bundles]
        unknown = sorted({model.name for model in own} - set(backends))
        if unknown:
            raise SettingsMalformed(f"the profile has no model {', '.join(unknown)}", hint="leave the bundle out")
        self._paths = {(model.name, model.version): model.path for model in own}
        items = next((model.catalogue for model in own if model.catalogue), ())
        cohort = Cohort(self._files.ratings(world.cohort), world.start_ms) if world.cohort else None
        around = Surroundings(world.behaviour, loaded.profile, items, world.seed, world.start_ms, cohort)
        self.counts = Counts(world.start_ms, world.hours)
        self._loaded: dict[tuple[str, str], LoadedModel] = {}
        self._sizes = {(bundle.spec.name, bundle.spec.version): bundle.size for bundle in bundles}
        self._schools: dict[tuple[str, str], School] = {}
        self.fleet = Fleet(loaded, around, self._load, self._size, own, self.counts)
        self.kept: dict[int, bytes] = {}
        """Suspended devices."""
        # An agent refers to itself in many ways, so it goes with a collection only; these cost by what is alive, and
        # come where least is: between two stretches.
        gc.collect()
        gc.freeze()
        gc.disable()

    def _bundle(self, name: str, version: str) -> Bundle:
        later = str(Path(self.world.folder) / f"{name}-{version}{SUFFIX}")
        bundle = self._files.bundle(self._paths.get((name, version), later))
        self._sizes[name, version] = bundle.size
        return bundle

    def _size(self, name: str, version: str) -> int:
        if (name, version) not in self._sizes:
            self._load(name, version)
        return self._sizes[name, version]

    def _load(self, name: str, version: str) -> LoadedModel:
        key = name, version
        if key not in self._loaded:
            self._loaded[key] = model_of(self._bundle(name, version), "onnx")
        return self._loaded[key]

    def school(self, name: str, version: str) -> School:
        """The graph that a round of this version trains with."""
        key = name, version
        if key not in self._schools:
            bundle = self._bundle(name, version)
            self._schools[key] = School(bundle, may_be_abreast=self.world.engine == "vector")
        return self._schools[key]

    def device(self, number: int) -> Device:
        """A device, taken up where it was left."""
        return Device(self.fleet, number, self.kept.pop(number, None))

    def do(self, word: ToDevices) -> Iterator[Lived | Exercised]:
        """What the simulation says."""
        if isinstance(word, Live):
            yield from self.live(word)
        elif isinstance(word, Exercise):
            yield from self.exercise(word)

    def live(self, word: Live) -> Iterator[Lived]:
        """Let devices live; says now and then how far it is."""
        states: dict[int, bytes] = {}
        since = 0
        for place, number in enumerate(word.devices):
            device = self.device(number)
            device.live(word.until_ms)
            if word.desired:
                device.line_bytes_s = word.line_bytes_s[place] if word.line_bytes_s else 0.0
                device.desire(word.desired[place], word.until_ms)
            if word.wants_state:
                states[number] = device.reported
            if not word.ends:
                self.kept[number] = device.suspend()
            since += 1
            if since == TOLD_EVERY:
                del device
                gc.collect()
                yield self._lived(since)
                since = 0
        yield self._lived(since, states, done=True)

    def _lived(self, devices: int, states: dict[int, bytes] | None = None, *, done: bool = False) -> Lived:
        counts, versions = self.counts.take()
        steps, self.fleet.steps = self.fleet.steps, 0
        return Lived(
            devices=devices,
            done=done,
            counts=counts,
            versions=versions,
            arms=self.counts.take_arms(),
            states=states or {},
            steps=steps,
            cpu_s=time.process_time(),
            kept_bytes=sum(map(len, self.kept.values())) if done else 0,
            rss_bytes=_largest_rss(),
        )

    def exercise(self, word: Exercise) -> Iterator[Lived | Exercised]:
        """One round."""
        replies: list[Reply] = []
        train_s = 0.0
        places = list(range(len(word.devices)))
        for start in range(0, len(places), CHUNK):
            chunk = places[start : start + CHUNK]
            found, took_s = self._exercised(word, chunk)
            replies += found
            train_s += took_s
            gc.collect()
            yield self._lived(len(chunk))
        yield self._lived(0, done=True)
        yield Exercised(replies=tuple(replies), train_s=train_s)

    def _exercised(self, word: Exercise, places: Iterable[int]) -> tuple[list[Reply], float]:
        school = self.school(str(word.plan["bundle"]), str(word.plan["version"]))
        shared = np.frombuffer(word.shared, "<f4").astype(np.float32)
        at_ms, seed, hostile = word.until_ms, self.world.seed, set(word.attackers)
        devices: list[Device] = []
        replies: list[Reply] = []
        takings: list[Taking] = []
        for place in places:
            device = self.device(word.devices[place])
            device.live(at_ms)
            devices.append(device)
            said = offered(device, word.desired[place], school, seed, at_ms)
            (takings if isinstance(said, Taking) else replies).append(said)  # type: ignore[arg-type]
        began = time.process_time()
        made = trained(takings, school, word.plan, shared, at_ms)
        took_s = time.process_time() - began
        for one in made:
            if isinstance(one, Reply):
                replies.append(one)
                continue
            attacks = one.taking.device.number in hostile
            replies.append(finished(one, self.world.behaviour.attackers if attacks else None, seed, at_ms))
        for device in devices:
            self.kept[device.number] = device.suspend()
        return replies, took_s


def _largest_rss() -> int:
    """Bytes. What `getrusage` says starts with the parent's, from before this program was loaded."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1_024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def serve(world: World, words: Iterable[ToDevices], tell: Callable[[Lived | Exercised], None]) -> None:
    """Do what the simulation says, until it says nothing more.

    Raises:
        EdgeError: the world cannot be made.
    """
    host = Host(world)
    for word in words:
        for said in host.do(word):
            tell(said)


def main() -> None:
    """Entry of the process."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    stream_in, stream_out = sys.stdin.buffer, sys.stdout.buffer
    decoder = msgspec.msgpack.Decoder(World | Live | Exercise)

    def words() -> Iterator[ToDevices]:
        while (packed := receive(stream_in)) is not None:
            yield decoder.decode(packed)

    waiting = words()
    world = next(waiting, None)
    if not isinstance(world, World):
        sys.exit(2)
    try:
        serve(world, waiting, lambda said: send(stream_out, said))
    except EdgeError as error:
        with contextlib.suppress(BrokenPipeError):
            send(stream_out, Failed(what=error.what, hint=error.hint))
    except BrokenPipeError:
        sys.exit(1)


if __name__ == "__main__":
    main()
