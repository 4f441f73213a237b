"""Federated rounds, the signed registry and the staged rollout of bundles."""
