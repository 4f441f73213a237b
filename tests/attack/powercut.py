"""Power cuts during an update: `python -m tests.attack.powercut --loops 100 --seed 1 --json`.

Each loop: a real agent with the old version is told to update from a real HTTPS registry, and at a random moment agent
and updater are killed with SIGKILL together (as a power cut ends both). Then the agent starts again and is asked to
decide. Whole means: it decides, by the old or the new version; what lies under a bundle's name is what was signed; and
the trust that it holds can be loaded. Nothing is repaired between loops but that the old version is wanted again.
Every other cut is aimed: it waits for the new bundle's file and falls between there and the first decision by it, where
the switch is; the others fall anywhere in an update, which is mostly fetching.
SIGKILL ends processes, not the kernel: what was written stays in the page cache, so this says nothing of a missing
fsync.
`--keep FOLDER` holds the agent's log, and what its processes were doing, if a loop fails.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from paho.mqtt import publish
from paho.mqtt.enums import MQTTProtocolVersion
from tuf.api.metadata import Metadata

from coordinator.shell import pki
from coordinator.shell.registry_store import Registry
from edge_agent.shell.trust import anchor
from firmware_configs.messages import DecisionMade, Desired, Topics
from tests.attack.mirror import Mirror, mirror
from tests.attack.yard import CONTEXT, version
from tests.benchmarks.load import DEVICE, PROFILE, READING, agent_command, broker, wait_for, write_agent
from tests.edge_agent.shell.test_run import Ear, tell

Run = Callable[..., dict[str, object]]
START_S = 240.0
AGAIN_S = 5.0
"""A decision that has not come by then is asked for again."""
SWAP = 'swap = { start = "full", watched_decisions = 1 }\n[[placement]]'


class Bench:
    """One device whose power fails again and again."""

    def __init__(self, folder: Path, port: int, served: Mirror, registry: Registry) -> None:
        self.folder, self.port, self.served, self.registry = folder, port, served, registry
        self.settings = write_agent(folder / "agent", port, PROFILE.replace("[[placement]]", SWAP))
        self.state, self.log = folder / "agent" / "state", folder / "agent.log"
        trust = self.state / "trust"
        trust.mkdir(parents=True)
        (trust / "root.json").write_bytes(registry.root_path.read_bytes())
        ca = registry.home / "keys" / "ca.pem"
        self.settings.write_text(self.settings.read_text() + f'[registry]\nurl = "{served.url}"\nca = "{ca}"\n')
        self.ear = Ear(port, "edgeward/1/+/decision/#", "edgeward/1/+/status")
        self.running: subprocess.Popen[bytes] | None = None
        self.revision = self.events = 0

    def start(self) -> None:
        """The agent, in a session of its own."""
        out = self.log.open("ab")
        before = self._connected()
        self.running = subprocess.Popen(agent_command(self.settings), stdout=out, stderr=out, start_new_session=True)
        wait_for(lambda: self._connected() > before, "the agent", START_S)

    def _connected(self) -> int:
        return self.log.read_text().count(" connected ")

    def want(self, number: str, **documents: str) -> None:
        """The coordinator's word: a version of the bundle, and documents by kind."""
        self.revision += 1
        word = Desired(
            revision=self.revision, bundles={"context": number}, registry=self.served.url, documents=documents
        )
        payload = msgspec.msgpack.encode(word)
        publish.single(
            Topics(DEVICE).of("desired"),
            payload,
            qos=1,
            retain=True,
            hostname="127.0.0.1",
            port=self.port,
            protocol=MQTTProtocolVersion.MQTTv5,
        )

    def cut(self) -> str:
        """The power fails: agent, updater and probe die at once; returns who was alive."""
        assert self.running is not None
        family = _family(self.running.pid)
        for pid in (self.running.pid, *family):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.running.wait()
        wait_for(lambda: not any(_alive(pid) for pid in family), "the children's end", START_S)
        return f"agent and {len(family)} children"

    def decides(self) -> str:
        """The version that decides about one more event, which is told again where nothing was decided."""
        before, deadline = self.ear.count("/decision/"), time.monotonic() + START_S
        while self.ear.count("/decision/") == before:
            assert time.monotonic() < deadline, "no decision"
            self.events += 1
            tell(self.port, {"id": f"e{self.events}-{time.monotonic_ns()}", **READING, "light": 400.0})
            with contextlib.suppress(AssertionError):
                wait_for(lambda: self.ear.count("/decision/") > before, "a decision", AGAIN_S)
        payload = next(p for t, p in reversed(self.ear.heard) if "/decision/" in t)
        return msgspec.msgpack.decode(payload, type=DecisionMade).bundles["context"]

    def faults(self) -> list[str]:
        """What is not whole on the disk."""
        found: list[str] = []
        signed = {f"context-{t.version}.edgeward": t.sha256 for t in self.registry.published()}
        found += [
            f"{path.name} is not what was signed"
            for path in (self.state / "bundles").glob("*.edgeward")
            if hashlib.sha256(path.read_bytes()).hexdigest() != signed.get(path.name)
        ]
        try:
            Metadata.from_bytes(anchor(self.state / "trust"))
            for path in (self.state / "trust").glob("*.json"):
                if path.exists():
                    Metadata.from_bytes(path.read_bytes())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a fault
            found.append(f"trust: {error!r}")
        return found

    def doing(self) -> str:
        """What the agent and its children wait for now, one a line."""
        if self.running is None:
            return ""
        pids = (self.running.pid, *_family(self.running.pid))
        return "\n".join(f"{pid} {_word(pid, 'cmdline')} {_word(pid, 'wchan')} {_word(pid, 'stat')}" for pid in pids)

    def close(self) -> None:
        if self.running is not None and self.running.poll() is None:
            self.cut()
        self.ear.close()


def _family(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    found = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(child), *_family(int(child))]
    return found


def _word(pid: int, name: str) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace").replace("\0", " ").strip()
    return "gone"


def _alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def run(loops: int, seed: int, folder: Path, say: bool = False, keep: Path | None = None) -> dict[str, object]:
    """So many power cuts; what came of them.

    Args:
        keep: folder for the agent's log where something fails.
    """
    dice = random.Random(seed)  # noqa: S311 - when the power fails
    home = folder / "home"
    registry = Registry.ensure(home)
    registry.publish(CONTEXT)
    pki.ensure_server(home)
    served_by: dict[str, Counter[str]] = {"aimed": Counter(), "anywhere": Counter()}
    children: Counter[str] = Counter()
    faults: list[str] = []
    with broker("iotcore", folder) as port, mirror(home) as served, contextlib.ExitStack() as left:
        served.folder = home / "registry"
        bench = left.enter_context(watched(Bench(folder, port, served, registry), keep))
        bench.start()
        assert bench.decides() == "1.0.0"
        (span_s, switch_s), old = _span(bench, registry, folder), "1.0.1"
        for number in range(loops):
            new = f"1.0.{number + 2}"
            registry.publish(version(folder, new))
            bench.want(new)
            aim = "aimed" if number % 2 else "anywhere"
            if aim == "aimed":
                _await_file(bench, new)
            time.sleep(dice.uniform(0.0, (switch_s if aim == "aimed" else span_s) * 1.2))
            children[bench.cut()] += 1
            faults += [f"loop {number}: {one}" for one in bench.faults()]
            bench.start()
            now = bench.decides()
            if now not in (old, new):
                faults.append(f"loop {number}: {now} decides, neither {old} nor {new}")
            served_by[aim]["new" if now == new else "old"] += 1
            # Once the power stays, the update goes through by itself.
            deadline = time.monotonic() + START_S
            while bench.decides() != new:
                if time.monotonic() > deadline:
                    faults.append(f"loop {number}: {new} never came")
                    break
                time.sleep(0.05)
            old = new
            if say:
                print(f"{number + 1}/{loops}: {now} decided; {len(faults)} faults", file=sys.stderr, flush=True)
        if faults:
            _keep(bench, keep)
    return {
        "kills": loops,
        "seed": seed,
        "whole": loops - len({one.split(":")[0] for one in faults}),
        "faults": faults,
        "decided_by": {aim: dict(counts) for aim, counts in served_by.items()},
        "alive": dict(children),
        "span_s": round(span_s, 2),
        "switch_s": round(switch_s, 3),
    }


@contextlib.contextmanager
def watched(bench: Bench, keep: Path | None) -> Iterator[Bench]:
    """The bench, whose log is kept if it ends in an error, and whose agent ends with it."""
    try:
        yield bench
    except BaseException:
        _keep(bench, keep)
        raise
    finally:
        bench.close()


def _keep(bench: Bench, keep: Path | None) -> None:
    if keep is None:
        return
    keep.mkdir(parents=True, exist_ok=True)
    shutil.copy(bench.log, keep / "agent.log")
    (keep / "processes.txt").write_text(bench.doing())
    print(f"the agent's log is kept in {keep}", file=sys.stderr, flush=True)


def _await_file(bench: Bench, number: str) -> None:
    """Until the new bundle lies there, verified: the switch begins."""
    path = bench.state / "bundles" / f"context-{number}.edgeward"
    deadline = time.monotonic() + START_S
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} never came"
        time.sleep(0.001)


def _span(bench: Bench, registry: Registry, folder: Path) -> tuple[float, float]:
    """Seconds that an update takes here and now: all of it, and from the bundle's file to the first decision by it."""
    registry.publish(version(folder, "1.0.1"))
    started = time.monotonic()
    bench.want("1.0.1")
    _await_file(bench, "1.0.1")
    here = time.monotonic()
    while bench.decides() != "1.0.1":
        assert time.monotonic() - started < START_S, "the first update never came"
        time.sleep(0.02)
    return time.monotonic() - started, time.monotonic() - here


def main(what: str | None, run: Run) -> None:
    """The command line of a run of power cuts; exit code 1 where there were faults.

    Args:
        what: is done to the agent.
        run: does it.
    """
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--loops", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", type=Path, default=None, help="Folder for the agent's log if something fails.")
    given = parser.parse_args()
    with TemporaryDirectory(prefix="edgeward-cut-") as folder:
        found = run(given.loops, given.seed, Path(folder), say=True, keep=given.keep)
    print(json.dumps(found, indent=None if given.json else 2))
    raise SystemExit(1 if found["faults"] else 0)


if __name__ == "__main__":
    main(__doc__, run)
