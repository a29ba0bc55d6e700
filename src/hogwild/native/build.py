"""Compile the kernels: ``python -m hogwild.native.build``. Needs nothing but Python and a C++ compiler.

The package's build runs it too. Where there is no compiler, or the machine is not an x86-64, the package is built
without kernels and works without them. What is compiled knows nothing of Python or torch: plain C functions, the same
ones in a shared library for each of `INSTRUCTIONS`, so that any Python and any torch can load them. OpenMP is the one
that torch has already loaded.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
COMMON = (
    "-O3",
    "-std=c++17",
    "-fPIC",
    "-fopenmp",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-Wall",
)
BASELINE = ("-march=x86-64",)
"""For `features.cpp`, which asks the processor before the others are called."""

AVX512 = ("-march=x86-64-v4", "-mavx512bf16", "-mavx512vnni", "-mavx512vbmi", "-mprefer-vector-width=512")
INSTRUCTIONS = {
    "amx": (*AVX512, "-DHOGWILD_AVX512", "-mamx-tile", "-mamx-bf16", "-mamx-int8"),
    "avx512": AVX512,
    "avx2": ("-march=x86-64-v3",),
}
"""What the kernels are compiled for, the fastest first."""


def library(instructions: str) -> Path:
    """Where the kernels for one of `INSTRUCTIONS` lie."""
    return HERE / f"kernels-{instructions}.so"


def sources() -> list[Path]:
    """The C++ files and headers, in a fixed order."""
    return sorted(path for path in HERE.iterdir() if path.suffix in {".cpp", ".hpp"})


def sources_hash() -> str:
    """Names a state of the sources. The library carries that of its own."""
    digest = hashlib.sha256()
    for path in sources():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def compiler() -> str | None:
    """The C++ compiler: the environment's CXX, or g++, or clang++."""
    chosen = os.environ.get("CXX")
    return chosen or shutil.which("g++") or shutil.which("clang++")


def build() -> str | None:
    """Compile the libraries beside their sources; returns what could not be done and why, or None."""
    if platform.machine().lower() not in {"x86_64", "amd64"} or sys.platform != "linux":
        return f"there are no kernels for {sys.platform} on {platform.machine()}"
    program = compiler()
    if program is None:
        return "no C++ compiler (g++ or clang++) was found"
    with ThreadPoolExecutor() as threads:
        problems = list(threads.map(lambda name: _build_for(name, program), INSTRUCTIONS))
    said = [f"for {name}, {problem}" for name, problem in zip(INSTRUCTIONS, problems, strict=True) if problem]
    return "; ".join(said) or None


def _build_for(instructions: str, program: str) -> str | None:
    with tempfile.TemporaryDirectory(prefix="hogwild-") as folder:
        objects = list[str]()
        defined = (f'-DHOGWILD_SOURCES="{sources_hash()}"', f"-DHOGWILD_{instructions.upper()}")
        for source in (path for path in sources() if path.suffix == ".cpp"):
            objects.append(str(Path(folder) / f"{source.stem}.o"))
            flags = BASELINE if source.stem == "features" else INSTRUCTIONS[instructions]
            if problem := _run([program, *COMMON, *flags, *defined, "-c", str(source), "-o", objects[-1]]):
                return problem
        unfinished = library(instructions).with_suffix(f".{os.getpid()}")
        if problem := _run([program, "-shared", "-fopenmp", *objects, "-o", str(unfinished)]):
            return problem
        unfinished.replace(library(instructions))  # a process that has loaded the old one keeps it
    return None


def _run(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
    return f"{Path(command[0]).name} failed: {(lines or ['it said nothing'])[0]}" if done.returncode else None


if __name__ == "__main__":
    problem = build()
    sys.exit(f"the kernels were not built: {problem}" if problem else None)
