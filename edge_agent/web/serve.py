"""The process of `edge-agent web`: one server on one address, until SIGTERM."""

import socket
import ssl
import time
from pathlib import Path

import uvicorn

from edge_agent.errors import SettingsError, StoreUnavailable
from edge_agent.settings import Settings
from edge_agent.web.app import build
from edge_agent.web.site import Site
from firmware_configs.notify import notify

CONNECTIONS_MAX = 64
KEEP_ALIVE_S = 5
GRACE_S = 3
FIRST_START_S = 30.0
"""How long the agent's first start may take to make its folder: both are often started at once."""


class _Server(uvicorn.Server):
    """Tells the service manager when it serves."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            notify("READY=1")


def serve(settings_path: Path, settings: Settings, ready: str) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        ready: what is said once it listens.
    Raises:
        SettingsError: nobody can listen at that address.
        StoreUnavailable: the agent's folder is not there, and does not come.
    """
    _await_folder(Path(settings.state_dir))
    site = Site(settings_path, settings)
    held = _listening(settings)
    config = uvicorn.Config(
        build(site),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        ssl_certfile=settings.web.cert or None,
        ssl_keyfile=settings.web.key or None,
    )
    with held:
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"web.cert, web.key: {error}", hint="give a PEM certificate and its own key") from error
        print(ready, flush=True)
        _Server(config).run(sockets=[held])


def _await_folder(state_dir: Path) -> None:
    deadline = time.monotonic() + FIRST_START_S
    while _missing(state_dir):
        if time.monotonic() > deadline:
            raise StoreUnavailable(f"{state_dir} is not there", hint="start the agent first: it makes its folder")
        time.sleep(0.05)


def _missing(folder: Path) -> bool:
    try:
        folder.stat()
    except FileNotFoundError:
        return True
    except OSError:  # it is there, but not for us: what opens it says so
        return False
    return False


def _listening(settings: Settings) -> socket.socket:
    web = settings.web
    family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((web.host, web.port))
        held.listen(CONNECTIONS_MAX)
    except OSError as error:
        held.close()
        raise SettingsError(f"web.listen: {web.listen}: {error.strerror}", hint="choose another address") from error
    return held
