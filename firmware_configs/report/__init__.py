"""Findings and profiles as documents: for people, for machines, and for the law."""
