"""The engine: blocks, views and passes. It knows tokens and tensors, and no text."""

from hogwild.cache import Block
from hogwild.engine.engine import PREFILL_CHUNK, Engine
from hogwild.engine.passes import Row
from hogwild.engine.selftest import ExactnessReport

__all__ = ["PREFILL_CHUNK", "Block", "Engine", "ExactnessReport", "Row"]
