"""Staged rollout of a new version: the plan, the state machine and its guards, as values."""
