"""A trace as a page: served on the loopback address until Ctrl-C. It prints the address and opens nothing by itself."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

import typer

from hogwild.cli.needs import need
from hogwild.cli.playback import read
from hogwild.cli.request import within
from hogwild.errors import OptionError

HOST = "127.0.0.1"


def serve(trace: Path, port: int) -> None:
    """Serve the page with ``trace`` on ``port`` (0: any free one).

    Raises:
        OptionError: the extra ``serve`` is not installed, or the port is taken.
        TraceError: the file is no trace.
    """
    need("hogwild replay --web", "fastapi", "uvicorn")
    within("--port", port, 0, 65535)
    read(trace)

    import uvicorn

    from hogwild.server.web import trace_app

    try:
        sock = socket.create_server((HOST, port))
    except OSError as error:
        raise OptionError(f"--port {port}: {error.strerror or error}; take another one") from error
    with sock, suppress(KeyboardInterrupt):
        typer.echo(f"the run is at http://{HOST}:{sock.getsockname()[1]}/#trace=trace.jsonl (Ctrl-C ends it)")
        config = uvicorn.Config(trace_app(trace), log_level="warning", timeout_graceful_shutdown=1)
        uvicorn.Server(config).run(sockets=[sock])
