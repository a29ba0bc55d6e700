"""The compiled kernels are loaded when they are right, and left alone when they are not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hogwild import native
from hogwild.native import build

ASK = "from hogwild import native; print(native.status(), native.library() is None, sep='|')"


def ask(**environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", ASK], check=False, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().split("|")


def test_switched_off() -> None:
    assert ask(HOGWILD_NATIVE="0") == ["switched off by HOGWILD_NATIVE=0", "True"]


def test_status_agrees_with_library() -> None:
    assert native.status().startswith("ready") == (native.library() is not None) == (native.instructions() is not None)


def test_only_what_there_is_can_be_chosen() -> None:
    assert ask(HOGWILD_NATIVE="sse") == ["HOGWILD_NATIVE is 'sse': give 0, amx, avx512 or avx2", "True"]


@pytest.mark.parametrize("name", build.INSTRUCTIONS)
def test_one_is_chosen(name: str) -> None:
    library, reason = native.load(name)
    status, none = ask(HOGWILD_NATIVE=name)
    assert none == str(library is None)
    assert status == (f"ready, with {native.NEEDED[name]}" if library else reason)


@pytest.mark.parametrize("name", build.INSTRUCTIONS)
def test_the_other_kernels_that_this_processor_can_run(name: str) -> None:
    library, reason = native.load(name)
    if library is None:
        pytest.skip(f"{name}: {reason}")
    if name == native.instructions():
        pytest.skip(f"{name}: all other tests run with these kernels")
    files = [str(Path(__file__).parent / f"test_{file}.py") for file in ("bf12", "fused", "linear", "norms")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *files],
        check=False,
        env={**os.environ, "HOGWILD_NATIVE": name},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the sources, which `build` takes for its own."""
    for path in build.sources():
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(build, "HERE", tmp_path)
    native._chosen.cache_clear()
    yield tmp_path
    native._chosen.cache_clear()


def test_no_library(copy: Path) -> None:
    assert native.status().startswith("not built")


def test_a_damaged_library(copy: Path) -> None:
    for name in build.INSTRUCTIONS:
        build.library(name).write_bytes(b"nonsense")
    assert native.status().startswith("kernels-avx2.so cannot be loaded")


def test_no_compiler(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    assert "compiler" in str(build.build()) or "no kernels for" in str(build.build())
    assert not list(copy.glob("*.so"))


@pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler here")
def test_a_failing_compiler_leaves_nothing(copy: Path) -> None:
    (copy / "features.cpp").write_text("this is no C++")
    assert "failed" in str(build.build()) or "no kernels for" in str(build.build())
    assert not list(copy.glob("*.so"))


def test_sources_newer_than_the_library(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if native.library() is None and shutil.which("g++") is None:
        pytest.skip("no C++ compiler here")
    for path in list(copy.glob("*.cpp")):
        if path.stem != "features":
            path.unlink()  # one small file is enough, and compiles in no time
    assert build.build() is None or "no kernels for" in str(build.build())
    if build.library("avx2").exists():
        with (copy / "features.cpp").open("a") as source:
            source.write("// changed\n")
        native._chosen.cache_clear()
        assert native.status().startswith("older than their sources")


@pytest.mark.parametrize(
    ("told", "fast"), [({"avx512_bf16": True, "amx_bf16": False}, True), ({"avx512_bf16": False, "avx2": True}, False)]
)
def test_bfloat16_is_fast_where_the_processor_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, bool], fast: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told)
    assert native.fast_bfloat16() is fast
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert native.fast_bfloat16() is False
