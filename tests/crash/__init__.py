"""kill -9 in the middle of real traffic."""
