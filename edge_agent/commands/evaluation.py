"""`evaluate`: what other policies would have earned, from this device's own log."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_agent.commands.options import json_option, show, state_option
from firmware_configs.cli_group import FiniteRange

if TYPE_CHECKING:
    from edge_agent.evaluating import Evaluation

EXAMPLES = """
\b
Examples:
  edge-agent evaluate --state-dir ./state
  edge-agent evaluate --placement shelf --since 7d --policy '{kind = "epsilon-greedy", epsilon = 0.05}'
  edge-agent evaluate --placement shelf --profile next.toml --json
"""


@click.command(epilog=EXAMPLES)
@click.option("--placement", default="", help="Where; may be left out when this device has decided at one only.")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    help="A policy as a profile writes it, or its kind alone: `best`, `uniform`, `thompson` …; repeat. "
    "Without: best and uniform.",
)
@click.option(
    "--profile",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A profile whose policy here (and those of its experiment's arms) is evaluated; its reward window counts.",
)
@click.option(
    "--metric", default="reward", show_default=True, help="What is to be earned: reward, or a declared metric."
)
@click.option("--since", default="", help="Only decisions since then: `7d`, `12h`, or a date such as 2026-11-01.")
@click.option(
    "--window",
    "window_s",
    type=FiniteRange(min=0),
    help="Reward window, seconds  [default: the profile's, or 86400]",
)
@click.option("--clip", type=FiniteRange(min=0, min_open=True), help="Largest weight: less variance, some bias.")
@click.option(
    "--level",
    type=FiniteRange(0.5, 0.999),
    default=0.95,
    show_default=True,
    help="Of the intervals.",
)
@state_option
@json_option
def evaluate(
    placement: str,
    policies: tuple[str, ...],
    profile: Path | None,
    metric: str,
    since: str,
    window_s: float | None,
    clip: float | None,
    level: float,
    state_dir: Path,
    as_json: bool,
) -> None:
    """What would other policies have earned here? From this device's own log; nothing is changed, nothing leaves.

    IPS, SNIPS, DM and DR over the first place of each decision, with intervals, and what to be careful of. Works beside
    a running agent. Exit code 1: the log can tell nothing (it holds no decision that can be used, or nothing but one
    policy without chance); 2: asked for in a wrong way.
    """
    import json
    import time

    import msgspec

    from edge_agent import asking, evaluating, evidence
    from edge_agent.choosers import chooser
    from edge_agent.shell import decisions
    from edge_agent.shell.access import check
    from models.offpolicy.confidence import Confidence

    check(state_dir, "measure")
    now_ms = time.time_ns() // 1_000_000
    since_ms = asking.since(since, now_ms)
    name = asking.placement(placement, decisions.placements(state_dir))
    asked, window = asking.policies(name, policies, profile)
    held = decisions.held(state_dir, name, since_ms)
    context = decisions.context_of(state_dir, held.trails)
    choosers = {told: chooser(one, context) for told, one in asked.items()}
    window_ms = int(1_000 * (window_s if window_s is not None else window))
    log = evidence.joined(held.trails, held.earned, metric, window_ms, now_ms, held.unreadable)
    found = evaluating.evaluate(name, metric, since_ms, log, choosers, clip, Confidence(level=level))
    # JSON knows no NaN, such as the error of a single decision: msgspec writes null.
    show(json.loads(msgspec.json.encode(found)), "\n".join(in_words(found)), as_json)


def in_words(found: "Evaluation") -> list[str]:
    """A table for people."""
    from edge_agent.evidence import REASONS

    days = (found.last_ms - found.first_ms) / 86_400_000
    told = ", ".join(f"{name} {count:,}" for name, count in found.logged_policies.items())
    whole = found.logged
    lines = [
        f"{found.placement}: {found.decisions:,} decisions in {days:.1f} days ({told}), subjects: {found.subjects:,}",
        *[f"  left out: {count:,} {REASONS.get(reason, reason)}" for reason, count in found.left_out.items()],
        *(
            []
            if found.whole
            else ["  their trails hold the best candidates only: no dm and dr, and no policy that learns"]
        ),
        f"{found.level:.0%} intervals over {found.over}; {found.metric} a decision:",
        f"  {'as it was':<22} {whole.value:.4f} [{whole.normal.low:.4f}, {whole.normal.high:.4f}]",
    ]
    for judged in found.policies:
        if not judged.support.matched:
            lines += [f"  {judged.policy:<22} {judged.cautions[0].text}"]
            continue
        snips = judged.estimates["snips"]
        others = "  ".join(f"{kind} {judged.estimates[kind].value:.4f}" for kind in judged.estimates if kind != "snips")
        ends, more = snips.bootstrap, judged.gain_interval
        gained = f"{judged.gain:+.4f} [{more.low:+.4f}, {more.high:+.4f}] to as it was"
        lines += [
            f"  {judged.policy:<22} {snips.value:.4f} [{ends.low:.4f}, {ends.high:.4f}]  {others}",
            f"  {'':<22} {gained}; worth {judged.support.effective_rounds:,.0f} decisions of its own",
        ]
        lines += [f"    careful: {caution.text}" for caution in judged.cautions]
    return lines
