"""Runs aMQTT's broker until it is ended: `python -m tests.conformance.amqtt_broker CONFIG.json`."""

import asyncio
import json
import sys
from pathlib import Path

from amqtt.broker import Broker
from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session

from tests.conformance.brokers import PASSWORD


class Door(BaseAuthPlugin):  # type: ignore[misc]
    """Lets in whoever gives no name, and whoever gives one with the right password.

    The broker's own plugin for strangers makes it forget their sessions.
    """

    async def authenticate(self, *, session: Session) -> bool:
        return not session.username or session.password == PASSWORD


async def serve(config: Path) -> None:
    """Listen for ever."""
    broker = Broker(json.loads(config.read_text()))
    await broker.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
