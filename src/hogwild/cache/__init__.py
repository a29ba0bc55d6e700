"""The KV cache: a paged pool of fixed size, and blocks that own pages of it."""

from hogwild.cache.block import Block
from hogwild.cache.pool import Pool

__all__ = ["Block", "Pool"]
