"""Virtual devices: the real agent with made-up people around it, for `edge-coordinator simulate`."""
