"""The script for pages is small, and is the build of the source beside it."""

import gzip
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "edge_agent" / "web" / "script"
BUILT = FOLDER / "edgeward.min.js"
BYTES_MAX = 5_000
BROTLI = "b = require('fs').readFileSync(process.argv[1]); console.log(require('zlib').brotliCompressSync(b).length)"


def test_what_ships_was_built_of_the_source_beside_it() -> None:
    source = hashlib.sha256((FOLDER / "edgeward.js").read_bytes() + (FOLDER / "line.js").read_bytes()).hexdigest()
    named = re.match(r"/\*! edgeward\.js, Apache-2\.0; source ([0-9a-f]{16}),", BUILT.read_text())
    assert named is not None
    assert named[1] == source[:16], "run tools/minify"


def test_the_script_takes_at_most_five_kilobytes_on_its_way(capsys: pytest.CaptureFixture[str]) -> None:
    raw = BUILT.read_bytes()
    packed = len(gzip.compress(raw, 9))
    node = shutil.which("node")
    brotli = "not measured (no node)"
    if node is not None:
        told = subprocess.run([node, "-e", BROTLI, str(BUILT)], capture_output=True, text=True, check=True)
        brotli = told.stdout.strip()
        assert int(brotli) <= BYTES_MAX
    with capsys.disabled():
        print(f"\nedgeward.min.js: {len(raw)} bytes, gzip {packed}, brotli {brotli}")
    assert packed <= BYTES_MAX


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npx") is None, reason="node is not installed (apt-get install npm)")
def test_building_again_gives_what_ships_byte_for_byte(tmp_path: Path) -> None:
    again = tmp_path / "edgeward.min.js"
    subprocess.run([ROOT / "tools" / "minify", str(again)], check=True)
    assert again.read_bytes() == BUILT.read_bytes()
