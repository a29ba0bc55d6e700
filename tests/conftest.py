"""What all tests share: no network, repeatable randomness, and engines on tiny random models."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported: no test may reach a model hub
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Tiny models run faster on one thread, and threads that wait for each other crawl where another program runs too.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TRITON_INTERPRET", "1")  # before triton is imported: its kernels run on the CPU then

import hypothesis
import pytest

from browsing import browsing
from fakes import prompt_folder
from hogwild.engine import Engine
from tiny import tiny_engine

if TYPE_CHECKING:
    from playwright.sync_api import Browser

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("explore", deadline=None, print_blob=True, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture
def engine() -> Engine:
    """An engine of its own for each test, on a tiny Llama; its pool has 16 pages of 64 tokens."""
    return tiny_engine("Llama", kv_memory=16 * 64 * 1024)


@pytest.fixture
def prompt(tmp_path: Path) -> Path:
    """A prompt set of a few words."""
    return prompt_folder(tmp_path / "prompt")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser, for one file: while Playwright runs, nothing else may run an event loop in this thread."""
    with browsing() as browser:
        yield browser
