"""Packages that some verbs need and a plain installation lacks."""

from __future__ import annotations

from importlib.util import find_spec

from hogwild.errors import OptionError


def need(what: str, *packages: str, extra: str = "serve") -> None:
    """Raise `OptionError` unless the packages that ``what`` needs, and ``extra`` brings, are installed."""
    for package in packages:
        if find_spec(package) is None:
            raise OptionError(f"{what} needs {package}, which is not installed: pip install 'hogwild[{extra}]'")
