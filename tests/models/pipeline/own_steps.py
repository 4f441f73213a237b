"""Steps of a config's own, as an engineer would write them."""

import os
from pathlib import Path

from models.pipeline.files import Files
from models.pipeline.run import Asked


def dies_once(files: Files, asked: Asked) -> Files:
    """Kill this process without a word the first time, as a power cut would."""
    del files
    marker = asked.folder / "died"
    if not marker.exists():
        marker.write_text("")
        os.kill(os.getpid(), 9)
    return {}


def dimmed(files: Files, asked: Asked) -> Files:
    """Every reading of light halved."""
    del asked
    found = {}
    for name, content in files.items():
        if name.startswith("data/occupancy"):
            rows = [line.split(",") for line in content.decode().split()]
            found[name] = "".join(",".join([*r[:2], str(float(r[2]) / 2), *r[3:]]) + "\n" for r in rows).encode()
    return found


def escapes(files: Files, asked: Asked) -> Files:
    """A file outside of the folder."""
    del files, asked
    return {str(Path("..") / "outside"): b""}
