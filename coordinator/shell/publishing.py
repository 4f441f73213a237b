"""A run's result as a new version, with a card that says how it came to be."""

from pathlib import Path

from coordinator.rounds import Round
from coordinator.shell.request import Request
from models import arrays
from models.bundle import Bundle, matched, with_weights


def draft_result(
    parent: Bundle, result: Path, done: list[Round], request: Request, folder: Path, version: str, claimed: str
) -> Path:
    """The new version's file, made from the run's parameters; nothing is published yet."""
    shared = arrays.unpack(result.read_bytes(), "result.npz")
    whole = matched(parent.spec, {**parent.weights(), **shared})
    wanted = [p.name for p in parent.spec.of_share("shared")]
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
    if request.unlearn:
        note = (
            f"Unlearning: {reports} or more devices sent the last updates of people who withdrew, up their own loss "
            f"within a norm of {request.clip_norm:g}; their sum was added. This estimates training without them and is "
            f"not the same: see docs/rounds.md for what is left. {claimed}"
        )
    return with_weights(parent, {name: whole[name] for name in wanted}, version, folder, note)
