"""``hogwild serve``: many teams over one model, for any OpenAI client and for people in a browser."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hogwild.cli import options as opt
from hogwild.cli.loading import loading
from hogwild.cli.needs import need
from hogwild.cli.request import ATTENTION, QUANTIZE, one_of, parse_bytes, within

if TYPE_CHECKING:
    from hogwild.server.service import Service
    from hogwild.server.settings import ServerSettings

ENVIRONMENT = "HOGWILD_SERVE"
"""Each flag is also an environment variable: this, an underscore, and its name in capitals."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")

_server = partial(typer.Option, rich_help_panel="Server")
_limits = partial(typer.Option, rich_help_panel="Limits")
_schedule = partial(typer.Option, rich_help_panel="Scheduler")

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A packaged name, a folder, a .gguf file or a hub id.", envvar=f"{ENVIRONMENT}_MODEL"
    ),
]
Host = Annotated[str, _server(metavar="HOST", help="Where to listen; 0.0.0.0 for every network.")]
Port = Annotated[int, _server(metavar="PORT", help="0 takes any free one.")]
ApiKey = Annotated[
    list[str] | None,
    _server(metavar="KEY", help="Ask for this key; repeat for more (in the variable: parted by spaces)."),
]
Name = Annotated[str | None, _server(metavar="NAME", help="What clients call the model.", show_default="its own")]
Cors = Annotated[list[str] | None, _server(metavar="ORIGIN", help="Sites whose pages may call; repeat, or * for all.")]
AllowedHost = Annotated[
    list[str] | None,
    _server(metavar="NAME", help="Answer to these names only; repeat.", show_default="localhost where HOST is that"),
]
Grace = Annotated[float, _server(metavar="SECONDS", help="At the end, for running teams; then they answer at once.")]
LogText = Annotated[bool, _server("--log-text", metavar="", help="Log what requests say.")]

WorkersDefault = Annotated[int, _limits(metavar="N", help="Of teams whose request does not say.")]
BudgetDefault = Annotated[int, _limits(metavar="PASSES", help="Of requests that do not say.")]
MaxWorkers = Annotated[int, _limits(metavar="N", help="Of one team, 1 to 16.")]
MaxBudget = Annotated[int, _limits(metavar="PASSES", help="Of one team.")]
MaxChoices = Annotated[int, _limits(metavar="N", help="Of one request (n).")]
MaxMessages = Annotated[int, _limits(metavar="N", help="Of one conversation.")]
MaxBody = Annotated[str, _limits(metavar="SIZE", help="Of one request, like 1MiB.")]
MaxOpen = Annotated[int, _limits(metavar="N", help="Teams of one key that wait or run.")]
RequestSeconds = Annotated[float, _limits(metavar="SECONDS", help="After which a team is cut off; 0 for never.")]
KeepSeconds = Annotated[float, _limits(metavar="SECONDS", help="How long teams that have ended can be looked at.")]
KeepTeams = Annotated[int, _limits(metavar="N", help="How many of them.")]

MaxTeams = Annotated[int, _schedule(metavar="N", help="That run at once.")]
PassTokens = Annotated[int, _schedule(metavar="N", help="Of one pass; prompts are read in what workers leave of it.")]
Overcommit = Annotated[
    bool, _schedule("--overcommit", metavar="", help="Admit by the prompt, and pause teams when pages run out.")
]
QueueLimit = Annotated[int, _schedule(metavar="N", help="Teams that wait; more are refused.")]
QueueSeconds = Annotated[float, _schedule(metavar="SECONDS", help="How long a team waits at most.")]
Isolate = Annotated[bool, _schedule("--isolate", metavar="", help="Share read prompts within one key only.")]


def serve(
    model: Model = opt.DEFAULT_MODEL,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    api_key: ApiKey = None,
    name: Name = None,
    cors: Cors = None,
    allowed_host: AllowedHost = None,
    grace: Grace = 10.0,
    log_text: LogText = False,
    workers_default: WorkersDefault = 2,
    budget_default: BudgetDefault = 512,
    max_workers: MaxWorkers = 8,
    max_budget: MaxBudget = 4096,
    max_choices: MaxChoices = 8,
    max_messages: MaxMessages = 256,
    max_body: MaxBody = "1MiB",
    max_open: MaxOpen = 64,
    request_seconds: RequestSeconds = 600.0,
    keep_seconds: KeepSeconds = 600.0,
    keep_teams: KeepTeams = 128,
    max_teams: MaxTeams = 64,
    pass_tokens: PassTokens = 512,
    overcommit: Overcommit = False,
    queue_limit: QueueLimit = 256,
    queue_seconds: QueueSeconds = 60.0,
    isolate: Isolate = False,
    device: opt.Device = "cpu",
    dtype: opt.Dtype = None,
    quantize: opt.Quantize = "none",
    kv_memory: opt.KvMemory = None,
    kv_dtype: opt.KvDtype = None,
    attention: opt.Attention = "auto",
    graphs: opt.Graphs = False,
    compile: opt.Compile = False,  # noqa: A002  torch's name for it
    trust_remote_code: opt.TrustRemoteCode = False,
) -> None:
    """Serve MODEL over HTTP: the OpenAI API at /v1, teams at /v1/teams, a page at /.

    Each flag is also an environment variable, HOGWILD_SERVE_PORT for --port: keys are better kept there. The first
    Ctrl-C lets running teams end, the second ends at once.
    """
    given = locals()
    settings = _settings(given)
    within("--port", port, 0, 65535)
    one_of("--quantize", quantize, QUANTIZE)
    one_of("--attention", attention, ATTENTION)
    memory = parse_bytes("--kv-memory", kv_memory) if kv_memory else None
    engine_options = {key: given[key] for key in ("device", "dtype", "quantize", "kv_dtype", "attention", "graphs")}
    engine_options |= {"compile": compile, "trust_remote_code": trust_remote_code, "kv_memory": memory}
    schedule = ("max_teams", "pass_tokens", "overcommit", "queue_limit", "queue_seconds", "isolate")

    from hogwild.server.run import listen

    with listen(host, port) as sock:  # before the model is loaded: a port that is taken is known at once
        _serve(_open(model, engine_options, {key: given[key] for key in schedule}, settings), sock, host)


def _settings(given: dict[str, Any]) -> ServerSettings:
    """The server's part of the options."""
    need("hogwild serve", "fastapi", "prometheus_client", "uvicorn")
    from hogwild.server.settings import ServerSettings

    same = (
        "name", "grace", "log_text", "workers_default", "budget_default", "max_workers", "max_budget", "max_choices",
        "max_messages", "max_open", "keep_seconds", "keep_teams",
    )  # fmt: skip
    hosts = tuple(given["allowed_host"] or ())
    if not hosts and given["host"] in LOOPBACK:
        hosts = LOOPBACK
    return ServerSettings(
        **{key: given[key] for key in same},
        api_keys=tuple(given["api_key"] or ()),
        cors=tuple(given["cors"] or ()),
        hosts=hosts,
        max_body=parse_bytes("--max-body", given["max_body"]),
        request_seconds=given["request_seconds"] or None,
    )


def _open(model: str, engine_options: dict[str, Any], schedule: dict[str, Any], settings: ServerSettings) -> Service:
    """Load the model, and make what serves it."""
    with loading(model) as progress:
        from hogwild.engine import Engine
        from hogwild.schedule import Scheduler
        from hogwild.server.service import Service

        engine = Engine.load(model, progress=progress, **engine_options)
    return Service(engine, settings, Scheduler(engine, **schedule))


def _serve(service: Service, sock: socket.socket, host: str) -> None:
    from hogwild.server import logs
    from hogwild.server.app import create_app
    from hogwild.server.run import serve as serve_app

    logs.write_to_stderr()
    shown = f"[{host}]" if ":" in host else host
    typer.echo(f"serving {service.name} at http://{shown}:{sock.getsockname()[1]} (Ctrl-C ends it)")
    if host not in LOOPBACK and not service.settings.api_keys:
        typer.echo("hogwild: warning: there is no --api-key: everybody who reaches this address can use it", err=True)
    serve_app(create_app(service), sock)
