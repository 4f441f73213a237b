"""`python -m tests.docs.walk fleet`: a tutorial from an empty machine: a fresh clone, an empty home, the installation.

Prints when each block was done. `--json` prints one object last: seconds until the installation was done, until the
first result that the page shows, and until the end.
"""

import json
import subprocess
import tempfile
from pathlib import Path

import click

from tests.docs.tutorial import PAGES, ROOT, blocks, fault, play

TIMEOUT_S = 1_800.0
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


@click.command()
@click.argument("page", type=click.Choice(sorted(path.stem for path in PAGES.glob("*.md"))))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def main(page: str, as_json: bool) -> None:
    """Follow the tutorial PAGE as its reader would; exit code 1 where it does not do what it says."""
    chosen = blocks((PAGES / f"{page}.md").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="edgeward-walk-") as folder:
        clone = Path(folder) / "edgeward"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        played = play(chosen, Path(folder) / "reader", clone, {"PATH": PATH}, TIMEOUT_S)
    for one in played:
        click.echo(f"{one.seconds:7.1f} s  line {one.block.line:3}  {one.block.shell.splitlines()[0]}")
    faults = [fault(one) for one in played if fault(one)]
    for text in faults:
        click.echo(text, err=True)
    if as_json:
        told = {
            "page": page,
            "installed_s": max((one.seconds for one in played if one.block.install), default=0.0),
            "first_result_s": next((one.seconds for one in played if one.block.shown), None),
            "end_s": played[-1].seconds,
            "faults": len(faults),
        }
        click.echo(json.dumps(told))
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
