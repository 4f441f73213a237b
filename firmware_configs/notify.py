"""Tells systemd how we are: `Type=notify` and the watchdog, without a library for one datagram."""

import os
import socket


def notify(word: str) -> None:
    """Send a word such as `READY=1` to the service manager, if there is one that listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    # A leading @ stands for Linux's abstract namespace.
    target = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.sendto(word.encode(), target)
    except OSError:
        return  # nobody listens any more; there is nobody to tell
