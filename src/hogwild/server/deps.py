"""What the middleware has found out about a request, for the routes."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from hogwild.server.service import Service


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _key(request: Request) -> str:
    key: str = request.scope.get("hogwild.key", "")
    return key


ServiceOf = Annotated[Service, Depends(_service)]
"""The service of the app."""

KeyOf = Annotated[str, Depends(_key)]
"""Whose request it is: a name for the API key, or an empty one where there are no keys."""
