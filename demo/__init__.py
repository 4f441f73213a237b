"""The whole flow on one machine: real broker, real SuperLink, real agents, real interactions."""
