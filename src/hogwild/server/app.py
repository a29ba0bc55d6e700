"""The app: routes, errors and limits around one service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.concurrency import run_in_threadpool

from hogwild import __version__
from hogwild.server import errors
from hogwild.server.gate import Gate
from hogwild.server.routes import chat, completions, events, meta, responses, teams
from hogwild.server.service import Service
from hogwild.server.web import add_page


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
    add_page(app)
    app.add_middleware(Gate, service=service)
    if settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
            expose_headers=["X-Request-Id"],
        )
    return app
