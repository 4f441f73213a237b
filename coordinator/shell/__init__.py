"""All I/O of the coordinator, and only I/O."""
