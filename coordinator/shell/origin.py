"""How a federated run's result came to be, from what the run left in the database."""

import datetime
from importlib.metadata import PackageNotFoundError, version

from coordinator import accountant
from coordinator.provenance import DataWindow, Made
from coordinator.rounds import Round
from coordinator.shell.privacy_store import PrivacyStore
from coordinator.shell.registry_store import Registry
from coordinator.shell.request import Request
from coordinator.shell.store import Store
from models.bundle import Bundle

PACKAGES = ("edgeward", "flwr", "numpy", "onnxruntime", "dp-accounting")


def made_of_run(signed: Registry, parent: Bundle, done: list[Round], request: Request, claimed: str) -> Made:
    """What is attested of a run's result.

    Args:
        done: its rounds; at least one.
        claimed: what is claimed of its privacy, in words.
    """
    key = done[0].run
    run = Store(signed.home).run(key)
    started = _iso(run.started_ms / 1_000) if run is not None else ""
    finished = _iso(datetime.datetime.now(datetime.UTC).timestamp())
    open_losses = not (request.epsilon_max or request.secret_sum)
    losses = {"loss_before": done[0].loss_before, "loss_after": done[-1].loss_after} if open_losses else {}
    return Made(
        run=key,
        rounds=tuple(row.number for row in done),
        parents={parent.spec.version: parent.sha256},
        window=DataWindow(kind="on devices", until=finished, devices=min(row.reports for row in done)),
        parameters={
            "strategy": request.strategy,
            "rule": request.rule or "",
            "seed": request.seed,
            "clip_norm": request.clip_norm,
            "secret_sum": request.secret_sum,
            **({"unlearn": True} if request.unlearn else {}),
        },
        privacy=privacy_of(signed, request, claimed),
        evaluation={"unit": "mean loss over the devices that reported", **losses} if losses else {},
        code=code_versions(),
        started=started,
        finished=finished,
    )


def privacy_of(signed: Registry, request: Request, claimed: str) -> dict[str, object]:
    """What is attested of privacy: the claim in words, and of a private run its numbers.

    Args:
        claimed: the words.
    """
    told: dict[str, object] = {"claim": claimed}
    if not request.epsilon_max:
        return told
    for account in PrivacyStore(signed.home).accounts(request.bundle):
        if account.population == request.population:
            spent = accountant.claim(account.spent, account.budget.delta, account.budget.accountant)
            told |= {
                "epsilon": spent.epsilon,
                "delta": spent.delta,
                "unit": spent.unit,
                "sampling": spent.sampling,
                "accountant": spent.accountant,
                "epsilon_max": request.epsilon_max,
                "population": request.population,
            }
    return told


def code_versions() -> dict[str, str]:
    """Package → version, of what runs here."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(microsecond=0).isoformat()
