"""A Ray cluster of two nodes on one machine, of which the one that works has none of a folder's files.

The head has no processor, so every worker runs on the second node. That one runs in a mount namespace of its own, with
an empty file system laid over the folder, as on another machine.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from coordinator.shell.broker import free_port

START_S, END_S, TRIES = 90.0, 20.0, 6
START = """
from ray._private.node import Node
from ray.scripts.scripts import main
Node.start_monitor = Node.start_api_server = Node.start_log_monitor = lambda *_, **_named: None
main()
"""
"""`ray start` without what no task needs: Ray gives a node's first processes 15 s, and a busy machine needs longer."""
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONUNBUFFERED": "1",
}
LOOK = """
import json, os, sys, ray
ray.init(address=sys.argv[1], log_to_driver=False)
@ray.remote(num_cpus=1)
def seen(folder):
    return sorted(os.listdir(folder))
print(json.dumps(ray.get(seen.remote(sys.argv[2]), timeout=300)))
"""


def lacking() -> str:
    """What this machine lacks for it; empty: nothing."""
    own = ("unshare", *_user(), "--mount", "true")
    if shutil.which("unshare") is None or subprocess.run(own, capture_output=True, check=False).returncode:
        return "no mount namespaces: run as root, with util-linux"
    return ""


def _user() -> tuple[str, ...]:
    return () if os.geteuid() == 0 else ("--map-root-user",)


@contextmanager
def _started(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with all that it starts in a group of its own, gone at the end."""
    environment = {**os.environ, **ENVIRONMENT}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _node(stack: ExitStack, command: Sequence[str], log: Path) -> None:
    """Start a node, more than once where the machine is too busy for Ray's own deadlines; the stack ends it."""
    for _ in range(TRIES):
        with ExitStack() as own:
            process = own.enter_context(_started(command, log))
            ends = time.monotonic() + START_S
            while process.poll() is None and time.monotonic() < ends:
                if "Ray runtime started" in log.read_text(encoding="utf-8", errors="replace"):
                    stack.enter_context(own.pop_all())
                    return
                time.sleep(0.1)
    raise RuntimeError(f"a node of Ray did not start:\n{log.read_text(encoding='utf-8', errors='replace')}")


@contextmanager
def without(folder: Path, logs: Path) -> Iterator[str]:
    """The cluster whose workers do not see what is in a folder; gives its address.

    Raises:
        RuntimeError: a node does not start; its words are in the text.
    """
    ray = (sys.executable, "-c", START, "start", "--disable-usage-stats", "--block")
    address = f"127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        # Ray's sockets lie there, and a socket's path may have 107 characters.
        own = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)))
        port = address.rpartition(":")[2]
        head = ("--head", f"--port={port}", "--num-cpus=0", f"--temp-dir={own}", "--node-ip-address=127.0.0.1")
        _node(stack, (*ray, *head), logs / "head.log")
        over = 'mount -t tmpfs none "$0" && exec "$@"'
        inside = ("unshare", *_user(), "--mount", "sh", "-c", over, str(folder))
        _node(stack, (*inside, *ray, f"--address={address}", "--num-cpus=2"), logs / "second.log")
        yield address


def seen_by_a_worker(address: str, folder: Path) -> str:
    """What a worker of the cluster finds in a folder, as a JSON list of names."""
    words = [sys.executable, "-c", LOOK, address, str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=400)
    return done.stdout.strip() or done.stderr
