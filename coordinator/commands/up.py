"""`edge-coordinator up`."""

from collections.abc import Sequence
from pathlib import Path

import click

from coordinator.commands.options import home_option


@click.command()
@home_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--name", "names", multiple=True, help="DNS name or address under which devices reach this machine; repeat."
)
@click.option("--broker", default="", help="mqtt://HOST:PORT of your own, or mosquitto: run it with mutual TLS.")
@click.option("--broker-port", default=0, type=click.IntRange(0, 65_535), help="Its port, where we run it; 0: any.")
@click.option("--websocket-port", default=0, type=click.IntRange(0, 65_535),
              help="With --broker mosquitto: where pages come in, wss:// with a password; 0: nowhere.")  # fmt: skip
@click.option("--port", default=0, type=click.IntRange(0, 65_535), help="HTTPS port of registry and rounds; 0: any.")
@click.option("--replies", type=click.Path(path_type=Path),
              help="Folder for a record of what learners say: hashes and sizes, a file a device.")  # fmt: skip
@click.option("--ready-file", type=click.Path(path_type=Path), help="Written when everything answers.")
def up(
    home: Path,
    host: str,
    names: Sequence[str],
    broker: str,
    broker_port: int,
    websocket_port: int,
    port: int,
    replies: Path | None,
    ready_file: Path | None,
) -> None:
    """Start broker, SuperLink (TLS, node authentication) and registry, and keep them running."""
    from coordinator.shell import pki
    from coordinator.shell.up import ANY, Options
    from coordinator.shell.up import up as run

    listed = [host] if host not in ANY else []
    options = Options(
        home=home,
        host=host,
        reach=(*names, *listed, pki.LOCAL[1])[0],
        names=tuple(dict.fromkeys((*pki.LOCAL, *names, *listed))),
        broker=broker,
        broker_port=broker_port,
        websocket_port=websocket_port,
        port=port,
        replies=replies,
        ready_file=ready_file,
    )
    run(options, click.echo)
