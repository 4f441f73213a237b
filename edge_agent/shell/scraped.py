"""An endpoint for Prometheus beside the agent: one page, `/metrics`, asked of the agent at each reading."""

import signal
from collections.abc import Callable
from pathlib import Path

from prometheus_client import generate_latest, start_http_server

from edge_agent.shell.exposition import registry
from firmware_configs.errors import UsageError


def address(listen: str) -> tuple[str, int]:
    """HOST:PORT as host and port; `[::1]:9464` for an IPv6 address.

    Raises:
        UsageError: it is none.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise UsageError(f"`{listen}` is no HOST:PORT", hint="such as 127.0.0.1:9464")
    return host.strip("[]"), int(port)


def serve(state_dir: Path, listen: str, say: Callable[[str], None]) -> None:
    """Answer until SIGTERM or SIGINT; `say` is told when no agent answers, and when one does.

    Raises:
        UsageError: the address is none, or is taken.
    """
    host, port = address(listen)
    ends = {signal.SIGTERM, signal.SIGINT}
    # Held back before anything is started and then waited for: none is missed, and none finds a lock that is taken.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        told = registry(state_dir, say)
        server, thread = start_http_server(port, host, told)
        generate_latest(told)  # whether an agent answers, before somebody reads
        signal.sigwait(ends)
    except OSError as error:
        raise UsageError(f"{listen}: {error.strerror or error}", hint="choose an address that is free") from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    server.shutdown()
    server.server_close()
    thread.join(1.0)
