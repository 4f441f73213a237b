"""Every metric that the coordinator tells to Prometheus at its door; docs/metrics.md is made of it.

Labels hold names of bundles, populations and states: a device is counted, and named nowhere.
"""

from firmware_configs.families import Family

FAMILIES = (
    Family("edgeward_coordinator_info", "gauge", "1; what runs", ("version",)),
    Family("edgeward_fleet_devices", "gauge", "enrolled devices, by what is known of their presence", ("presence",)),
    Family("edgeward_fleet_agent_devices", "gauge", "devices by their agent's version", ("version",)),
    Family("edgeward_fleet_bundle_devices", "gauge", "devices a version serves on", ("bundle", "version")),
    Family(
        "edgeward_fleet_findings",
        "gauge",
        "what `edge-coordinator fleet doctor` finds: devices by code",
        ("severity", "code"),
    ),
    Family(
        "edgeward_fleet_alerts_firing",
        "gauge",
        "devices with an alert that is not over",
        ("kind", "severity"),
    ),
    Family("edgeward_fleet_last_heard_timestamp_seconds", "gauge", "when any device was last heard, unix time"),
    Family("edgeward_runs", "gauge", "federated runs by state", ("bundle", "state")),
    Family("edgeward_run_rounds", "gauge", "rounds by state, of all runs", ("bundle", "state")),
    Family(
        "edgeward_round_reports",
        "gauge",
        "of a bundle's newest round, by what came",
        ("bundle", "result"),
    ),
    Family("edgeward_round_loss", "gauge", "of a bundle's newest round, before and after it", ("bundle", "when")),
    Family("edgeward_round_bytes", "gauge", "of a bundle's newest round, all devices", ("bundle", "direction")),
    Family("edgeward_privacy_rounds", "gauge", "rounds entered in a population's account", ("bundle", "population")),
    Family("edgeward_privacy_epsilon_limit", "gauge", "ε that they may cost together", ("bundle", "population")),
    Family("edgeward_rollouts", "gauge", "rollouts by state", ("bundle", "state")),
    Family(
        "edgeward_rollout_devices", "gauge", "devices of a rollout that has not ended", ("bundle", "version", "state")
    ),
    Family(
        "edgeward_rollout_guard_breached",
        "gauge",
        "1: a guard of a rollout is breached",
        ("bundle", "guard"),
    ),
)
BY_NAME = {family.name: family for family in FAMILIES}
