"""The coordinator's memory of experiments: plans, each device's newest report, shares, releases."""

from pathlib import Path

import msgspec

from coordinator.errors import UnknownExperiment
from coordinator.experiments import Plan, Release
from coordinator.shell.database import prepare, transaction
from firmware_configs.messages import ExperimentReport


class ExperimentStore:
    """The experiments in a coordinator's home. Each call is one transaction."""

    def __init__(self, home: Path) -> None:
        prepare(home)
        self._home = home

    def plans(self) -> list[Plan]:
        """All experiments by name."""
        with transaction(self._home) as database:
            rows = database.execute("SELECT value FROM experiment ORDER BY name").fetchall()
        return [msgspec.msgpack.decode(value, type=Plan) for (value,) in rows]

    def plan(self, name: str) -> Plan:
        """One experiment.

        Raises:
            UnknownExperiment: there is none of this name.
        """
        known = {plan.experiment.name: plan for plan in self.plans()}
        if name not in known:
            listed = ", ".join(known) or "none yet; edge-coordinator experiments add PROFILE"
            raise UnknownExperiment(f"no experiment `{name}` is known here", hint=f"known: {listed}")
        return known[name]

    def put_plan(self, plan: Plan) -> None:
        """Add an experiment, or change it."""
        with transaction(self._home) as database:
            database.execute(
                "INSERT OR REPLACE INTO experiment (name, value) VALUES (?, ?)",
                (plan.experiment.name, msgspec.msgpack.encode(plan)),
            )

    def put_report(self, device: str, report: ExperimentReport) -> None:
        """Keep a device's report, unless a newer one is here."""
        with transaction(self._home) as database:
            row = database.execute(
                "SELECT value FROM experiment_report WHERE name = ? AND device = ?", (report.experiment, device)
            ).fetchone()
            if row is None or msgspec.msgpack.decode(row[0], type=ExperimentReport).time_ms <= report.time_ms:
                database.execute(
                    "INSERT OR REPLACE INTO experiment_report (name, device, value) VALUES (?, ?, ?)",
                    (report.experiment, device, msgspec.msgpack.encode(report)),
                )

    def reports(self, name: str) -> dict[str, ExperimentReport]:
        """Device → its newest report."""
        with transaction(self._home) as database:
            rows = database.execute(
                "SELECT device, value FROM experiment_report WHERE name = ? ORDER BY device", (name,)
            ).fetchall()
        return {device: msgspec.msgpack.decode(value, type=ExperimentReport) for device, value in rows}

    def releases(self, plan: Plan) -> list[Release]:
        """Everything that was told of a plan, oldest first."""
        with transaction(self._home) as database:
            rows = database.execute(
                "SELECT value FROM experiment_release WHERE name = ? AND plan = ? ORDER BY number",
                (plan.experiment.name, plan.hash),
            ).fetchall()
        return [msgspec.msgpack.decode(value, type=Release) for (value,) in rows]

    def put_release(self, plan: Plan, release: Release) -> None:
        """Remember what is told."""
        with transaction(self._home) as database:
            database.execute(
                "INSERT OR REPLACE INTO experiment_release (name, plan, number, value) VALUES (?, ?, ?, ?)",
                (plan.experiment.name, plan.hash, release.number, msgspec.msgpack.encode(release)),
            )
