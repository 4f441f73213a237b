"""`edge-agent ledger`: what left this device, its seals, and an export for the auditor."""

import os
import time
from pathlib import Path

import click

from edge_agent.commands.options import hand_down, json_option, reason_option, settings_option, show, state_option


@click.group(invoke_without_command=True)
@state_option
@json_option
@click.pass_context
def ledger(ctx: click.Context, state_dir: Path, as_json: bool) -> None:
    """What left this device, by kind, in bytes. Exit code 1 when the chain is broken.

    `edge-audit ledger verify` looks deeper, and without this device when it is given an export.
    """
    if hand_down(ctx):
        return
    from edge_agent.shell.access import check
    from edge_agent.shell.inspect import ledger_summary

    check(state_dir, "ledger")
    found = ledger_summary(state_dir)
    lines = [f"{kind:<14} {size:>12,} bytes" for kind, size in sorted(found["bytes"].items())]
    broken = found["broken_at"]
    if found["since"] > 1:
        lines.append(f"entries before {found['since']:,} gave way when the database had reached its size")
    lines.append(f"{found['entries']:,} entries, " + ("chain whole" if broken is None else f"chain broken at {broken}"))
    show(found, "\n".join(lines), as_json)
    ctx.exit(0 if broken is None else 1)


@ledger.command("seal")
@settings_option
@json_option
def seal(settings_path: Path, as_json: bool) -> None:
    """Close the days that are over and sign them, as the running agent does once a day."""
    from edge_agent.settings import load as load_settings
    from edge_agent.shell.sealer import seal as run
    from firmware_configs.ledger_evidence import day_of

    settings = load_settings(settings_path, os.environ)
    state_dir = Path(settings.state_dir)
    made = run(state_dir, settings.device, Path(settings.superlink.node_key), int(time.time() * 1_000))
    data = [{"day": day_of(one), "entries": one.last - one.first + 1, "root": one.root} for one in made]
    lines = [f"{day_of(one)}: {one.last - one.first + 1:,} entries, root {one.root[:16]}…" for one in made]
    show(data, "\n".join(lines) or "no day waits for its seal", as_json)


@ledger.command("export")
@reason_option
@state_option
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File for the auditor.")
@json_option
def export(reason: str, state_dir: Path, out: Path, as_json: bool) -> None:
    """Write rows and seals into one file that `edge-audit ledger` reads anywhere. It holds no payloads."""
    import msgspec

    from edge_agent.errors import SealFailed
    from edge_agent.shell.access import admit
    from firmware_configs import ledger_evidence, whole_file

    admit(state_dir, "ledger", what="ledger export", reason=reason)
    found = ledger_evidence.read(state_dir)
    try:
        whole_file.write(out, msgspec.msgpack.encode(found))
    except OSError as error:
        raise SealFailed(f"{out}: {error.strerror}", hint="choose another --out") from None
    data = {"file": str(out), "entries": len(found.rows), "seals": len(found.seals)}
    show(data, f"{out}: {len(found.rows):,} entries, {len(found.seals)} seals", as_json)
