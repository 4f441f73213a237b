"""The site, built as `make docs` builds it, in a folder of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build(folder: Path) -> Path:
    """Build it strictly; returns where its pages lie."""
    subprocess.run([sys.executable, "-m", "tools.site", "--out", str(folder / "docs")], cwd=ROOT, check=True)
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    settings = settings.replace("docs_dir: build/docs", "docs_dir: docs").replace(
        "site_dir: build/site", "site_dir: site"
    )
    (folder / "mkdocs.yml").write_text(settings, encoding="utf-8")
    command = [Path(sys.executable).parent / "mkdocs", "build", "--quiet", "--strict"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"
