"""The app: routes, errors and limits around one service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool

from hogwild import __version__
from hogwild.server import errors
from hogwild.server.gate import Gate
from hogwild.server.routes import chat, completions, events, meta, responses, teams
from hogwild.server.service import Service

PAGE = Path(__file__).parent / "page"
CSP = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"


def create_app(service: Service) -> FastAPI:
    """The app that serves ``service``, which starts and ends with it.

    ``app.state.service`` is the service. `uvicorn` serves the app; so does any other ASGI server.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await run_in_threadpool(service.close)

    settings = service.settings
    app = FastAPI(
        title="Hogwild",
        version=__version__,
        description=__doc__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    errors.install(app)
    for module in (chat, completions, responses, teams, events, meta):
        app.include_router(module.router)
    app.add_middleware(Gate, service=service, open_paths={"/health", *_page_paths()})
    if settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
            expose_headers=["X-Request-Id"],
        )
    if PAGE.is_dir():
        app.mount("/", _Page(directory=PAGE, html=True), name="page")
    return app


def _page_paths() -> list[str]:
    """The files of the page, which hold no secret: it asks for the key itself."""
    return ["/", *(f"/{path.relative_to(PAGE).as_posix()}" for path in PAGE.rglob("*") if path.is_file())]


class _Page(StaticFiles):
    """The page's files, which load nothing from anywhere else."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """A file of the page; see `StaticFiles`."""
        response = super().file_response(*args, **kwargs)
        response.headers["Content-Security-Policy"] = CSP
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response
