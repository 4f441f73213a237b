"""A home with two people, for erasure: a real agent, broker and files, names and values that occur nowhere else."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from paho.mqtt import publish
from paho.mqtt.enums import MQTTProtocolVersion

from edge_agent.infer.bundle import load_model
from tests.benchmarks.load import agent_command, broker, process, wait_for
from tests.edge_agent.house import HOME, ROOT

DEVICE = "home-1"
ANNA, BERT = "anna-q7f3k9", "bert-x2m8w4"
DROPPED = "RAW-5511-dropped-by-minimisation"
MORE = """
[[purpose]]
name = "recognise"
legal_basis = "consent"
consent = "required"
text = "Which of your things are yours is noticed here, so that they agree."
[identity]
purposes = ["recognise"]
[[identity.link]]
name = "pairing"
kind = "pairing"
field = "peer"
[[identity.evidence]]
name = "hours"
kind = "rhythm"
"""
PEER = """
[[source.field]]
name = "peer"
type = "text"
category = "user.behavior"
purposes = ["recognise"]

[[source]]
name = "room"
"""
PURPOSES = ("personalise", "improve-models", "recognise")


def profile() -> str:
    """The home gateway's, with who is who, and a cap."""
    text = HOME.replace('\n[[source]]\nname = "room"\n', PEER, 1)
    cap = "cap = [{ count = 500, per_s = 3600.0 }]"
    return text.replace('name = "next-pick"\n', f'name = "next-pick"\n{cap}\n', 1) + MORE


class Home:
    """The agent's folder, its broker, and what is told to it."""

    def __init__(self, folder: Path, port: int, *, key: bool = True) -> None:
        self.folder, self.port, self.state, self.log = folder, port, folder / "state", folder / "agent.log"
        self.settings, self.number = folder / "agent.toml", 0
        self.state.mkdir(parents=True)
        (folder / "profile.toml").write_text(profile())
        found = (
            max((ROOT / "models" / "zoo" / "bundles").glob(f"{name}-*.edgeward")) for name in ("affinity", "context")
        )
        bundles = [str(path) for path in found]
        self.catalogue = load_model(Path(bundles[0])).catalogue
        link = ""
        if key:
            self.cli("keys", "new", "--state-dir", str(self.state))
            link = f'superlink = {{ node_key = "{self.state / "node.key"}" }}\n'
        self.settings.write_text(
            f'device = "{DEVICE}"\nstate_dir = "{self.state}"\nprofile = "{folder / "profile.toml"}"\n'
            f"bundles = {json.dumps(bundles)}\nallow_unsigned = true\nrecord = true\n{link}"
            "core_dumps = true\n"  # tests look into its memory, also those that are not root's
            f'broker = {{ url = "mqtt://127.0.0.1:{port}" }}\n'
        )

    @staticmethod
    def cli(*words: str) -> "subprocess.CompletedProcess[str]":
        """A command of `edge-agent`."""
        command = [sys.executable, "-m", "edge_agent.cli", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def asked(self, *words: str) -> Any:
        """What a command answers as JSON."""
        done = self.cli(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def tell(self, topic: str, word: object, *, retain: bool = False) -> None:
        """Publish JSON."""
        publish.single(
            f"home/{DEVICE}/{topic}" if "/" not in topic else topic,
            json.dumps(word).encode() if word != "" else b"",
            qos=1,
            retain=retain,
            hostname="127.0.0.1",
            port=self.port,
            protocol=MQTTProtocolVersion.MQTTv5,
        )

    def consent(self, subject: str, *, granted: bool = True) -> None:
        """A person's word."""
        word = {"purposes": dict.fromkeys(PURPOSES, granted), "time_ms": int(time.time() * 1_000)}
        self.tell(f"edgeward/1/{DEVICE}/consent/{subject}", word, retain=True)

    def picks(self, subject: str, other: str, count: int) -> None:
        """Events of a person, with a value that no field asks for."""
        told = []
        for _ in range(count):
            self.number += 1
            event = {
                "id": f"pick-{subject}-{self.number}",
                "user": subject,
                "item": self.catalogue[self.number % len(self.catalogue)],
                "time": time.time(),
                "peer": other,
                "note": f"{DROPPED} {subject}",
            }
            told.append((f"home/{DEVICE}/interaction", json.dumps(event).encode(), 1, False))
        publish.multiple(told, hostname="127.0.0.1", port=self.port, protocol=MQTTProtocolVersion.MQTTv5)

    def vitals(self) -> Any:
        """How the agent is; nothing while none answers."""
        from edge_agent.shell.vitals import ask

        return ask(self.state)

    def counted(self, name: str) -> int:
        """One of its counters."""
        found = self.vitals()
        return int(found.counters.get(name, 0)) if found is not None else -1

    def connects(self) -> int:
        """How often its agents said that they are connected, which they say once their subscriptions hold."""
        return self.log.read_text().count(" connected ") if self.log.exists() else 0

    def files(self) -> list[Path]:
        """Everything that the agent keeps or says: state, log."""
        return [self.log, *(path for path in self.state.rglob("*") if path.is_file())]

    def traces(self, *words: str) -> dict[str, int]:
        """File → how often one of the words occurs in its bytes."""
        found = {}
        for path in self.files():
            raw = path.read_bytes()
            if count := sum(raw.count(word.encode()) for word in words):
                found[path.name] = count
        return found


@contextmanager
def home(folder: Path, *, key: bool = True) -> Iterator[Home]:
    """A broker and a folder; no agent runs yet."""
    (folder / "broker").mkdir(parents=True)
    with broker("iotcore", folder / "broker") as port:
        yield Home(folder / "agent", port, key=key)


@contextmanager
def agent(one: Home) -> Iterator["subprocess.Popen[bytes]"]:
    """Its agent, connected, and its subscriptions answered."""
    before = one.connects()
    with process(*agent_command(one.settings), log=one.log) as running:
        wait_for(lambda: one.connects() > before, "the agent", 20)
        yield running


def lived_in(one: Home, picks: int = 12) -> None:
    """Both people agree, pick, and say what came of it."""
    before = max(0, one.counted("events"))
    for subject in (ANNA, BERT):
        heard = one.counted("consents")
        one.consent(subject)
        wait_for(lambda heard=heard: one.counted("consents") > heard, "the consent")  # type: ignore[misc]
    for subject, other in ((ANNA, BERT), (BERT, ANNA)):
        one.picks(subject, other, picks)
    wait_for(lambda: one.counted("events") >= before + 2 * picks, "the events")
    for found in one.asked("subject", "show", ANNA, "--state-dir", str(one.state))["decisions"][:2]:
        one.tell(f"edgeward/1/{DEVICE}/feedback", {"decision_id": found["id"], "outcome": "click"})
    wait_for(lambda: one.counted("feedback") >= min(2, picks), "the feedback")
    time.sleep(1.2)  # a tick: what is written once a second


def core_of(running: "subprocess.Popen[bytes]", folder: Path) -> Path | None:
    """What the system writes of a process that crashes, where it writes it beside the process; None: nothing."""
    running.send_signal(signal.SIGSEGV)
    running.wait()
    return next(iter(sorted(folder.glob("core*"))), None)


def memory(pid: int, *words: str) -> int:
    """How often one of the words occurs in a process's writable memory."""
    count = 0
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as file:
        for line in maps:
            where, rights, *_ = line.split()
            if "w" not in rights or "[v" in line:
                continue
            start, end = (int(part, 16) for part in where.split("-"))
            try:
                file.seek(start)
                raw = file.read(end - start)
            except (OSError, ValueError, OverflowError):
                continue
            count += sum(raw.count(word.encode()) for word in words)
    return count


__all__ = ["ANNA", "BERT", "DROPPED", "Home", "agent", "home", "lived_in", "memory", "msgspec"]
