"""Lineage as a picture: columns from the sensor to what leaves, arrows between them, unused fields marked.

The columns are fixed, so that the eye learns where to look; within a column nodes are ordered by where their arrows
come from (one sweep of the barycentre heuristic), which is enough for profiles, that have tens of nodes.

Source: Sugiyama, Tagawa and Toda 1981, "Methods for Visual Understanding of Hierarchical System Structures".
"""

import itertools
from html import escape
from typing import Final

from msgspec import Struct

from firmware_configs.lineage import Lineage, Step

COLUMNS: Final = (
    ("what arrives", ()),
    ("field", ("field ",)),
    ("feature", ("feature ", "times of ", "views of ")),
    ("computed", ("model ", "examples of ", "identity", "outcome ", "segment ", "contact", "channel ")),
    ("decided", ("placement ", "actuator ")),
    ("watched", ("metric ", "drift ", "objective ")),
    ("leaves", ("egress ",)),
)
WIDTH, GAP, ROW, HEIGHT, TOP = 186, 52, 40, 28, 64
LETTERS_MAX = 27
STYLE = """
  .node rect { fill: #eef3f8; stroke: #5b7083; }
  .node text { font: 12px system-ui, sans-serif; fill: #14202b; }
  .node.raw rect { fill: #ffffff; stroke-dasharray: 3 2; }
  .node.leaves rect { fill: #fdebd3; stroke: #a05a00; }
  .node.unused rect { fill: #fbdcdc; stroke: #b00020; stroke-width: 2; }
  .arrow { fill: none; stroke: #8296a8; stroke-width: 1.3; }
  .head { font: bold 13px system-ui, sans-serif; fill: #14202b; }
  .title { font: bold 15px system-ui, sans-serif; fill: #14202b; }
  .ground { fill: #ffffff; }
  .tip { fill: #8296a8; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #14202b; }
    .node rect { fill: #22323f; stroke: #8fa3b5; }
    .node.raw rect { fill: #14202b; }
    .node.leaves rect { fill: #46320f; stroke: #ffc184; }
    .node.unused rect { fill: #4a1c22; stroke: #ff9d97; }
    .node text, .head, .title { fill: #e8eef3; }
  }
"""


TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path class="tip" d="M0 0 L8 4 L0 8 z" fill="#8296a8"/></marker></defs>'
)


class _Node(Struct, frozen=True):
    name: str
    column: int
    row: int

    @property
    def x(self) -> int:
        return 20 + self.column * (WIDTH + GAP)

    @property
    def y(self) -> int:
        return TOP + 24 + self.row * ROW


def svg(lineage: Lineage, title: str) -> str:
    """The picture, with a description for readers who do not see it.

    Args:
        title: name and version of the profile.
    """
    nodes = _placed(lineage)
    rows = 1 + max((node.row for node in nodes.values()), default=0)
    width, height = 40 + len(COLUMNS) * WIDTH + (len(COLUMNS) - 1) * GAP, TOP + 40 + rows * ROW
    unused = {f"field {name}" for name in lineage.unused}
    told = f"{len(lineage.steps)} steps from what arrives to what leaves. Unused fields: {_listed(lineage)}."
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="lineage-title lineage-told">',
        f'<title id="lineage-title">Lineage of {escape(title)}</title>',
        f'<desc id="lineage-told">{escape(told)}</desc>',
        f"<style>{STYLE}</style>",
        TIP,
        f'<rect class="ground" width="{width}" height="{height}"/>',
        f'<text class="title" x="20" y="26">Lineage of {escape(title)}</text>',
    ]
    for n, (name, _) in enumerate(COLUMNS):
        parts.append(f'<text class="head" x="{20 + n * (WIDTH + GAP)}" y="{TOP}">{name}</text>')
    parts += [_arrow(step, nodes) for step in lineage.steps]
    parts += [_box(node, unused) for node in nodes.values() if not node.name.startswith("passes ")]
    return "\n".join([*parts, "</svg>"])


def html(lineage: Lineage, title: str) -> str:
    """A page of its own: the picture, and the same as a table."""
    rows = "\n".join(
        f"<tr><td>{escape(step.source)}</td><td>{escape(step.target)}</td><td>{escape(step.how)}</td></tr>"
        for step in lineage.steps
    )
    missing = f"<p><strong>Missing:</strong> {escape('; '.join(lineage.missing))}</p>" if lineage.missing else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Lineage of {escape(title)}</title>
<style>
  :root {{ color-scheme: light dark; }}
  body {{ font: 16px/1.5 system-ui, sans-serif; margin: 1rem; color: #14202b; background: #ffffff; }}
  .picture {{ overflow-x: auto; border: 1px solid #c8d3dd; }}
  .picture svg {{ display: block; max-width: 100%; min-width: 72rem; height: auto; }}
  .picture:focus-visible {{ outline: 3px solid #0b5d66; outline-offset: 2px; }}
  table {{ border-collapse: collapse; width: 100%; }}
  th, td {{ text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #c8d3dd; }}
  @media (max-width: 34rem) {{
    table {{ font-size: .85rem; }}
    th, td {{ padding: .25rem .5rem .25rem 0; overflow-wrap: anywhere; }}
  }}
  @media (prefers-color-scheme: dark) {{
    body {{ color: #e8eef3; background: #14202b; }}
    .picture, th, td {{ border-color: #4b5d6c; }}
    .picture:focus-visible {{ outline-color: #6fd0da; }}
  }}
</style>
</head>
<body>
<main>
<h1>Lineage of {escape(title)}</h1>
<p>Derived from the profile and from what the models declare; nobody wrote it. Fields that nothing needs are red.</p>
<div class="picture" tabindex="0" role="region" aria-label="Picture of the lineage">
{svg(lineage, title)}
</div>
<p><strong>Unused fields:</strong> {escape(_listed(lineage))}</p>
{missing}
<h2>The same as a table</h2>
<table>
<thead><tr><th scope="col">from</th><th scope="col">to</th><th scope="col">how</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</main>
</body>
</html>
"""


def _listed(lineage: Lineage) -> str:
    return ", ".join(lineage.unused) or "none"


def _column(name: str) -> int:
    for n, (_, beginnings) in enumerate(COLUMNS):
        if beginnings and name.startswith(beginnings):
            return n
    return 0


def _placed(lineage: Lineage) -> dict[str, _Node]:
    """Every node, and a place in between for arrows that skip a column, so that they pass behind no box."""
    names = dict.fromkeys(name for step in lineage.steps for name in (step.source, step.target))
    columns: list[list[str]] = [[] for _ in COLUMNS]
    for name in names:
        columns[_column(name)].append(name)
    hops: list[tuple[str, str]] = []
    for step in lineage.steps:
        path = _path(step)
        for at, name in path[1:-1]:
            if name not in columns[at]:
                columns[at].append(name)
        hops += [(one, other) for (_, one), (_, other) in itertools.pairwise(path)]
    placed: dict[str, _Node] = {}
    for n, column in enumerate(columns):
        came: dict[str, list[int]] = {name: [] for name in column}
        for source, target in hops:
            if target in came and source in placed:
                came[target].append(placed[source].row)
        ranked = sorted((_mean(came[name], at), at, name) for at, name in enumerate(column))
        placed |= {name: _Node(name, n, row) for row, (_, _, name) in enumerate(ranked)}
    return placed


def _path(step: Step) -> list[tuple[int, str]]:
    """(column, name) of an arrow's ends, and of what it passes on the way: arrows from one node go side by side."""
    first, last = _column(step.source), _column(step.target)
    between = [(column, f"passes {step.source} {column}") for column in range(first + 1, last)]
    return [(first, step.source), *between, (last, step.target)]


def _mean(rows: list[int], otherwise: int) -> float:
    return sum(rows) / len(rows) if rows else float(otherwise)


def _arrow(step: Step, nodes: dict[str, _Node]) -> str:
    path = [nodes[name] for _, name in _path(step)]
    drawn = [f"M{path[0].x + WIDTH} {path[0].y + HEIGHT // 2}"]
    for n, (a, b) in enumerate(itertools.pairwise(path)):
        x1, y1, x2, y2 = a.x + WIDTH, a.y + HEIGHT // 2, b.x, b.y + HEIGHT // 2
        if b.column < a.column:  # back: by the gap between the two
            back = (a.x + b.x + WIDTH) // 2
            drawn = [f"M{a.x} {y1}C{back} {y1} {back} {y2} {b.x + WIDTH} {y2}"]
            continue
        if b.column == a.column:  # beside: round the outside
            bend = x1 + GAP // 2
            drawn.append(f"C{bend} {y1} {bend} {y2} {b.x + WIDTH} {y2}")
            continue
        middle = (x1 + x2) // 2
        drawn.append(f"C{middle} {y1} {middle} {y2} {x2} {y2}")
        if n < len(path) - 2:
            drawn.append(f"H{x2 + WIDTH}")
    told = f"{step.source} → {step.target}{f' ({step.how})' if step.how else ''}"
    return f'<path class="arrow" d="{" ".join(drawn)}" marker-end="url(#tip)"><title>{escape(told)}</title></path>'


def _box(node: _Node, unused: set[str]) -> str:
    name = node.name.removeprefix("field ").removeprefix("feature ").removeprefix("egress ")
    short = name if len(name) <= LETTERS_MAX else f"{name[: LETTERS_MAX - 1]}…"
    kind = "unused" if node.name in unused else ("raw", "", "", "", "", "", "leaves")[node.column]
    return (
        f'<g class="node {kind}"><title>{escape(node.name)}</title>'
        f'<rect x="{node.x}" y="{node.y}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>'
        f'<text x="{node.x + 8}" y="{node.y + 18}">{escape(short)}</text></g>'
    )
