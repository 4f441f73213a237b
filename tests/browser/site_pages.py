"""Pages of the site of the documents, as a reader sees them from a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.browser.screenshots import Shot, World
from tests.docs.site import build


@contextmanager
def built(folder: Path) -> Iterator[str]:
    """The site; the address is its folder."""
    yield f"file://{build(folder)}"


WORLD = World(
    start=built,
    shots=(
        Shot("home", "/index.html"),
        Shot("fleet", "/tutorials/fleet.html"),
        Shot("comparison", "/comparison.html"),
        Shot("errors", "/reference/errors.html"),
        Shot("command", "/reference/edge-audit.html"),
    ),
)
