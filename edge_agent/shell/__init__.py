"""All I/O, and only I/O."""
