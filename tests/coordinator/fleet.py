"""A whole coordinator and devices' learners, all real processes: broker, SuperLink over TLS, registry, children."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from coordinator.shell.enrol import enrol
from coordinator.shell.registry_store import Registry
from coordinator.shell.store import Store
from coordinator.shell.up import Options, Running, start
from edge_agent.effects import Append
from edge_agent.learn import examples
from edge_agent.shell.keys import make as make_node_key
from edge_agent.shell.pipe import (
    AskEgress,
    EgressAnswer,
    Ended,
    Frames,
    LearnTask,
    ToChild,
    ToParent,
    TrainedReport,
    frame,
)
from edge_agent.shell.store import Store as DeviceStore
from edge_agent.shell.writes import Writes
from firmware_configs.errors import EdgeError
from firmware_configs.messages import RoundOffer

ROOT = Path(__file__).parents[2]
Result = TypeVar("Result")
BUNDLES = ROOT / "models" / "zoo" / "bundles"
CONTEXT = BUNDLES / "context-1.0.0.edgeward"
OVERDUE_S = 60.0
"""After its offer has closed a learner still has so long to end by itself."""
RUN_S = 300.0
"""A whole run, on a busy machine; longer than any test may take."""
REFUSAL = "a refusal: an error code and its text"
"""What a ledger says in the place of privacy when a learner says no: nothing else has left then."""
Verdict = Callable[[AskEgress], bool]
Hear = Callable[["Learning", ToParent], None]


def granted(_ask: AskEgress) -> bool:
    return True


@dataclass
class Device:
    """A device as the learner sees it: a key, a database, a bundle file."""

    name: str
    folder: Path
    subjects: tuple[str, ...] = ("household",)

    @property
    def key(self) -> Path:
        return self.folder / "node.key"

    @property
    def public(self) -> Path:
        return self.folder / "node.pub"

    @property
    def database(self) -> Path:
        return self.folder / "edgeward.db"

    def make_key(self) -> None:
        make_node_key(self.folder, force=True)

    def live_through(self, readings: int, seed: int, *, expires_ms: int = 0) -> None:
        """Keep examples of a room that is occupied whenever its light is on."""
        dice = np.random.default_rng(seed)
        writes = Writes()
        for n in range(readings):
            light = float(dice.choice([5.0, 450.0]))
            row = [float(dice.normal(21, 1)), 27.0, light, 500.0 + light]
            example = examples.Example(features={"features": row}, label=float(light > 100))
            for subject in self.subjects:
                effect = Append(
                    shelf="example",
                    id=examples.example_id("context", f"{subject}-{seed}-{n}"),
                    group="context",
                    value=examples.pack(example),
                    made_ms=1,
                    expires_ms=expires_ms,
                    subject=subject,
                )
                writes.add([effect])
        store = DeviceStore(self.database, 64)
        assert store.commit(writes, durable=False)
        store.close()

    def task(self, offer: RoundOffer, ca: str, **other: object) -> LearnTask:
        given: dict[str, object] = {
            "device": self.name,
            "run": offer.run,
            "bundle": offer.bundle,
            "version": offer.version,
            "path": str(CONTEXT),
            "database": str(self.database),
            "superlink": offer.superlink,
            "ca": ca,
            "node_key": str(self.key),
            "app_hash": offer.app_hash,
            "closes_ms": offer.closes_ms,
            "subjects": self.subjects,
            "examples_max": 1_000,
            "clip_norm": 20.0,
            "noise_multiplier": 0.0,
            "seed": hashlib.sha256(self.name.encode()).digest(),
        }
        return LearnTask(**{**given, **other})  # type: ignore[arg-type]


@dataclass
class Said:
    """What a learner said before it ended."""

    asked: list[AskEgress] = field(default_factory=list)
    report: TrainedReport | None = None
    ended: Ended | None = None
    stderr: str = ""
    peak_mib: float = 0.0


class Learning:
    """A learner that was started as the agent starts it, and what it has said so far."""

    def __init__(self, task: LearnTask, verdict: Verdict, env: Mapping[str, str] | None, hear: Hear) -> None:
        self.said, self._hear = Said(), hear
        self._verdict = verdict
        self._child = subprocess.Popen(
            [sys.executable, "-m", "edge_agent.shell.learner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            # As `edge_agent.start` sets it for the agent and what it starts.
            env={**(env if env is not None else os.environ), "OPENBLAS_NUM_THREADS": "1"},
        )
        self.pid = self._child.pid
        # As long as its run may take it is no failure to be slow: the machine may be busy.
        open_s = min(max(0.0, task.closes_ms / 1_000 - time.time()), RUN_S)
        self._overdue = threading.Timer(open_s + OVERDUE_S, self._child.kill)
        self._overdue.daemon = True
        self._overdue.start()
        self._stderr: list[bytes] = []
        self._drain = threading.Thread(target=lambda: self._stderr.append(self._child.stderr.read()))  # type: ignore[union-attr]
        self._drain.start()
        self._tell(task)
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _tell(self, word: ToChild) -> None:
        assert self._child.stdin
        with suppress(BrokenPipeError):
            self._child.stdin.write(frame(word))
            self._child.stdin.flush()

    def _listen(self) -> None:
        frames = Frames()
        assert self._child.stdout
        while data := self._child.stdout.read1(65_536):  # type: ignore[attr-defined]
            for word in frames.feed(data):
                self._hear(self, word)
                answer = _hear(self.said, word, self._verdict)
                if answer is not None:
                    self._tell(answer)
            self.said.peak_mib = max(self.said.peak_mib, _peak_mib(self.pid))

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        self._child.kill()

    def join(self) -> Said:
        """Wait for its end; everything that it said."""
        self._listener.join()
        self._child.wait()
        self._overdue.cancel()
        self._drain.join()
        self.said.stderr = b"".join(self._stderr).decode(errors="replace")
        for stream in (self._child.stdin, self._child.stdout, self._child.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        return self.said


def start_learner(
    task: LearnTask, verdict: Verdict = granted, env: Mapping[str, str] | None = None, hear: Hear = lambda _l, _w: None
) -> Learning:
    """Start the learner as the agent does, and answer what it asks; `hear` is told each word before that."""
    return Learning(task, verdict, env, hear)


def run_learner(task: LearnTask, verdict: Verdict = granted, env: Mapping[str, str] | None = None) -> Said:
    """The same, until its end."""
    return start_learner(task, verdict, env).join()


def _hear(said: Said, word: ToParent, verdict: Verdict) -> EgressAnswer | None:
    match word:
        case AskEgress():
            said.asked.append(word)
            said_yes = verdict(word)
            return EgressAnswer(token=word.token, granted=said_yes, reason="" if said_yes else "not declared")
        case TrainedReport():
            said.report = word
        case Ended():
            said.ended = word
        case _:
            pass
    return None


def _peak_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def learn_together(tasks: list[LearnTask], verdict: Verdict = granted) -> list[Said]:
    """Learners of several devices at the same time, in the order of `tasks`."""
    said: dict[int, Said] = {}

    def learn(n: int, task: LearnTask) -> None:
        said[n] = run_learner(task, verdict)

    threads = [threading.Thread(target=learn, args=pair) for pair in enumerate(tasks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [said[n] for n in range(len(tasks))]


def together(
    place: "Coordinator",
    devices: list[Device],
    ask: Callable[[], Result],
    verdict: Verdict = granted,
    **task: object,
) -> tuple[Result | None, EdgeError | None, list[Said]]:
    """What a command of the coordinator's gives, or why it refuses, while these devices' learners take part.

    Args:
        ask: the command.
        verdict: of the devices' ledgers.
        task: what else the devices' tasks say.
    """
    done: list[Result] = []
    failed: list[EdgeError] = []

    def run() -> None:
        try:
            done.append(ask())
        except EdgeError as error:
            failed.append(error)

    known = place.store.desired(devices[0].name).offer
    worker = threading.Thread(target=run)
    worker.start()
    offer = place.offer_of(devices[0].name, known.run if known else "", worker)
    path = str(Registry.existing(place.home).find(offer.bundle, offer.version))
    told: dict[str, object] = {"version": offer.version, "path": path, "counts": offer.counts}
    given = {**told, "statistic": offer.kind == "statistic", **task}
    said = learn_together([device.task(offer, place.ca, **given) for device in devices], verdict)
    worker.join()
    return done[0] if done else None, failed[0] if failed else None, said


@dataclass
class Coordinator:
    """A running coordinator in a home of its own."""

    home: Path
    running: Running

    @property
    def ca(self) -> str:
        return self.running.endpoints.ca

    @property
    def store(self) -> Store:
        return Store(self.home)

    def enrol(self, devices: list[Device]) -> None:
        """Make keys and enrol them, side by side: each is a process of Flower's."""
        with ThreadPoolExecutor() as pool:
            for device in devices:
                device.make_key()
            list(pool.map(lambda device: enrol(self.home, device.name, device.public), devices))

    def offer_of(self, device: str, known: str = "", command: threading.Thread | None = None) -> RoundOffer:
        """The offer that a device finds in its desired state, once it is another one than `known`.

        Args:
            command: what will make it; once that has ended there is nothing to wait for.
        """
        deadline, may_come = time.monotonic() + RUN_S, True
        while may_come:
            may_come = time.monotonic() < deadline and (command is None or command.is_alive())
            offer = self.store.desired(device).offer
            if offer is not None and offer.run != known:
                return offer
            time.sleep(0.05)
        raise AssertionError(f"no offer for {device}")


@contextmanager
def coordinator(folder: Path, replies: Path | None = None) -> Iterator[Coordinator]:
    """Broker, SuperLink and registry, with the zoo's `context` published; `replies`: where a record of them is made."""
    home = folder / "home"
    running = start(Options(home=home, replies=replies))
    try:
        Registry.existing(home).publish(CONTEXT)
        yield Coordinator(home, running)
    finally:
        running.stop()
