"""`python -m demo.pages`: the shop's page and the kiosk, until Ctrl-C."""

import shutil
import signal
import sys
import time
from pathlib import Path

import click
from rich.console import Console

from demo.pages.house import House
from demo.stack import DemoFailed


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address for pages; 0.0.0.0 lets phones in.")
@click.option("--port", default=8090, show_default=True, type=click.IntRange(0, 65_535), help="0: a free one.")
@click.option(
    "--dir", "root", default=".demo-pages", show_default=True, type=click.Path(path_type=Path), help="Where to work."
)
def main(host: str, port: int, root: Path) -> None:
    """A shop's page and a kiosk on this machine: touch something, and what is shown next changes.

    A real broker (mosquitto, with WebSockets for pages) and a real agent decide; nothing leaves this machine.
    """
    console = Console()
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    house = None
    try:
        house = House(root.resolve(), host, port)
        house.start()
        for page in ("shop", "kiosk"):
            console.print(f"  {page:<6} {house.url}/{page}.html", highlight=False)
        console.print(f"Agent's settings: {house.settings}; logs: {house.stack.logs}. Ctrl-C stops everything.")
        while True:
            time.sleep(1)
            house.stack.check()
    except KeyboardInterrupt:
        console.print("stopping")
    except DemoFailed as error:
        console.print(f"[red]error:[/red] {error}\n  fix: {error.hint}", highlight=False)
        sys.exit(1)
    finally:
        if house is not None:
            house.stop()


if __name__ == "__main__":
    main()
