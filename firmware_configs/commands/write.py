"""`edge-audit write`: documents from a profile."""

from collections.abc import Sequence
from pathlib import Path

import click

from firmware_configs.commands.options import bundle_option, deliver, document, json_option, needs, out_option

DOCUMENTS = ("record", "dpia", "notice", "notice-short", "label", "retention")


@click.command()
@click.argument("kind", type=click.Choice(DOCUMENTS))
@click.argument("path", type=click.Path(path_type=Path))
@bundle_option
@click.option("--format", "form", type=click.Choice(["markdown", "html"]), help="Default: by the ending of --out.")
@out_option
@json_option
def write(kind: str, path: Path, bundles: Sequence[Path], form: str | None, out: Path | None, as_json: bool) -> None:
    """Write a document from the profile at PATH.

    \b
    record        record of processing activities (GDPR Art. 30)
    dpia          draft of an impact assessment (Art. 35)
    notice        notice for people, in full (Art. 13)
    notice-short  the same for a label or a screen
    label         data safety at one glance
    retention     what is kept for how long

    Everything comes from the profile, so it cannot differ from what the device does; what a profile cannot know is
    marked as open.
    """
    import msgspec

    from firmware_configs.loader import load_shown
    from firmware_configs.report import pages
    from firmware_configs.report.documents import KINDS

    page = KINDS[kind](load_shown(path), needs(bundles))
    if as_json:
        deliver(document(msgspec.to_builtins(page)), out)
        return
    wanted = form or ("html" if out is not None and out.suffix in {".html", ".htm"} else "markdown")
    deliver(pages.html(page) if wanted == "html" else pages.markdown(page), out)
