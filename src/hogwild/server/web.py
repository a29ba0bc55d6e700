"""The page: static files beside this module, with the headers that keep what models write from doing anything."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGE = Path(__file__).parent / "page"
"""The folder of the page's files. ``vendor`` in it holds other people's modules with their licences."""

HEADERS = {
    # Nothing from outside, no inline script and no inline style; and no text becomes HTML but through DOMPurify.
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types dompurify",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",  # the browser asks each time, and is told 304: file names never change
}

MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
"""Not left to the machine's own table, which may lack one: a browser refuses a module of another type."""


def add_page(app: FastAPI) -> None:
    """Serve the page at ``/`` and its files below ``/page``. Both are open without an API key: they hold no secret."""

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return FileResponse(PAGE / "index.html", media_type="text/html", headers=HEADERS)

    app.mount("/page", _Files(directory=PAGE))


def trace_app(trace: Path) -> FastAPI:
    """The page with one saved run, at ``/#trace=trace.jsonl``, and nothing else. For the loopback address only."""
    app = FastAPI(openapi_url=None)
    # A site that lets its name lead here must not read the trace.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])

    @app.get("/trace.jsonl")
    def text() -> Response:
        return FileResponse(trace, media_type="application/jsonl", headers=HEADERS)

    add_page(app)
    return app


class _Files(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        media_type = MEDIA_TYPES.get(Path(path).suffix)
        if media_type and "Content-Type" in response.headers:
            response.headers["Content-Type"] = media_type + ("; charset=utf-8" if media_type.startswith("text") else "")
        return response
