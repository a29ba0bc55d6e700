"""The server itself: which models, is it well, which version, what Prometheus wants to know."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Response

from hogwild import __version__
from hogwild.server.deps import ServiceOf
from hogwild.server.errors import ApiError
from hogwild.server.orders import aliases, resolve
from hogwild.server.schemas.base import REFUSALS, Given
from hogwild.team.versions import versions

router = APIRouter(tags=["server"], responses={401: REFUSALS[401]})


class Model(Given):
    """A name that requests may ask for."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "hogwild"
    hogwild: dict[str, Any]


class Models(Given):
    """All of them."""

    object: Literal["list"] = "list"
    data: list[Model]


class Health(Given):
    """Whether teams can be served."""

    status: Literal["ok"] = "ok"


class Version(Given):
    """This software, and what it stands on."""

    version: str
    versions: dict[str, str]


@router.get("/v1/models")
async def models(service: ServiceOf) -> Models:
    """The model's name, and its aliases for teams. Others, like ``hogwild-3/NAME``, work as well."""
    return Models(data=[_model(name, service) for name in aliases(service.name, service.settings.max_workers)])


@router.get("/v1/models/{model:path}", responses={404: REFUSALS[404]})
async def model(model: str, service: ServiceOf) -> Model:
    """One of the names."""
    if (resolve(model, service.name) or 1) > service.settings.max_workers:
        raise ApiError(404, f"a team has up to {service.settings.max_workers} workers here", param="model")
    return _model(model, service)


def _model(name: str, service: ServiceOf) -> Model:
    about = {
        "workers": resolve(name, service.name) or 1,
        "max_workers": service.settings.max_workers,
        "max_budget": service.settings.max_budget,
        "positions": service.engine.max_positions,
    }
    return Model(id=name, hogwild=about)


@router.get("/health", responses={503: REFUSALS[503]})
async def health(service: ServiceOf) -> Health:
    """Needs no key."""
    if not service.healthy:
        raise ApiError(503, "the server is stopping", code="stopping")
    return Health()


@router.get("/version")
async def version() -> Version:
    """Which software this is."""
    return Version(version=__version__, versions=versions())


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(service: ServiceOf) -> Response:
    """Counters and times, for Prometheus."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
