"""What goes wrong, in OpenAI's shape: ``{"error": {message, type, param, code}}``. Never a traceback.

The statuses:

400 invalid_request_error     the request cannot be as it is; ``param`` names what is wrong
401 authentication_error      no key, or none of the server's
404 invalid_request_error     no such model, team, worker or path
408 invalid_request_error     the body did not come in time
409 invalid_request_error     the team has ended, or is not of a kind that can do this
413 invalid_request_error     the body is too large
429 rate_limit_error          too many open requests of this key; Retry-After
503 overloaded_error          the queue is full, waited in for too long, or the server is stopping; Retry-After
500 server_error              everything else
"""

from __future__ import annotations

import logging
import re
import traceback
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from hogwild.errors import CacheFull, HogwildError, InputError, QueueFull
from hogwild.team.text import clean

RETRY_SECONDS = 5
"""What ``Retry-After`` says."""

_TYPES = {401: "authentication_error", 429: "rate_limit_error", 503: "overloaded_error"}
_PHRASES = {404: "there is no such path", 405: "this path does not take this method"}
_TYPE = re.compile(r"str|int|float|bool|(?:list|dict|constrained)\b.*")
_FIELD = re.compile(r"(?:hogwild\.)?([a-z_]+)(?:=| is | are | of | has | needs )")

log = logging.getLogger("hogwild.server")


class ApiError(HogwildError):
    """A request that is refused: HTTP ``status``, and what the body says."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code

    def body(self) -> dict[str, Any]:
        """The error as JSON."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": clean(str(self)), "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """The error as an answer."""
        headers = {"Retry-After": str(RETRY_SECONDS)} if self.status in (429, 503) else {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body(), self.status, headers)


def unsupported(param: str, why: str) -> ApiError:
    """A parameter that this server does not take, or not with this value."""
    return ApiError(400, f"{param}: {why}", param=param, code="unsupported_parameter")


def as_api_error(error: BaseException) -> ApiError:
    """What a client is told of an error. What nobody expected is logged, and told without its words."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, InputError):
        field = _FIELD.match(str(error))
        return ApiError(400, str(error), param=field[1] if field else None)
    if isinstance(error, (CacheFull, QueueFull)):
        return ApiError(503, str(error), code="overloaded")
    if isinstance(error, HogwildError):
        return ApiError(500, str(error))
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    log.error("internal error", extra={"fields": {"error": type(error).__name__, "where": where}})
    return ApiError(500, "internal error; the server's log has it under this request's id", code="internal_error")


def of_validation(error: RequestValidationError) -> ApiError:
    """The first thing that is wrong with a request's fields, by name."""
    problem = max(error.errors(), key=lambda one: len(one["loc"]))  # of a union's branches, the one that fits best
    # A branch stands in the place as well, by the name of its type, which means nothing to a client.
    name = ".".join(str(part) for part in problem["loc"][1:] if not _TYPE.fullmatch(str(part)))[:200] or None
    if problem["type"] == "extra_forbidden" and name:
        return unsupported(name, "this parameter is not supported here; leave it out")
    if problem["type"] == "json_invalid":
        return ApiError(400, "the body is no JSON", code="invalid_json")
    message = problem["msg"].removeprefix("Value error, ")
    return ApiError(400, f"{name}: {message}" if name else message, param=name, code=None)


def install(app: FastAPI) -> None:
    """Let every error of the app come out in this shape."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return of_validation(error).response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        said = _PHRASES.get(error.status_code, str(error.detail))
        response = ApiError(error.status_code, said).response()
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(HogwildError)
    async def ours(request: Request, error: HogwildError) -> JSONResponse:
        return as_api_error(error).response()
