"""A real server on loopback for tests: uvicorn in a thread, over any engine."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from hogwild import Team
from hogwild.engine import Engine
from hogwild.server import orders
from hogwild.server.app import create_app
from hogwild.server.run import Server, listen
from hogwild.server.service import Service
from hogwild.server.settings import ServerSettings

_FOR_TESTS: dict[str, Any] = {"name": "tiny", "grace": 0.0}


@dataclass
class Served:
    """``settings`` and ``service`` of the server, and its ``port`` on loopback."""

    service: Service
    port: int
    server: Server

    @property
    def engine(self) -> Engine:
        return self.service.engine

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def openai(self, key: str = "none") -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60)

    def http(self, key: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def raw(self, request: bytes = b"") -> socket.socket:
        """A bare connection that has sent ``request``."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connection.sendall(request)
        return connection

    def post(self, path: str, body: dict[str, Any]) -> bytes:
        """The bytes of a request."""
        text = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text


@contextmanager
def served(engine: Engine, scheduler: Any = None, **settings: Any) -> Iterator[Served]:
    """Serve an engine. At the end all pages must be back, but for the prompts that are kept."""
    service = Service(engine, ServerSettings(**_FOR_TESTS | settings), scheduler)
    with listen("127.0.0.1", 0) as sock:
        server = Server(create_app(service), grace=0.0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        until(lambda: server.started)
        try:
            yield Served(service, sock.getsockname()[1], server)
        finally:
            server.should_exit = True
            thread.join(30)
    assert not thread.is_alive(), "the server does not end"
    assert engine.pool.used_pages == 0, "pages are not back"


def use_prompts(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the server's teams have a prompt set that no client may ask for."""
    monkeypatch.setattr(orders, "Team", partial(Team, prompt=folder))


def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def events(text: str) -> list[dict[str, Any]]:
    """The data of server-sent events, but for the closing mark."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]
