"""The registry over HTTPS: static files, ranges included. `python -m coordinator.shell.artefacts` is the child."""

import argparse
import logging
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles


def application(folder: Path) -> Starlette:
    """Serves `metadata/` and `targets/` of a registry, and nothing else of the machine."""
    return Starlette(
        routes=[
            Route("/health", lambda _request: PlainTextResponse("ok")),
            Mount("/metadata", StaticFiles(directory=folder / "metadata")),
            Mount("/targets", StaticFiles(directory=folder / "targets")),
        ]
    )


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    uvicorn.run(
        application(given.folder),
        host=given.host,
        port=given.port,
        ssl_certfile=given.certificate,
        ssl_keyfile=given.key,
        log_level="warning",
        limit_concurrency=256,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
