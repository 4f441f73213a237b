"""Code that only the start needed is let go, and whatever is called again works as before."""

import subprocess
import sys

import pytest

from edge_agent.shell.pages import SMAPS, clean_code

LINES = """\
55d0e0a00000-55d0e0a20000 r-xp 00001000 08:01 123 /usr/bin/python3.11
Rss:                 128 kB
Private_Dirty:         0 kB
55d0e0b00000-55d0e0b20000 r-xp 00001000 08:01 124 /usr/lib/with relocations.so
Private_Dirty:         4 kB
55d0e0c00000-55d0e0c20000 rw-p 00001000 08:01 123 /usr/bin/python3.11
Private_Dirty:         0 kB
7f0000000000-7f0000010000 r-xp 00000000 00:00 0
Private_Dirty:         0 kB
7ffd1a000000-7ffd1a002000 r-xp 00000000 00:00 0   [vdso]
Private_Dirty:         0 kB
VmFlags: rd ex
"""


def test_only_clean_code_of_files_is_let_go() -> None:
    assert list(clean_code(LINES.splitlines())) == [(0x55D0E0A00000, 0x55D0E0A20000)]


@pytest.mark.skipif(not SMAPS.exists(), reason="Linux tells what is mapped")
def test_a_process_goes_on_with_less_mapped() -> None:
    script = """
import hashlib, json, re, sqlite3, ssl
from pathlib import Path
import numpy
from edge_agent.shell.pages import release_code

def work():
    numbers = numpy.random.default_rng(7).random((40, 40)) @ numpy.eye(40)
    rows = sqlite3.connect(":memory:").execute("SELECT sum(value) FROM json_each('[1, 2]')").fetchall()
    return hashlib.sha256(numbers.tobytes()).hexdigest(), rows, json.loads('{"a": 1}'), bool(re.match("a+b", "aab"))

def resident():
    return int(re.search(r"RssFile:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

before, first = work(), resident()
release_code()
assert resident() < first, (first, resident())
assert work() == before
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
