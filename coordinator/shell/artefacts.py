"""The registry over HTTPS: static files, ranges included."""

from pathlib import Path

from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles


def routes(folder: Path) -> list[BaseRoute]:
    """Serves `metadata/` and `targets/` of a registry, and nothing else of the machine."""
    return [
        Mount("/metadata", StaticFiles(directory=folder / "metadata")),
        Mount("/targets", StaticFiles(directory=folder / "targets")),
    ]
