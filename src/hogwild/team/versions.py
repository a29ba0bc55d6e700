"""Which software made a run, for its trace."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("hogwild", "torch", "transformers", "tokenizers")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what a run gives."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source tree
            found[package] = "unknown"
    return found
