"""A page of headings, paragraphs, lists and tables, written as Markdown or as HTML that stands by itself."""

from collections.abc import Sequence
from html import escape

from msgspec import Struct


class Heading(Struct, frozen=True, tag="heading"):
    """A heading; the page's title is level 1."""

    text: str
    level: int = 2


class Paragraph(Struct, frozen=True, tag="paragraph"):
    """Plain text."""

    text: str


class Bullets(Struct, frozen=True, tag="bullets"):
    """A list."""

    items: tuple[str, ...]


class Table(Struct, frozen=True, tag="table"):
    """Columns with names; cells are plain text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Part = Heading | Paragraph | Bullets | Table


class Page(Struct, frozen=True, kw_only=True):
    """A whole document."""

    title: str
    parts: tuple[Part, ...]


def markdown(page: Page) -> str:
    """The page as Markdown; whatever a profile says stays text."""
    blocks = [f"# {_marked(page.title)}", *(_block(part) for part in page.parts)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _block(part: Part) -> str:
    match part:
        case Heading(text=text, level=level):
            return f"{'#' * level} {_marked(text)}"
        case Paragraph(text=text):
            return _marked(text)
        case Bullets(items=items):
            return "\n".join(f"- {_marked(item)}" for item in items)
        case Table(columns=columns, rows=rows):
            head = [_row(columns), _row(["---"] * len(columns))]
            return "\n".join([*head, *(_row([_cell(cell) for cell in row]) for row in rows)])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return _marked(text).replace("|", "\\|")


def _marked(text: str) -> str:
    """On one line, and without what Markdown would take for markup."""
    flat = " ".join(text.split())
    for mark in ("\\", "`", "*", "_", "[", "]", "<", ">", "#"):
        flat = flat.replace(mark, f"\\{mark}") if mark not in "<>" else flat
    return flat.replace("<", "&lt;").replace(">", "&gt;")


FEW = 4
"""Columns up to which a table is laid out as lists on a phone; a wider one is scrolled sideways."""
STYLE = """
  :root { color-scheme: light dark; }
  body { font: 17px/1.55 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 50rem;
         color: #14202b; background: #ffffff; }
  h1 { font-size: 1.7rem; line-height: 1.2; } h2 { font-size: 1.3rem; margin: 2.25rem 0 .5rem; }
  h3 { font-size: 1.05rem; margin: 1.5rem 0 .3rem; } h3 + p { margin-top: 0; }
  .wide { overflow-x: auto; --ground: #ffffff; --shade: #14202b40; /* a shadow where there is more */
          background: linear-gradient(90deg, var(--ground) 40%, transparent) 0 / 2.5rem 100% no-repeat local,
                      linear-gradient(270deg, var(--ground) 40%, transparent) 100% / 2.5rem 100% no-repeat local,
                      linear-gradient(90deg, var(--shade), transparent) 0 / 1rem 100% no-repeat scroll,
                      linear-gradient(270deg, var(--shade), transparent) 100% / 1rem 100% no-repeat scroll; }
  .wide:focus-visible { outline: 3px solid #0b5d66; outline-offset: 2px; }
  .picture { color: #14202b; background: #ffffff; margin: 1rem 0; padding: .75rem; border-radius: .5rem; }
  .picture svg { width: 100%; height: auto; display: block; }
  table { border-collapse: collapse; width: 100%; font-size: .95rem; }
  th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid #b9c5cf; }
  @media (max-width: 34rem) { /* a phone: a row is a list, each cell under the name of its column */
    .few thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
    .few tr { display: block; padding: .5rem 0; border-bottom: 1px solid #b9c5cf; }
    .wide .few td { display: block; border: 0; padding: .1rem 0 .3rem; white-space: normal; }
    .few td::before { content: attr(data-name); display: block; font-size: .85em; font-weight: 600; }
  }
  @media (prefers-color-scheme: dark) {
    body { color: #e7edf2; background: #14202b; }
    th, td, .few tr { border-color: #4b5d6c; }
    .wide { --ground: #14202b; --shade: #000000c0; }
    .wide:focus-visible { outline-color: #6fd0da; }
  }
  @media print { body { max-width: none; } }
"""


def html(page: Page, language: str = "en") -> str:
    """The page as one HTML file without scripts and without anything that is fetched."""
    body = "\n".join(_element(part) for part in page.parts)
    return f"""<!doctype html>
<html lang="{escape(language)}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(page.title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(page.title)}</h1>
{body}
</main>
</body>
</html>
"""


def _element(part: Part) -> str:
    match part:
        case Heading(text=text, level=level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Paragraph(text=text):
            return f"<p>{escape(text)}</p>"
        case Bullets(items=items):
            return "<ul>\n" + "\n".join(f"<li>{escape(item)}</li>" for item in items) + "\n</ul>"
        case Table(columns=columns, rows=rows):
            return table(columns, rows)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as HTML; on a phone one of few columns is laid out as lists, a wider one is scrolled sideways."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    # Roles, for a table that is laid out as something else would be read out as none.
    few = len(columns) <= FEW
    kind, row_kind = (' class="few" role="table"', ' role="row"') if few else ("", "")
    starts = [f'<td role="cell" data-name="{escape(column)}">' if few else "<td>" for column in columns]
    lines = "\n".join(
        f"<tr{row_kind}>{''.join(f'{start}{escape(cell)}</td>' for start, cell in zip(starts, row, strict=True))}</tr>"
        for row in rows
    )
    text = f"<table{kind}>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>"
    return f'<div class="wide" tabindex="0" role="region" aria-label="{escape(columns[0])}">\n{text}\n</div>'
