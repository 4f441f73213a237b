"""Who lives the virtual devices of a simulation, and what is written of it."""
