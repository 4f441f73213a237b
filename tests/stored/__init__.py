"""Databases as earlier versions of the agent left them, as SQL, with the values that they must still serve."""
