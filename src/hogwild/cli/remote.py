"""A server's teams, as `hogwild watch` reaches them: the routes below ``/v1/teams``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
from pydantic import ValidationError

from hogwild.errors import HogwildError, OptionError
from hogwild.team.events import EVENT, Event, Finished

WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each new try of a lost connection; the last one repeats."""

SILENCE = 45.0
"""Seconds without a byte after which a stream of events is lost: the server says something every 15."""

ENDS = {"failed": "the team failed", "cancelled": "the team was cancelled"}
"""The last events of teams that end without an answer."""


class Lost(HogwildError):
    """The server cannot be reached, or is too busy: another try may find it."""


class Remote:
    """A server at ``url``, with an API key or none. Every method raises `HogwildError` with what the server says."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self.url = url.rstrip("/")
        try:
            parts = urlsplit(self.url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise OptionError(f"--url {url!r} is no address: give one like http://127.0.0.1:8000")
        self._client = httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=10.0, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def teams(self) -> list[dict[str, Any]]:
        """The server's teams: ``id``, ``state``, ``task``, ``workers``, ``passes``, ``budget``, ``answer`` and more."""
        found: list[dict[str, Any]] = (await self._ask("GET", "/v1/teams"))["data"]
        return found

    async def say(self, team: str, text: str) -> None:
        """Put a message into a team's history."""
        await self._ask("POST", f"/v1/teams/{quote(team, safe='')}/say", {"text": text})

    async def stop(self, team: str) -> None:
        """Ask a team for its answer now."""
        await self._ask("POST", f"/v1/teams/{quote(team, safe='')}/stop")

    async def follow(self, team: str) -> AsyncIterator[Event | str]:
        """The events of a team from its first to its last; between them, sentences about the connection.

        A connection that is lost is taken up after the last event. Ends after `Finished`, or after a sentence where the
        team failed or was cancelled.
        """
        last, tries = 0, 0
        while True:
            try:
                async for number, told in self._events(team, last):
                    last, tries = number, 0
                    yield told
                    if isinstance(told, (Finished, str)):
                        return
                wait = WAITS[0]  # the server has closed the stream before its end
            except Lost:
                wait = WAITS[min(tries, len(WAITS) - 1)]
            tries += 1
            yield f"connection lost; next try in {wait:g} s"
            await asyncio.sleep(wait)

    async def _events(self, team: str, after: int) -> AsyncIterator[tuple[int, Event | str]]:
        path, headers = f"/v1/teams/{quote(team, safe='')}/events", {"Last-Event-ID": str(after)}
        timeout = httpx2.Timeout(10.0, read=SILENCE)
        try:
            async with self._client.stream("GET", path, headers=headers, timeout=timeout) as response:
                if response.is_error:
                    await response.aread()
                    self._check(response)
                number = after
                async for line in response.aiter_lines():
                    if line.startswith("id:"):
                        number = int(line[3:])
                    elif line.startswith("data:") and (told := _read(line[5:])) is not None:
                        yield number, told
        except httpx2.TransportError as error:
            raise Lost(f"{self.url} cannot be reached: {error}") from None

    async def _ask(self, method: str, path: str, content: dict[str, Any] | None = None) -> Any:
        try:
            response = await self._client.request(method, path, json=content)
        except httpx2.TransportError as error:
            raise Lost(f"{self.url} cannot be reached ({error}): start hogwild serve, or give its --url") from None
        self._check(response)
        try:
            return response.json()
        except ValueError:
            raise HogwildError(f"{self.url} is no hogwild server: it answered something else than JSON") from None

    def _check(self, response: httpx2.Response) -> None:
        if not response.is_error:
            return
        try:
            said = str(response.json()["error"]["message"])
        except (ValueError, KeyError, TypeError):
            said = f"{self.url} answered {response.status_code}; is it a hogwild server?"
        if response.status_code == 401:
            raise OptionError(f"{said} (here: --api-key, or the variable HOGWILD_API_KEY)")
        raise (Lost if response.status_code in (429, 502, 503, 504) else HogwildError)(said)


def _read(data: str) -> Event | str | None:
    """An event of a team, a sentence for an end without an answer, or None for what this version does not know."""
    try:
        told = json.loads(data)
        if told.get("kind") in ENDS:
            return str(told.get("error", {}).get("message", ENDS[told["kind"]]))
        return EVENT.validate_python(told)
    except (ValidationError, ValueError, AttributeError):
        return None
