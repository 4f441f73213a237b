"""`edge-coordinator dashboard`: pages over what the coordinator knows, for people who have signed in."""
