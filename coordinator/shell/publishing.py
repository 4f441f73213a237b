"""A run's result as a new signed version, with a card that says how it came to be."""

from pathlib import Path

from coordinator import registry
from coordinator.rounds import Round
from coordinator.shell.origin import made_of_run
from coordinator.shell.registry_store import Registry
from coordinator.shell.request import Request
from models import arrays
from models.bundle import Bundle, matched, with_weights


def publish_result(
    signed: Registry, parent: Bundle, result: Path, done: list[Round], request: Request, folder: Path, claimed: str
) -> str:
    """Make the new version from the run's parameters, and sign it."""
    shared = arrays.unpack(result.read_bytes(), "result.npz")
    whole = matched(parent.spec, {**parent.weights(), **shared})
    wanted = [p.name for p in parent.spec.of_share("shared")]
    version = registry.next_version(signed.paths(), parent.spec.name, parent.spec.version)
    reports = min(row.reports for row in done)
    losses = (
        f"Mean loss reported by the devices: {done[0].loss_before:.4f} before, {done[-1].loss_after:.4f} after. "
        if not (request.epsilon_max or request.secret_sum)
        else "Losses were not collected. "
    )
    if request.secret_sum:
        losses += f"Updates were summed in secret, {request.secret_bits} bits a number: nobody saw a single one. "
    if request.top_k or request.random_k:
        which = "the largest" if request.top_k else "drawn alike by all"
        losses += f"Devices sent {request.top_k or request.random_k:.3g} of an update's numbers a round, {which}. "
    rule = f", combined by {request.rule} (share {request.hostile_share:g})" if request.rule else ""
    note = (
        f"{request.strategy}{rule}, {len(done)} federated rounds with {reports} or more devices each, seed "
        f"{request.seed}. {losses}{claimed}"
    )
    path = with_weights(parent, {name: whole[name] for name in wanted}, version, folder, note)
    signed.publish(path, made_of_run(signed, parent, done, request, claimed))
    return version
