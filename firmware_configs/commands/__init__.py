"""The commands of `edge-audit`, one subject a module."""
