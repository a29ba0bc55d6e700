"""``hogwild env``: what this machine and this installation are, and what is supported here."""

from __future__ import annotations

import json as jsonlib
import os
import platform
from importlib import metadata
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from hogwild.cli import text

PACKAGES = (
    "hogwild",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "gguf",
    "jinja2",
    "pydantic",
    "rich",
    "typer",
)

Json = Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON object.")]


def env(json: Json = False) -> None:
    """Tell versions, threads, devices, memory, and what is supported here."""
    report = gather()
    if json:
        typer.echo(jsonlib.dumps(report, indent=2))
        return
    out = Console()
    for label, value in _lines(report):
        out.print(Text.assemble((f"{label:<14}", "bold"), text.one_line(value)), soft_wrap=True)


def version(package: str) -> str:
    """The installed version of a package, or ``not installed``."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def gather() -> dict[str, Any]:
    """All that ``hogwild env`` tells, as plain values for JSON. Sizes are in bytes."""
    import psutil
    import torch

    from hogwild import native
    from hogwild.models import packaged

    memory = psutil.virtual_memory()
    return {
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu": {
            "capability": torch.backends.cpu.get_cpu_capability(),
            "bfloat16": native.fast_bfloat16(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "threads": torch.get_num_threads(),
            "kernels": native.status(),
            "instructions": native.instructions(),
        },
        "memory": {"total": memory.total, "available": memory.available},
        "devices": devices(),
        "cache_folder": str(packaged.cache_folder()),
        "models_cached": [model.name for model in packaged.cached()],
        "families": families(),
    }


def devices() -> dict[str, str]:
    """Every device that ``--device`` may name here, with what it is."""
    import torch

    found = {"cpu": platform.machine()}
    if torch.cuda.is_available():
        found |= {f"cuda:{i}": torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    return found


def families() -> dict[str, int]:
    """How many model families are supported and how many refused."""
    from hogwild.models.families import FAMILIES

    refused = sum(family.status == "refused" for family in FAMILIES)
    return {"supported": len(FAMILIES) - refused, "refused": refused}


def _bfloat16(cpu: dict[str, Any]) -> str:
    if cpu["bfloat16"]:
        return "fast"
    return "fast in the kernels, slow in PyTorch" if cpu["instructions"] else "slow: use float32"


def _lines(report: dict[str, Any]) -> list[tuple[str, str]]:
    cpu, memory, kinds = report["cpu"], report["memory"], report["families"]
    return [
        *report["versions"].items(),
        ("platform", report["platform"]),
        ("cpu", f"{cpu['capability']}, bfloat16 {_bfloat16(cpu)}"),
        ("kernels", cpu["kernels"]),
        ("threads", f"{cpu['threads']} of {cpu['cores']} cores"),
        ("memory", f"{text.size(memory['available'])} free of {text.size(memory['total'])}"),
        ("devices", ", ".join(f"{name} ({what})" for name, what in report["devices"].items())),
        ("cache", f"{report['cache_folder']} ({', '.join(report['models_cached']) or 'empty'})"),
        ("models", f"{kinds['supported']} families exact, {kinds['refused']} refused; see hogwild models list"),
    ]
