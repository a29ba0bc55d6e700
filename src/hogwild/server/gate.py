"""Every request passes here: it gets an id, shows its key, and leaves a line in the log."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import time
import uuid
from collections.abc import Collection
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hogwild.server.errors import ApiError, as_api_error
from hogwild.server.logs import log
from hogwild.server.service import Service
from hogwild.server.sse import ClientGone

GONE = 499
"""The status in the log where the client did not wait for an answer."""

OPEN, OPEN_BELOW = ("/health", "/"), "/page/"
"""Paths that need no key: the page's files hold no secret, it asks for the key itself."""

BODY_SECONDS = 30
"""How long a body may take to come."""

_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def key_of(header: str | None, keys: Collection[str]) -> str | None:
    """A name for the key that an ``Authorization`` header shows, or None for none of ``keys``.

    Compares with all of them, each in constant time. The name does not tell the key.
    """
    scheme, _, shown = (header or "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    given, found = shown.strip().encode("utf-8", "replace"), None
    for key in keys:
        if hmac.compare_digest(given, key.encode()):
            found = f"key-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    return found


class Gate:
    """The outermost ASGI layer. Everything but `OPEN` needs a key, where there are keys."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, headers, status = time.perf_counter(), Headers(scope=scope), 0
        shown = headers.get("x-request-id", "")
        number = shown if _ID.fullmatch(shown) else uuid.uuid4().hex
        scope["hogwild.fields"] = fields = {"request": number}

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = number
            await send(message)

        try:
            self._check(scope, headers)
            receive = await self._with_body(receive, headers)
            await self._app(scope, receive, sending)
        except ClientGone:
            status = GONE
        except Exception as error:  # whatever it is, the client gets an error of the usual shape
            answer = as_api_error(error)
            if not status:
                await answer.response()(scope, receive, sending)
        finally:
            self._log(scope, fields, status or GONE, time.perf_counter() - began)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Raise `ApiError` for a request that may not come in."""
        settings = self._service.settings
        host = headers.get("host", "").rsplit(":", 1)[0].strip("[]")
        if settings.hosts and host not in settings.hosts:
            raise ApiError(400, f"this server is not called {host[:100]!r}", code="wrong_host")
        path = scope["path"]
        if not settings.api_keys or path in OPEN or path.startswith(OPEN_BELOW) or scope["method"] == "OPTIONS":
            return
        key = key_of(headers.get("authorization"), settings.api_keys)
        if key is None:
            raise ApiError(401, "no valid API key: send it as Authorization: Bearer KEY", code="invalid_api_key")
        scope["hogwild.key"] = key

    async def _with_body(self, receive: Receive, headers: Headers) -> Receive:
        """Read the whole body, which is small and must come soon; what is received after it is the client's leaving.

        Raises `ApiError` (408, 413) and `ClientGone`.
        """
        most, length, body = self._service.settings.max_body, headers.get("content-length", "0"), bytearray()
        too_large = ApiError(413, f"the body is over {most:,} bytes, the most that this server takes")
        if length.isdecimal() and int(length) > most:
            raise too_large
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone("the client has gone")
                    body += message.get("body", b"")
                    if len(body) > most:
                        raise too_large
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            raise ApiError(408, f"the body did not come within {BODY_SECONDS} seconds") from None
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        return replay

    def _log(self, scope: Scope, fields: dict[str, Any], status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self._service.metrics.requests.labels(route, str(status)).inc()
        line = {"method": scope["method"], "path": scope["path"][:200], "status": status, "seconds": round(seconds, 4)}
        line |= {"key": scope["hogwild.key"]} if "hogwild.key" in scope else {}
        log.info("request", extra={"fields": fields | line})
