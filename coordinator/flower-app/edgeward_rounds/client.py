"""Points at the installed client app, for devices with Flower's own SuperNode; there is no code of its own here.

Devices with `edge-agent` run `edge_agent.shell.learner`, which takes part without executing this.
"""

from edge_agent.shell.client_app import app as client

__all__ = ["client"]
