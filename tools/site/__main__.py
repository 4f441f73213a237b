"""`python -m tools.site`: lays the pages of docs/ and the reference into build/docs, for the generator to build."""

import shutil
from pathlib import Path
from typing import Final

import click

from tools.site import pages, reference

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
OUT: Final = ROOT / "build" / "docs"
INDEX: Final = "adr/index.md"


def laid() -> dict[str, str]:
    """Path on the site → text, of every page and of every other file that pages link to."""
    found = (path for path in sorted(DOCS.rglob("*")) if path.is_file())
    texts = {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in found}
    texts |= reference.pages()
    records = {name: pages.title_of(text) for name, text in texts.items() if _is_record(name)}
    texts.pop("adr/0000-template.md", None)
    texts[INDEX] = pages.record_index(records)
    titles = {name: pages.title_of(text) or Path(name).name for name, text in texts.items()}
    return {
        name: pages.linked(text, name, titles) if name.endswith(".md") and not _is_made(name) else text
        for name, text in texts.items()
    }


def _is_record(name: str) -> bool:
    return name.startswith("adr/") and not name.startswith("adr/0000")


def _is_made(name: str) -> bool:
    return name == INDEX or name.startswith("reference/")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=OUT, show_default=True, help="Folder; made anew.")
def main(out: Path) -> None:
    """Lay out what the site is built of.

    \b
    python -m tools.site && zensical build --strict
    """
    if out.exists():
        shutil.rmtree(out)
    made = laid()
    for name, text in made.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text, encoding="utf-8")
    click.echo(f"{len(made)} files in {out}")


if __name__ == "__main__":
    main()
