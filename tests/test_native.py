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
    assert (native.status() == "ready") == (native.library() is not None)


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the sources, which `build` takes for its own."""
    for path in build.sources():
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(build, "HERE", tmp_path)
    monkeypatch.setattr(build, "LIBRARY", tmp_path / "kernels.so")
    native._load.cache_clear()
    yield tmp_path
    native._load.cache_clear()


def test_no_library(copy: Path) -> None:
    assert native.status().startswith("not built")


def test_a_damaged_library(copy: Path) -> None:
    (copy / "kernels.so").write_bytes(b"nonsense")
    assert native.status().startswith("kernels.so cannot be loaded")


def test_no_compiler(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    assert "compiler" in str(build.build()) or "no kernels for" in str(build.build())
    assert not (copy / "kernels.so").exists()


@pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler here")
def test_a_failing_compiler_leaves_nothing(copy: Path) -> None:
    (copy / "features.cpp").write_text("this is no C++")
    assert "failed" in str(build.build()) or "no kernels for" in str(build.build())
    assert not (copy / "kernels.so").exists()


def test_sources_newer_than_the_library(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if native.library() is None and shutil.which("g++") is None:
        pytest.skip("no C++ compiler here")
    for path in list(copy.glob("*.cpp")):
        if path.stem != "features":
            path.unlink()  # one small file is enough, and compiles in no time
    assert build.build() is None or "no kernels for" in str(build.build())
    if (copy / "kernels.so").exists():
        with (copy / "features.cpp").open("a") as source:
            source.write("// changed\n")
        native._load.cache_clear()
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
