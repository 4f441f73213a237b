"""`python -m tests.coordinator.kill --loops 50 --seed 0 --json`: kill -9 in every state of a round.

Each loop starts `edge-coordinator train`, holds the process that has just written a state down (see
`coordinator/shell/fault.py`), kills a process with SIGKILL (or stops the command as a person does, where `--victims`
says `ctrl-c` or `sigterm`), goes on as an operator would (`up`, `rounds resume`), and looks at the books. The last line
is one JSON object; the exit code is 1 when a round was lost or spent twice.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from coordinator.accountant import Spend, epsilon
from coordinator.errors import AlreadyRunning
from coordinator.registry import next_version
from coordinator.rounds import Round
from coordinator.shell.enrol import enrol
from coordinator.shell.fault import VARIABLE
from coordinator.shell.home import alone, endpoints_of
from coordinator.shell.privacy_store import PrivacyStore
from coordinator.shell.registry_store import Registry
from coordinator.shell.store import Store
from coordinator.shell.watch import answers
from models.bundle import open_bundle, with_weights
from tests.coordinator.fleet import CONTEXT, Device
from tests.coordinator.pool import living

ROUNDS = 2
DEVICES = 3
NOISE = 0.05
NOISE_BY_DEVICES = 0.5
AFRESH = 1e-4
"""Standard deviation of what is added to the zoo's parameters before each loop: the features are not of one size, and
with 0.02 the first loss is 6, and updates are of one number."""
RETRIES = 5
PATIENCE_S = 240.0
IN_A_ROUND = ("planned", "open", "closing", "combined", "saved", "aggregated", "accounted")
IN_A_SECRET_SUM = ("unmasking", "unmasked")
ENTERED = "entered"
"""Where the devices add the noise: the price is paid, and the masks are about to come off."""
AT_THE_END = ("drafted", "signed", "published", "deployed")
AT_THE_START = ("session", "started")
REPORTS_ARE_IN = ("closing", "combined", "saved", "aggregated", "accounted")
STOPS = {"ctrl-c": (signal.SIGINT, 130), "sigterm": (signal.SIGTERM, 143)}
"""Signal and exit code of a command that a person stops."""
HEED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""A shell has its background jobs ignore Ctrl-C, and whoever they start does so, too."""
MODES = {
    "plain": [],
    "private": ["--epsilon-max", "1e9", "--noise", str(NOISE), "--accountant", "rdp", "--clip-norm", "1"],
    "secret": ["--secret-sum", "--clip-norm", "1"],
    "noised": ["--secret-sum", "--clip-norm", "1", "--epsilon-max", "1e9", "--noise", str(NOISE_BY_DEVICES)],
    "asynchronous": ["--asynchronous", "--buffer", str(DEVICES)],
}
ROUND_STATES = (*IN_A_ROUND, *IN_A_SECRET_SUM, ENTERED)
NOISES = {
    "private": Spend(noise_multiplier=NOISE, rate=1.0, rounds=1),
    "noised": Spend(noise_multiplier=NOISE_BY_DEVICES, rate=1.0, rounds=1, noise_by="devices"),
}
"""What a round of a private mode costs."""
POPULATIONS = {"noised": "flats"}
"""Whose budget a mode spends; the others spend that of `homes`."""
AS_THEY_COME = ("saved", "aggregated", "accounted", *AT_THE_END, *AT_THE_START)
"""States that an asynchronous run goes through, too."""
MAY_BE_LOST = (ENTERED, "unmasked")
"""Where a sum of a run with the devices' own noise is paid for and not on disk yet: it is not asked for again."""


@dataclass
class Case:
    """One kill."""

    state: str
    number: int
    victim: str
    mode: str

    @property
    def point(self) -> str:
        return f"{self.state}:{self.number}" if self.number else self.state

    @property
    def population(self) -> str:
        return POPULATIONS.get(self.mode, "homes")

    @property
    def kept_from(self) -> tuple[str, ...]:
        """States from which on a round is not asked for again."""
        if self.mode == "noised":  # from when its price is paid, though its sum may be lost
            return (*MAY_BE_LOST, *REPORTS_ARE_IN[1:])
        # A secret sum's shares are nobody's to keep: what is lost before the sum is there is asked for again.
        return REPORTS_ARE_IN if self.mode != "secret" else REPORTS_ARE_IN[1:]

    def lost(self, rows: Sequence[Round]) -> list[int]:
        """The rounds that were paid for and lost where that may be."""
        if self.mode != "noised" or self.state not in MAY_BE_LOST:
            return []
        return [row.number for row in rows if row.number == self.number and row.state == "abandoned"]


@dataclass
class Books:
    """What came of all kills."""

    kills: int = 0
    lost: int = 0
    double_spent: int = 0
    paid_and_lost: int = 0
    """Rounds with the devices' own noise that were cut off after their price was paid, and rightly not asked again."""
    wrong: list[str] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    victims: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    parts: dict[str, float] = field(default_factory=dict)
    """Seconds of all loops until the state was reached, until the command had ended, of `up` again, and of resuming."""


def cases(
    loops: int, seed: int, states: Sequence[str] = (), victims: Sequence[str] = (), modes: Sequence[str] = ()
) -> list[Case]:
    """So many kills; the first ones go through every state (or those named) once, in an order of the seed's."""
    dice = np.random.default_rng(seed)
    states = list(states) or [*ROUND_STATES, *AT_THE_END, *AT_THE_START]
    if not any(state in states_of(mode) for state in states for mode in list(modes) or list(MODES)):
        raise ValueError(f"no run of {modes} is ever {states}")
    found = []
    while len(found) < loops:
        dice.shuffle(states)
        for state in states:
            in_round = state in ROUND_STATES
            there = ("app", "command", "link", "up") if in_round else ("command", "command", "link", "up")
            victim = str(dice.choice([one for one in victims if one in there or one in STOPS] or there))
            number = int(dice.integers(1, ROUNDS + 1)) if in_round else 0
            fitting = [mode for mode in list(modes) or list(MODES) if state in states_of(mode)]
            if fitting:
                found.append(Case(state, number, victim, str(dice.choice(fitting))))
    return found[:loops]


def states_of(mode: str) -> tuple[str, ...]:
    """The states that a run of the mode goes through."""
    if mode == "asynchronous":
        return AS_THEY_COME
    secret = IN_A_SECRET_SUM if mode in ("secret", "noised") else ()
    entered = (ENTERED,) if mode == "noised" else ()
    return (*IN_A_ROUND, *secret, *entered, *AT_THE_END, *AT_THE_START)


class Workplace:
    """A coordinator's home, with `up` as a real process."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.fault = folder / "fault"
        self.held = folder / "fault.held"
        self._ready = folder / "ready"
        self._log = (folder / "log").open("ab")
        self._up: subprocess.Popen[bytes] | None = None
        self.devices = [Device(f"home-{n}", folder / f"home-{n}") for n in range(DEVICES)]

    def start(self) -> None:
        """Start `up`, and wait until it answers."""
        self._ready.unlink(missing_ok=True)
        self._up = self.command("up", "--ready-file", str(self._ready))
        until = time.monotonic() + PATIENCE_S
        while not self._ready.exists():
            if self._up.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"`up` does not come up: see {self._log.name}")
            time.sleep(0.05)

    def people(self) -> None:
        """Publish the bundle, and enrol the devices."""
        Registry.existing(self.home).publish(CONTEXT)
        for n, device in enumerate(self.devices):
            device.make_key()
            device.live_through(30, seed=n)
            enrol(self.home, device.name, device.public)

    def afresh(self, number: int) -> None:
        """Publish the zoo's parameters again, a little moved.

        Rounds that went on from each other's results for an hour would come to updates of a few numbers, and from the
        same parameters to the same updates: the quarantine would rightly leave the devices out.
        """
        signed, old = Registry.existing(self.home), open_bundle(CONTEXT)
        version = next_version(signed.paths(), "context", signed.newest("context") or old.spec.version)
        dice, weights = np.random.default_rng(number), old.weights()
        moved = {
            p.name: (weights[p.name] + dice.normal(0, AFRESH, p.shape)).astype(np.float32)
            for p in old.spec.of_share("shared")
        }
        signed.publish(with_weights(old, moved, version, self.home.parent, "afresh, for a test"))

    def command(self, *words: str) -> "subprocess.Popen[bytes]":
        """`edge-coordinator …` as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", HEED, sys.executable, "-m", "coordinator.cli", *words, "--home", str(self.home)],
            stdout=self._log,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
            env={**os.environ, VARIABLE: str(self.fault), "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.5"},
        )

    def pid_of(self, victim: str, command: "subprocess.Popen[bytes]") -> int:
        """The process to kill."""
        if victim == "app":
            return int(self.held.read_text().split()[1])
        if victim == "command" or victim in STOPS:
            return command.pid
        pids = [int(pid) for pid in (self.home / "up.lock").read_text().split()]
        return pids[0] if victim == "up" else pids[1]

    def wait_for_silence(self) -> None:
        """Until the SuperLink takes no connections: it ends a moment after `up` was killed."""
        until = time.monotonic() + 10.0
        while answers(endpoints_of(self.home).control) and time.monotonic() < until:
            time.sleep(0.05)

    def mend(self) -> None:
        """Start `up` again, where it or its SuperLink was killed."""
        if self._up is not None and self._up.poll() is None:
            until = time.monotonic() + 3.0
            while self._up.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
        if self._up is None or self._up.poll() is not None:
            until = time.monotonic() + 30.0
            while True:  # what the kill left behind holds the home for a moment
                try:
                    with alone(self.home):
                        break
                except AlreadyRunning:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.1)
            self.start()

    def stop(self) -> None:
        """End everything."""
        self.fault.unlink(missing_ok=True)
        if self._up is not None and self._up.poll() is None:
            self._up.send_signal(signal.SIGTERM)
            self._up.wait(60)
        self._log.close()


@contextmanager
def workplace() -> Iterator[Workplace]:
    """A running coordinator with enrolled devices that take every offer."""
    with tempfile.TemporaryDirectory(prefix="edgeward-kill-") as folder:
        place = Workplace(Path(folder))
        try:
            place.start()
            place.people()
            with living(place.home, place.devices):
                yield place
        finally:
            place.stop()


@dataclass
class _Watch:
    parts: dict[str, float]
    since: float

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.parts[name] = self.parts.get(name, 0.0) + now - self.since
        self.since = now


def kill_once(place: Workplace, case: Case, books: Books) -> None:
    """One run that is killed once and gone on with; what is wrong afterwards is entered in the books."""
    started = time.monotonic()
    before = {one.version for one in Registry.existing(place.home).published()}
    known = {run.key for run in Store(place.home).runs()}
    place.held.unlink(missing_ok=True)
    place.fault.write_text(case.point)
    words = ["train", "context", "--rounds", str(ROUNDS), "--minimum-reports", str(DEVICES), "--wait-s", "0"]
    # On a busy machine Flower may hold a node for gone; an operator would have the round asked for again.
    words += [
        "--retries",
        str(RETRIES),
        "--deadline-s",
        "60",
        "--back-off-s",
        "0.2",
        "--spread-s",
        "0",
    ]
    command = place.command(*words, "--population", case.population, *MODES[case.mode])
    until = time.monotonic() + PATIENCE_S
    while not place.held.exists():
        if command.poll() is not None or time.monotonic() > until:
            books.wrong.append(f"{case}: the state was never reached")
            _give_up(place, command, known)
            return
        time.sleep(0.02)
    took = _Watch(books.parts, started)
    took.lap("reach")
    time.sleep(0.05)
    (key,) = {run.key for run in Store(place.home).runs()} - known
    attempts = _attempts(place, key)
    sign, due = STOPS.get(case.victim, (signal.SIGKILL, None))
    os.kill(place.pid_of(case.victim, command), sign)
    books.kills += 1
    books.states[case.state] += 1
    books.victims[case.victim] += 1
    books.modes[case.mode] += 1
    if case.victim in ("link", "up"):
        place.wait_for_silence()
        time.sleep(0.3)  # so that the held process notices before it goes on
    if due is None:
        place.fault.unlink(missing_ok=True)
    code = command.wait(PATIENCE_S)
    place.fault.unlink(missing_ok=True)
    took.lap("end")
    if due is not None:
        _audit_stop(place, case, key, code, due, books)
    if case.victim in ("link", "up"):
        place.mend()
    took.lap("mend")
    state = Store(place.home).run(key)
    if code and not (state is not None and state.ended and state.result):
        code = place.command("rounds", "resume", key).wait(PATIENCE_S)
    took.lap("resume")
    if code:
        books.wrong.append(f"{case}: {key} could not be resumed")
    _audit(place, case, key, before, attempts, books)
    books.seconds.append(round(time.monotonic() - started, 1))


def _audit_stop(place: Workplace, case: Case, key: str, code: int, due: int, books: Books) -> None:
    """A command that was stopped says so by its exit code; the run stands, and nobody is asked for it any more."""
    run = Store(place.home).run(key)
    offered = [device.name for device in place.devices if Store(place.home).desired(device.name).offer is not None]
    if code != due or run is None or run.ended or offered:
        books.wrong.append(f"{case}: exit code {code}, {run}, offered to {offered}")


def _give_up(place: Workplace, command: "subprocess.Popen[bytes]", known: set[str]) -> None:
    """Clear up after a run that did not get where it was to be killed, so that the next loop can begin."""
    place.fault.unlink(missing_ok=True)
    command.kill()
    command.wait()
    for run in Store(place.home).runs():
        if run.key not in known:
            place.command("rounds", "abandon", run.key, "--reason", "it was never killed").wait(PATIENCE_S)


def _attempts(place: Workplace, key: str) -> dict[int, int]:
    return {row.number: row.attempt for row in Store(place.home).rounds(key)}


def _audit(place: Workplace, case: Case, key: str, before: set[str], attempts: dict[int, int], books: Books) -> None:
    """Look at the books.

    Args:
        before: versions that were published before the run.
        attempts: round → its newest attempt when the process was killed.
    """
    store = Store(place.home)
    run = store.run(key)
    rows = store.rounds(key)
    assert run is not None
    done, lost = [row.number for row in rows if row.state == "published"], case.lost(rows)
    books.paid_and_lost += len(lost)
    if sorted(done + lost) != list(range(1, ROUNDS + 1)) or not run.ended or run.failure:
        books.lost += 1
        books.wrong.append(f"{case}: rounds {[(r.number, r.state, r.reason) for r in rows]}, {run}")
    now = _attempts(place, key)
    for number, attempt in attempts.items():
        is_in = number < case.number or case.state in AT_THE_END or case.state in case.kept_from
        if is_in and now.get(number) != attempt:
            books.lost += 1
            books.wrong.append(f"{case}: round {number} was run again")
    _audit_privacy(place, case, key, books)
    made = {one.version for one in Registry.existing(place.home).published()} - before
    if made != {run.result}:
        books.wrong.append(f"{case}: published {made}, the run made {run.result}")
    for device in place.devices:
        desired = store.desired(device.name)
        if desired.bundles.get("context") != run.result or desired.offer is not None:
            books.wrong.append(f"{case}: {device.name} is to run {desired.bundles}, offered {desired.offer}")
    path = Registry.existing(place.home).find("context", run.result)
    if path is None or open_bundle(path).spec.parents != (run.version,):
        books.wrong.append(f"{case}: the result is not a child of {run.version}")


def _audit_privacy(place: Workplace, case: Case, key: str, books: Books) -> None:
    entries = PrivacyStore(place.home).entries("context", case.population)
    own = [number for run, number, _ in entries if run == key]
    wanted = list(range(1, ROUNDS + 1)) if case.mode in NOISES else []
    if sorted(own) != wanted:
        books.double_spent += len(own) > len(wanted)
        books.lost += len(own) < len(wanted)
        books.wrong.append(f"{case}: entered {own}, wanted {wanted}")
    if case.mode in NOISES:
        rounds = sum(spend.rounds for _, _, spend in entries)
        stated = epsilon([spend for _, _, spend in entries], 1e-5, "rdp")
        due = epsilon([msgspec.structs.replace(NOISES[case.mode], rounds=rounds)], 1e-5, "rdp")
        private = {run for run, _, _ in entries}
        rows = [
            row for run in Store(place.home).runs() if run.key in private for row in Store(place.home).rounds(run.key)
        ]
        # A round that was paid for and lost is in ε without a result.
        counted = sum(row.state == "published" for row in rows) + books.paid_and_lost * (case.mode == "noised")
        if counted != rounds or abs(stated - due) > 1e-9:
            books.double_spent += rounds > counted
            books.wrong.append(f"{case}: {rounds} rounds were spent, {counted} are published; ε {stated} and {due}")


def kill_all(found: list[Case], say: bool) -> Books:
    """Every case, in one home."""
    books = Books()
    with workplace() as place:
        for n, case in enumerate(found, 1):
            place.afresh(n)
            kill_once(place, case, books)
            if say:
                took = books.seconds[-1] if books.seconds else 0.0
                parts = {name: round(s) for name, s in books.parts.items()}
                print(
                    f"{n}/{len(found)} {case} {took:.1f} s {parts}; wrong: {len(books.wrong)}",
                    file=sys.stderr,
                    flush=True,
                )
            if books.wrong:
                print((place.home.parent / "log").read_text()[-6_000:], file=sys.stderr)
    return books


def main() -> None:
    """Kill, and print the books."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loops", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--states", nargs="*", default=[], choices=[*ROUND_STATES, *AT_THE_END, *AT_THE_START])
    parser.add_argument("--victims", nargs="*", default=[], choices=["app", "command", "link", "up", *STOPS])
    parser.add_argument("--modes", nargs="*", default=[], choices=list(MODES))
    parser.add_argument("--json", action="store_true", help="for the sake of uniformity; the last line is JSON anyway")
    given = parser.parse_args()
    books = kill_all(cases(given.loops, given.seed, given.states, given.victims, given.modes), say=True)
    seconds = sorted(books.seconds) or [0.0]
    result = {
        "kills": books.kills,
        "lost": books.lost,
        "double_spent": books.double_spent,
        "paid_and_lost": books.paid_and_lost,
        "wrong": books.wrong,
        "states": dict(sorted(books.states.items())),
        "victims": dict(sorted(books.victims.items())),
        "modes": dict(sorted(books.modes.items())),
        "seconds_median": seconds[len(seconds) // 2],
        "seconds_of": {name: round(s, 1) for name, s in books.parts.items()},
        "seed": given.seed,
    }
    print(json.dumps(result))
    sys.exit(1 if books.lost or books.double_spent or books.wrong else 0)


if __name__ == "__main__":
    main()
