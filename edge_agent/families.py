"""Every metric that the agent tells to Prometheus; docs/metrics.md is made of it.

Labels hold names that the profile or the code gave, and nothing that came in a message: no subject, topic or value.
"""

from firmware_configs.families import Family

FAMILIES = (
    Family("edgeward_up", "gauge", "1 while an agent answers in this folder"),
    Family("edgeward_agent_info", "gauge", "1; what runs", ("device", "version", "profile", "profile_hash")),
    Family("edgeward_uptime_seconds", "gauge", "since the agent's start"),
    Family("edgeward_line_up", "gauge", "1 while there is a line to the broker"),
    Family("edgeward_line_fault_info", "gauge", "1; why there is none", ("code",)),
    Family("edgeward_learning", "gauge", "1 while a learner runs"),
    Family("edgeward_updating", "gauge", "1 while a bundle or document is fetched"),
    Family("edgeward_resident_memory_bytes", "gauge", "resident memory of the agent's main process"),
    Family("edgeward_memory_limit_bytes", "gauge", "what the profile allows it"),
    Family("edgeward_written_bytes_total", "counter", "bytes written to media since the agent's start: wear"),
    Family("edgeward_store_degraded", "gauge", "1 while nothing can be written and the agent goes on in memory"),
    Family("edgeward_store_backlog_bytes", "gauge", "what waits in memory to be written"),
    Family("edgeward_store_overflowing", "gauge", "1 while that backlog is full and nothing more is read"),
    Family("edgeward_events_total", "counter", "events that came, since the device's first start"),
    Family("edgeward_events_rejected_total", "counter", "messages rejected, by error code", ("code",)),
    Family("edgeward_events_late_total", "counter", "events behind their source's watermark", ("source",)),
    Family("edgeward_events_shed_total", "counter", "events left out under pressure", ("source",)),
    Family("edgeward_counted_total", "counter", "everything else that `edge-agent status` counts", ("what",)),
    Family("edgeward_egress_withheld_total", "counter", "what the ledger did not let out", ("kind", "code")),
    Family("edgeward_egress_bytes_total", "counter", "bytes entered in the ledger, since the start", ("kind",)),
    Family("edgeward_egress_today_bytes", "gauge", "bytes entered in the ledger since midnight UTC", ("kind",)),
    Family("edgeward_egress_day_limit_bytes", "gauge", "bytes a day that the profile allows", ("kind",)),
    Family(
        "edgeward_decisions_total",
        "counter",
        "decisions since the start; rung: of the fallback ladder, `model` where a policy chose",
        ("placement", "rung"),
    ),
    Family(
        "edgeward_signal_to_decision_seconds",
        "histogram",
        "from the signal's event time until the socket had the decision",
        ("placement",),
    ),
    Family("edgeward_arrival_to_decision_seconds", "histogram", "the same from the event's reading", ("placement",)),
    Family(
        "edgeward_decision_to_outcome_seconds",
        "histogram",
        "from a decision until the outcome that rewards it",
        ("placement",),
    ),
    Family(
        "edgeward_stage_seconds",
        "histogram",
        "time in a stage; of at most one message in five milliseconds, and of each transaction",
        ("stage",),
    ),
    Family("edgeward_outbox_messages", "gauge", "messages that the broker has not acknowledged yet"),
    Family("edgeward_in_flight_messages", "gauge", "of them, those that the socket has"),
    Family("edgeward_unacknowledged_messages", "gauge", "messages taken whose effects could not be committed yet"),
    Family("edgeward_watermark_timestamp_seconds", "gauge", "a source's watermark, unix time", ("source",)),
    Family("edgeward_bundle_info", "gauge", "1; a bundle's version and state", ("bundle", "version", "state")),
    Family("edgeward_rounds_total", "counter", "federated rounds taken part in", ("result",)),
    Family("edgeward_round_info", "gauge", "1; state of the newest federated round, or its error code", ("state",)),
    Family("edgeward_objective_target_ratio", "gauge", "share that must be good", ("objective", "indicator")),
    Family("edgeward_objective_events", "gauge", "of the period, good and bad", ("objective", "result")),
    Family("edgeward_objective_budget_left_ratio", "gauge", "share of the error budget that is left", ("objective",)),
    Family(
        "edgeward_objective_burn_rate",
        "gauge",
        "how many times too fast the error budget is spent, by window in seconds",
        ("objective", "window"),
    ),
    Family("edgeward_alert_firing", "gauge", "1; an alert that fires", ("kind", "name", "severity")),
)
BY_NAME = {family.name: family for family in FAMILIES}
