"""Points at the installed server app; there is no code of its own here."""

from coordinator.shell.server_app import app as server

__all__ = ["server"]
