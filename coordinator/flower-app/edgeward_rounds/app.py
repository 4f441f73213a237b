"""Points at the installed packages; there is no code of its own here."""

from flwr.clientapp import ClientApp

from coordinator.shell.server_app import app as server

__all__ = ["client", "server"]

# Devices run `edge_agent.shell.learner`, which takes part without executing this.
client = ClientApp()
