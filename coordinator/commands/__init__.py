"""The parts of `edge-coordinator`, one subject a module."""
