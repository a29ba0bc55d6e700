"""Which software made a run, for its trace."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("hogwild", "torch", "transformers", "tokenizers")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what a run gives."""
    return dict(_versions())


@cache  # reading them takes ten milliseconds, and a server makes many teams
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source tree
            found[package] = "unknown"
    return found
