"""The engine `vector`: virtual devices in a few processes of the agent's own program, each with its share of them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import BinaryIO

import msgspec

from coordinator.errors import SimulationStopped
from coordinator.simulation.devices import Cost, Tally
from firmware_configs.virtual import Exercise, Exercised, Failed, Live, Lived, Reply, World, receive, send

DEVICES, NODES = "edge_agent.shell.virtual", "edge_agent.shell.virtual_nodes"
"""By name: the two packages never import each other."""
END_S = 10.0
Progress = Callable[[int], None]
"""Devices that have got there since the last call."""


class Process:
    """One of them."""

    def __init__(self, world: World, *module: str) -> None:
        quiet = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **quiet}
        self._child = subprocess.Popen(
            [sys.executable, "-m", *module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        # Both are pipes, as asked for.
        self._in: BinaryIO = self._child.stdin  # type: ignore[assignment]
        self._out: BinaryIO = self._child.stdout  # type: ignore[assignment]
        self._decoder = msgspec.msgpack.Decoder(Lived | Exercised | Failed)
        self.cpu_s = self.rss_bytes = self.empty_bytes = self.kept_bytes = 0.0
        self.tell(world)
        self.ask(Live(devices=(), until_ms=0), lambda _lived: None)
        self.empty_bytes = self.rss_bytes

    def tell(self, word: World | Live | Exercise) -> None:
        """Send a word.

        Raises:
            SimulationStopped: the process is gone.
        """
        try:
            send(self._in, word)
        except BrokenPipeError:
            raise self._gone() from None

    def ask(self, word: Live | Exercise, hear: Callable[[Lived], None]) -> tuple[dict[int, bytes], Exercised]:
        """Send a word, and wait until it is done.

        Raises:
            SimulationStopped: the process cannot go on, or is gone.
        """
        self.tell(word)
        states: dict[int, bytes] = {}
        while True:
            packed = receive(self._out)
            if packed is None:
                raise self._gone()
            said = self._decoder.decode(packed)
            if isinstance(said, Failed):
                raise SimulationStopped(said.what, hint=said.hint)
            if isinstance(said, Exercised):
                return states, said
            hear(said)
            self.cpu_s, self.rss_bytes = said.cpu_s, max(self.rss_bytes, said.rss_bytes)
            states |= said.states
            if said.done:
                self.kept_bytes = max(self.kept_bytes, said.kept_bytes)
                if isinstance(word, Live):
                    return states, Exercised(replies=())

    def _gone(self) -> SimulationStopped:
        code = self._child.wait(END_S)
        return SimulationStopped(f"a process of virtual devices ended with code {code}", hint="see its words above")

    def close(self) -> None:
        """Let it end."""
        self._in.close()
        try:
            self._child.wait(END_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._out.close()


class Processes:
    """All of them, as `coordinator.simulation.devices.Devices`."""

    def __init__(self, world: World, engine: str, count: int, progress: Progress, address: str = "") -> None:
        """Start them.

        Args:
            count: of processes; of Flower's nodes where the engine is `ray`.
            address: of a Ray cluster for `ray`; empty: one of this machine's own is started.
        """
        self.tally, self._engine = Tally(world.hours), engine
        self._progress, self._lock, self._began = progress, Lock(), time.monotonic()
        if engine == "ray":
            self._processes = [Process(world, NODES, str(count), *([address] if address else []))]
        else:
            self._processes = [Process(world, DEVICES) for _ in range(count)]
        self._pool = ThreadPoolExecutor(len(self._processes))
        self._kept_devices = 0

    def _hear(self, word: Lived) -> None:
        with self._lock:
            self.tally.add(word)
            self._progress(word.devices)

    def _share(self, devices: Sequence[int]) -> list[list[int]]:
        """Places of the devices, by process: a device always lives in the same one."""
        places: list[list[int]] = [[] for _ in self._processes]
        for place, device in enumerate(devices):
            places[device % len(places)].append(place)
        return places

    def _all(self, word: Live | Exercise) -> list[tuple[dict[int, bytes], Exercised]]:
        shares = [word.of(places) for places in self._share(word.devices)]
        asked = [
            self._pool.submit(process.ask, share, self._hear)
            for process, share in zip(self._processes, shares, strict=True)
            if share.devices
        ]
        return [one.result() for one in asked]

    def live(self, word: Live) -> dict[int, bytes]:
        """See `Devices`."""
        found: dict[int, bytes] = {}
        for states, _ in self._all(word):
            found |= states
        if not word.ends:
            self._kept_devices = max(self._kept_devices, len(word.devices))
        return found

    def exercise(self, word: Exercise) -> list[Reply]:
        """See `Devices`."""
        replies: dict[int, Reply] = {}
        for _, made in self._all(word):
            replies |= {reply.device: reply for reply in made.replies}
            self.tally.train_s += made.train_s
        self.tally.trained += sum(not reply.refused for reply in replies.values())
        return [replies[device] for device in word.devices]

    def cost(self) -> Cost:
        """What it took so far."""
        own = self._processes
        return Cost(
            engine=self._engine,
            processes=len(own),
            wall_s=round(time.monotonic() - self._began, 3),
            cpu_s=round(sum(one.cpu_s for one in own), 3),
            agent_steps=self.tally.steps,
            trained=self.tally.trained,
            train_cpu_s=round(self.tally.train_s, 3),
            rss_bytes=int(sum(one.rss_bytes for one in own)),
            empty_bytes=int(sum(one.empty_bytes for one in own)),
            kept_bytes=int(sum(one.kept_bytes for one in own)),
            kept_devices=self._kept_devices,
        )

    def close(self) -> None:
        """Let all processes end."""
        for process in self._processes:
            process.close()
        self._pool.shutdown()


@contextmanager
def processes(world: World, engine: str, count: int, progress: Progress, address: str = "") -> Iterator[Processes]:
    """Start them, and let them end in any case.

    Raises:
        SimulationStopped: they cannot start.
    """
    own = Processes(world, engine, count, progress, address)
    try:
        yield own
    finally:
        own.close()
