"""Prints the unit for the Debian package: the same one that `edge-agent install-service` writes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edge_agent.shell.service import FOLDER, USER, unit

print(unit("/usr/bin/edge-agent", FOLDER / "agent.toml", USER, None), end="")
