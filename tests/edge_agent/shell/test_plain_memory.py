"""How long what a profile drops stays in plain: never on the disk, in memory for a stated time, in no core dump."""

import os
import re
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.shell.vitals import ask
from tests.benchmarks.load import agent_command, wait_for
from tests.edge_agent.erasure_home import ANNA, DROPPED, Home, core_of, home, lived_in, memory

PATTERN = Path("/proc/sys/kernel/core_pattern")
HOURS = 9.0 / 3_600
"""Long enough to live in, short enough to wait for."""
needs_cores = pytest.mark.skipif(
    not PATTERN.exists() or PATTERN.read_text()[:1] in "|/\n", reason="cores are not written beside the process here"
)


def big_cores() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


@contextmanager
def agent(one: Home, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The home's agent, in a folder where a core would be written."""
    told = {f"EDGE_AGENT_{name.upper()}": value for name, value in settings.items()}
    with one.log.open("ab") as log:
        running = subprocess.Popen(
            agent_command(one.settings),
            stdout=log,
            stderr=log,
            cwd=one.folder,
            env={**os.environ, **told},
            preexec_fn=big_cores,  # noqa: PLW1509 - nothing else runs here yet
        )
    try:
        wait_for(lambda: (vitals := ask(one.state)) is not None and vitals.line.state == "up", "the agent", 60)
        yield running
    finally:
        if running.poll() is None:
            running.kill()
            running.wait()


def occurrences(core: Path, word: str) -> int:
    return len(re.findall(re.escape(word.encode()), core.read_bytes()))


@needs_cores
def test_what_was_dropped_is_in_no_file_and_after_the_stated_time_in_no_memory(tmp_path: Path) -> None:
    with home(tmp_path / "home", key=False) as one:
        with agent(one, memory_hours_max=str(HOURS)) as running:
            lived_in(one, 3)
            assert one.traces(DROPPED) == {}
            before = memory(running.pid, DROPPED)
            wait_for(lambda: one.log.read_text().count(" connected ") == 2, "the next process", 60)
            assert "lived for memory_hours_max" in one.log.read_text()
            assert one.vitals().pid == running.pid, "the same process id: whoever watches it sees no end"
            after = memory(running.pid, DROPPED)
            core = core_of(running, one.folder)
        assert core is not None, "cores were allowed"
        print(f"in memory {before} times before, {after} after; in a core {occurrences(core, DROPPED)}")
        assert after == 0
        assert occurrences(core, DROPPED) == 0
        assert occurrences(core, "home-1"), "it is a core of this agent"
        core.unlink()
        assert one.traces(DROPPED) == {}
        assert one.traces(ANNA), "what is kept is on the disk, so the search would find a trace"


@needs_cores
def test_a_crash_writes_no_core(tmp_path: Path) -> None:
    with home(tmp_path / "home", key=False) as one, agent(one, core_dumps="false") as running:
        lived_in(one, 2)
        assert core_of(running, one.folder) is None
