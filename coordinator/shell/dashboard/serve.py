"""The dashboard's server: where it listens, by which names, and with which certificate."""

import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn
from msgspec import Struct

from coordinator.errors import DashboardExposed, PortTaken
from coordinator.shell import pki
from coordinator.shell.dashboard.app import build
from coordinator.shell.dashboard.site import Site

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
STOP_S = 2


class Options(Struct, frozen=True, kw_only=True):
    """What `dashboard` was asked for."""

    home: Path
    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    """DNS names and addresses by which people reach it, besides `host` and this machine's own."""
    port: int = 0
    tls: bool = False
    """By the certificate of the coordinator's own authority, as `up` has it."""
    certificate: Path | None = None
    key: Path | None = None
    ready_file: Path | None = None


def serve(options: Options, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        DashboardExposed: it would be reached from elsewhere without TLS.
        PortTaken: see there.
    """
    pair = _pair(options)
    if pair is None and options.host not in LOOPBACK:
        raise DashboardExposed(
            f"{options.host} can be reached from other machines, and passwords would cross the network unencrypted",
            hint="add --tls, or --certificate FILE --key FILE; or leave --host and put a proxy with TLS before it",
        )
    with _bound(options) as listening:
        port = listening.getsockname()[1]
        names = {*pki.LOCAL, "[::1]", options.host, *options.names}
        site = Site(options.home, secure=pair is not None)
        config = uvicorn.Config(
            build(site, names),
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=True,
            ssl_certfile=str(pair.certificate) if pair is not None else None,
            ssl_keyfile=str(pair.key) if pair is not None else None,
            timeout_graceful_shutdown=STOP_S,
            limit_concurrency=512,
        )
        shown = (*options.names, options.host)[0]
        say(f"dashboard     {'https' if pair is not None else 'http'}://{shown}:{port}")
        if not site.users.all():
            say("nobody can sign in yet: edge-coordinator dashboard users add NAME --role operator")
        say("ready; Ctrl-C stops it")
        if options.ready_file is not None:
            options.ready_file.write_text(f"{port}\n")
        try:
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            if options.ready_file is not None:
                options.ready_file.unlink(missing_ok=True)


def _pair(options: Options) -> pki.Pair | None:
    """The certificate to serve with; None: without TLS."""
    if options.certificate is not None and options.key is not None:
        return pki.Pair(options.certificate, options.key)
    if not options.tls:
        return None
    listed = [options.host] if options.host not in {"0.0.0.0", "::"} else []  # noqa: S104 - to recognise it
    return pki.ensure_server(options.home, tuple(dict.fromkeys((*pki.LOCAL, *options.names, *listed))), "dashboard")


def _bound(options: Options) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((options.host, options.port))
    except OSError as error:
        listening.close()
        raise PortTaken(
            f"{options.host}:{options.port}: {error.strerror}", hint="choose another port, or 0 for any"
        ) from error
    return listening
