"""Strategies of rounds."""
