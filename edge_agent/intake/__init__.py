"""From raw message to minimised event."""
