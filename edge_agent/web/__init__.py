"""The device's own page, in a process beside the agent; nothing of the agent imports it."""
