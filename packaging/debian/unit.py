"""Prints a unit of the Debian package by its name: the same ones that `edge-agent install-service` writes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edge_agent.shell.service import FOLDER, USER, units

print(units("/usr/bin/edge-agent", FOLDER / "agent.toml", USER, None)[sys.argv[1]], end="")
