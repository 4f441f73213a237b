"""The registry over HTTPS: static files, ranges included, and a page for each version's model card."""

import html
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from coordinator.errors import RegistryError
from coordinator.provenance import made_of
from coordinator.shell.registry_store import Registry
from models.bundle import open_bundle
from models.errors import ModelError

STYLE = "body{max-width:48em;margin:2em auto;font-family:sans-serif}pre{white-space:pre-wrap}td{padding-right:1em}"
HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


def routes(folder: Path) -> list[BaseRoute]:
    """Serves `metadata/` and `targets/` of a registry and its cards, and nothing else of the machine."""
    signed = Registry(folder.parent)

    def listed(_request: Request) -> Response:
        rows = [
            f"<tr><td><a href='/cards/{t.bundle}/{t.version}'>{t.bundle} {t.version}</a><td>{t.bytes:,} bytes</tr>"
            for t in signed.published()
        ]
        return _page("Model cards", f"<table>{''.join(rows)}</table>" if rows else "<p>Nothing is published.</p>")

    def card(request: Request) -> Response:
        name, version = request.path_params["bundle"], request.path_params["version"]
        found = next((t for t in signed.published() if (t.bundle, t.version) == (name, version)), None)
        path = signed.find(name, version) if found is not None else None
        if found is None or path is None:
            return PlainTextResponse("no such version is published", status_code=404)
        try:
            text = open_bundle(path).read("card.md").decode(errors="replace")
            attested = signed.attestation(name, version)
        except (ModelError, RegistryError, OSError) as error:
            return PlainTextResponse(f"{name} {version} is damaged: {error}", status_code=500)
        if request.query_params.get("as") == "markdown":
            return PlainTextResponse(text, media_type="text/markdown")
        told = msgspec.json.encode(made_of(attested)) if attested else b'"nothing"'
        origin = msgspec.json.format(told, indent=1).decode()
        body = (
            f"<p>sha256 <code>{found.sha256}</code>, {found.bytes:,} bytes</p><pre>{html.escape(text)}</pre>"
            f"<h2>What is attested</h2><pre>{html.escape(origin)}</pre>"
        )
        return _page(f"{name} {version}", body)

    return [
        Route("/cards", listed),
        Route("/cards/{bundle}/{version}", card),
        Mount("/metadata", StaticFiles(directory=folder / "metadata")),
        Mount("/targets", StaticFiles(directory=folder / "targets")),
    ]


def _page(title: str, body: str) -> HTMLResponse:
    head = f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"
    return HTMLResponse(f"{head}<h1>{html.escape(title)}</h1>{body}", headers=HEADERS)
