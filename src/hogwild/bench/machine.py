"""Where a benchmark ran: hardware, threads, versions, commit, date; and what the memory gives."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import torch
from torch import Tensor

from hogwild.team.versions import versions

READ_BUFFER = 512 << 20
"""Bytes that one reading takes, far beyond the caches of a desktop or server core."""

READ_BUFFER_GPU = 4 << 30
"""The same on a GPU, where a launch should be nothing against the reading; less on a card with less to spare."""

READS = 6
"""Readings of each kind; the best of all counts."""

_SOURCES = ("--", ":(top)", ":(top,exclude)docs/benchmarks.*")

_READERS: tuple[Callable[[Tensor], Tensor], ...] = (torch.sum, torch.amax)


@dataclass(frozen=True)
class Machine:
    """The conditions of a benchmark. ``memory`` is in bytes, ``commit`` of the source tree, or ``unknown``."""

    cpu: str
    capability: str
    cores: int
    threads: int
    memory: int
    device: str
    system: str
    versions: dict[str, str]
    commit: str
    date: str

    @classmethod
    def here(cls, device: torch.device | str = "cpu") -> Machine:
        """This machine, now."""
        return cls(
            cpu=_cpu_name(),
            capability=torch.backends.cpu.get_cpu_capability(),
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
            threads=torch.get_num_threads(),
            memory=psutil.virtual_memory().total,
            device=_device_name(torch.device(device)),
            system=platform.platform(),
            versions=versions(),
            commit=_commit(),
            date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )

    def __str__(self) -> str:
        packages = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return (
            f"{self.cpu} ({self.capability}), {self.threads} threads on {self.cores} cores, "
            f"{self.memory / (1 << 30):.0f} GiB, device {self.device}; {self.system}; {packages}; "
            f"commit {self.commit}; {self.date}"
        )


def read_bandwidth(device: torch.device | str = "cpu", size: int | None = None) -> float:
    """Bytes a second that this process reads from memory: the best of several reductions over ``size`` bytes.

    Sum and maximum of float32 by plain torch, on all of its threads. ``size``: `READ_BUFFER`, or `READ_BUFFER_GPU`.
    """
    if size is None and torch.device(device).type == "cuda":
        size = min(READ_BUFFER_GPU, torch.cuda.mem_get_info(device)[0] // 2)
    size = size or READ_BUFFER
    buffer = torch.ones(size // 4, dtype=torch.float32, device=device)  # zeros would share one page
    best = min(_seconds(read, buffer) for read in _READERS for _ in range(READS))
    return buffer.numel() * 4 / best


def _seconds(read: Callable[[Tensor], Tensor], buffer: Tensor) -> float:
    synchronize(buffer.device)
    start = time.perf_counter()
    read(buffer)
    synchronize(buffer.device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was given; a CPU already has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak(device: torch.device) -> None:
    """Count the peak memory from here, where the system can (Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):  # elsewhere the peak is that of the process's whole life
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that the device gave, or on a CPU the most that the process held, since `reset_peak`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if platform.system() == "Darwin" else peak << 10


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _commit() -> str:
    """The commit of the source tree that this file lies in; ``+`` marks changes that are in no commit.

    The results of benchmarks do not count as changes: they are written while more are measured.
    """
    git = ["git", "-C", str(Path(__file__).resolve().parent)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], check=True, capture_output=True, text=True)
        changes = subprocess.run(
            [*git, "status", "--porcelain", "-uno", *_SOURCES], check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):  # installed from a wheel, or no git here
        return "unknown"
    return commit.stdout.strip() + ("+" if changes.stdout.strip() else "")
