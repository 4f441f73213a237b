"""Leaves a mark in the home folder of whoever executes it."""

from pathlib import Path

from flwr.clientapp import ClientApp

(Path.home() / "EXECUTED").touch()
app = ClientApp()
