"""The HTTP server: a socket that gives up dead clients, uvicorn, and an end that lets running teams answer."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from hogwild.errors import OptionError
from hogwild.server.service import Service

REQUEST_SECONDS = 30.0
"""How long the head of a request may take to come. A client that sends half of one does not keep its connection."""

DEAD_SECONDS = 60
"""A client that takes nothing, and confirms nothing, for so long is dead."""

LAST_SECONDS = 30
"""After the grace: for the answers from what there is, and for slow readers of them."""


def listen(host: str, port: int) -> socket.socket:
    """A socket whose connections end when the other side is dead. Raises `OptionError` where none can be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        sock = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
        raise OptionError(f"--host {host} --port {port}: {reason}; take another one") from error
    wanted = {"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
    wanted["TCP_USER_TIMEOUT"] = DEAD_SECONDS * 1000
    for name, value in wanted.items():  # connections inherit them
        level = socket.SOL_SOCKET if name.startswith("SO_") else socket.IPPROTO_TCP
        if hasattr(socket, name):
            sock.setsockopt(level, getattr(socket, name), value)
    return sock


class _Protocol(H11Protocol):
    """HTTP/1.1 whose requests must come within `REQUEST_SECONDS`."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_waiting()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def _wait(self) -> None:
        """Let the clock run exactly while a request's head is not there."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._late is None:
            self._late = self.loop.call_later(REQUEST_SECONDS, self._hang_up)

    def _hang_up(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            self.transport.close()

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class Server(uvicorn.Server):
    """uvicorn, which lets the service's teams come to an end while it waits for their readers.

    The first SIGINT or SIGTERM ends it in good order, and the process's exit code is 0; a second SIGINT at once.
    """

    def __init__(self, app: FastAPI, grace: float) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_Protocol,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="none",
                timeout_graceful_shutdown=int(grace) + LAST_SECONDS,
            )
        )
        self._service: Service = app.state.service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, let the teams end, wait for the readers."""
        closing = threading.Thread(target=self._service.close, name="hogwild-closing", daemon=True)
        closing.start()
        await super().shutdown(sockets)


SWITCH_SECONDS = 0.001
"""A thread that computes gives way after so long to the one that does the passes (docs/lab-notes.md)."""


def serve(app: FastAPI, sock: socket.socket) -> None:
    """Serve until a signal ends it, in a process of its own."""
    sys.setswitchinterval(SWITCH_SECONDS)
    Server(app, app.state.service.settings.grace).run(sockets=[sock])
