"""The device's own page: its parts; in a real browser, see `tests/browser/`."""
