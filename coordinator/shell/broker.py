"""The embedded broker: iotcore (rumqttd) as a child, with an MQTT 5 listener. A broker's URL is used the same way."""

import socket
from pathlib import Path

from iotcore import Broker

from coordinator.errors import ChildFailed, PortTaken

PAYLOAD_BYTES_MAX = 1_048_576
INFLIGHT_MAX = 256
# rumqttd's log keeps at most segments × bytes a topic filter: what a device may miss while it is away.
SEGMENT_BYTES, SEGMENTS = 16 * 1024 * 1024, 8

CONFIG = """\
# Written by edge-coordinator; a broker of your own is used with --broker URL.
id = 0

[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = {inflight}
max_segment_size = {segment}
max_segment_count = {segments}

[v5.1]
name = "v5"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = {payload}
max_inflight_count = {inflight}
dynamic_filters = true
"""


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def start(home: Path, host: str, port: int) -> Broker:
    """Start the embedded broker and wait until it listens.

    Raises:
        PortTaken: something else listens there.
        ChildFailed: it does not come up.
    """
    home.mkdir(parents=True, exist_ok=True)
    config = home / "broker.toml"
    config.write_text(
        CONFIG.format(
            host=host,
            port=port,
            payload=PAYLOAD_BYTES_MAX,
            inflight=INFLIGHT_MAX,
            segment=SEGMENT_BYTES,
            segments=SEGMENTS,
        )
    )
    try:
        return Broker(config_path=str(config)).start()
    except OSError as error:
        raise PortTaken(
            f"{host}:{port} is taken: {error}", hint="choose another --broker-port, or 0 for any"
        ) from error
    except RuntimeError as error:
        raise ChildFailed(f"the embedded broker did not start: {error}", hint=f"read {config}") from error
