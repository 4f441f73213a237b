"""Tutorials as programs: their blocks of shell in order, in one shell, and what each must have said.

A block of `sh` is typed in as it stands; one below `<!-- install -->` is left out where edgeward is installed already.
A block of `text` is what the block of shell before it must have printed: these lines in this order, `…` alone for any
lines between them, `…` within a line for anything.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo.pages.house import free_port

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = ROOT / "docs" / "tutorials"
FENCE: Final = re.compile(
    r"^(?P<install><!-- install -->\n)?```(?P<kind>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
PORT: Final = re.compile(r"\b18[0-9]{3}\b")
"""Ports of the tutorials; a test takes others, for several may run on one machine."""
TIMEOUT_S: Final = 800.0
MARK: Final = "@@ end of block"
BEFORE: Final = """\
set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
command -v sudo > /dev/null || sudo() { "$@"; }
"""
"""An error ends it, and so does whatever went on in the background."""


@dataclass(frozen=True)
class Block:
    """One block of shell."""

    line: int
    """In the page, from 1."""
    shell: str
    install: bool
    shown: tuple[str, ...]
    """Lines that it must print; empty: nothing is promised."""


@dataclass(frozen=True)
class Played:
    """What came of a block."""

    block: Block
    printed: str
    seconds: float
    """Since the begin of the first block until its end."""


def kinds(text: str) -> list[str]:
    """What the fences of a page say that they hold."""
    return [found["kind"] for found in FENCE.finditer(text)]


def blocks(text: str) -> list[Block]:
    """The blocks of shell of a page, each with what is shown after it."""
    made: list[Block] = []
    for found in FENCE.finditer(text):
        kind, body = found["kind"], found["body"]
        if kind == "text" and made:
            last = made.pop()
            made.append(Block(last.line, last.shell, last.install, (*last.shown, *body.splitlines())))
        elif kind == "sh":
            made.append(Block(text.count("\n", 0, found.start()) + 1, body, bool(found["install"]), ()))
    return made


def play(
    chosen: Sequence[Block], folder: Path, clone: Path, environment: Mapping[str, str], timeout_s: float = TIMEOUT_S
) -> list[Played]:
    """Type the blocks into one shell.

    Args:
        chosen: blocks, in their order.
        folder: where the shell's home is made, empty.
        clone: where it begins.
        environment: of the shell, above a bare one.
        timeout_s: for all of it.
    Returns:
        What came of each block that ended well; fewer than `chosen` where one failed, whose output is in the last.
    """
    home = folder / "home"
    home.mkdir(parents=True)
    log = folder / "printed"
    text = "".join(
        f'{block.shell}echo "{MARK} {n} $(date +%s.%N)"\n' for n, block in enumerate(with_free_ports(chosen))
    )
    script = folder / "script"
    script.write_text(f'{BEFORE}echo "{MARK} -1 $(date +%s.%N)"\n{text}', encoding="utf-8")
    bare = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["bash", str(script)],
            cwd=clone,
            env={**bare, **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait(30)
    return _played(chosen, log.read_text(encoding="utf-8", errors="replace"))


def with_free_ports(chosen: Sequence[Block]) -> list[Block]:
    """The same blocks on ports that nobody has, each port of the page the same everywhere."""
    ports: dict[str, str] = {}
    for block in chosen:
        for port in PORT.findall(block.shell):
            if port not in ports:
                ports[port] = str(free_port())
    return [
        Block(block.line, PORT.sub(lambda found: ports[found[0]], block.shell), block.install, block.shown)
        for block in chosen
    ]


def _played(chosen: Sequence[Block], printed: str) -> list[Played]:
    pieces = re.split(rf"^{MARK} -?\d+ ([\d.]+)\n", printed, flags=re.MULTILINE)
    begin = float(pieces[1])
    done = [
        Played(block, text, float(at) - begin)
        for block, text, at in zip(chosen, pieces[2::2], pieces[3::2], strict=False)
    ]
    if len(done) < len(chosen):
        done.append(Played(chosen[len(done)], pieces[-1] + "\n(this block did not come to its end)", float("inf")))
    return done


def fault(played: Played) -> str:
    """What a block should have printed and did not; empty: all is well."""
    if played.seconds == float("inf"):
        return f"line {played.block.line}: {played.block.shell}{played.printed}"
    rest = iter(line.rstrip() for line in played.printed.splitlines())
    for line in played.block.shown:
        if line.strip() == "…":
            continue
        pattern = re.compile(".*".join(map(re.escape, line.rstrip().split("…"))))
        if not any(pattern.fullmatch(found) for found in rest):
            return (
                f"line {played.block.line}: {played.block.shell}should have said `{line}`, and said\n{played.printed}"
            )
    return ""


def mosquitto() -> bool:
    """Whether the broker and its clients, which some tutorials ask for, are here."""
    return Path("/usr/sbin/mosquitto").exists() and shutil.which("mosquitto_pub") is not None
