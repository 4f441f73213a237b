"""A staged rollout on real agents: real processes, broker, registry and updater; only the bundles are made bad."""
