"""Attacks on the updater: a hostile registry over real HTTPS, the real child, and a real agent that goes on."""
