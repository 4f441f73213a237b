"""A light daemon: MQTT events in, decisions out, learning in place."""

__version__ = "0.1.0"
