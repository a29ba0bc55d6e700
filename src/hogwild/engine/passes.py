"""A pass: rows are checked, cut to size, laid out and sent through the model once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from hogwild.attention import AttentionFunction, Plan, Reading, plain_attention
from hogwild.cache import Block, Pool
from hogwild.errors import BlockError, ModelUnsupported, WindowError


@dataclass(frozen=True)
class Row:
    """One row of a pass: ``tokens`` (at least one) are fed into the last block of ``view``, which all of it reads.

    The last ``drafts`` of the tokens are guesses: no other row of the pass sees them, or counts them in its positions,
    and the pass gives the logits before and after each of them. Whoever drops some afterwards truncates the block.
    """

    view: Sequence[Block]
    tokens: Sequence[int]
    drafts: int = 0

    @property
    def own(self) -> Block:
        """The block that is written."""
        return self.view[-1]


def check_rows(rows: Sequence[Row], pool: Pool, vocab_size: int) -> None:
    """Raise `BlockError` or `WindowError` for whatever cannot be, before anything is changed."""
    if not rows:
        raise BlockError("a pass needs at least one row")
    appended = dict[int, tuple[int, int]]()
    for number, row in enumerate(rows):
        _check_row(row, number, pool, vocab_size)
        if id(row.own) in appended:
            raise BlockError(f"rows {appended[id(row.own)][0]} and {number} write to the same block in one pass")
        appended[id(row.own)] = (number, len(row.tokens) - row.drafts)
    for number, row in enumerate(rows):
        length = sum(len(block) + appended.get(id(block), (0, 0))[1] for block in row.view) + row.drafts
        if length > pool.max_positions:
            raise WindowError(
                f"row {number}: a view of {length} tokens is longer than the model's {pool.max_positions} positions"
            )


def _check_row(row: Row, number: int, pool: Pool, vocab_size: int) -> None:
    if not row.view:
        raise BlockError(f"row {number} has an empty view: it needs at least the block that it writes to")
    if len({id(block) for block in row.view}) != len(row.view):
        raise BlockError(f"row {number} has the same block twice in its view: fork it to read it twice")
    for block in row.view:
        block.check_usable()
        if block.pool is not pool:
            raise BlockError(f"row {number} views a block of another engine")
    if not len(row.tokens):
        raise BlockError(f"row {number} brings no token: leave it out of the pass")
    if not 0 <= row.drafts < len(row.tokens):
        raise BlockError(f"row {number} brings {len(row.tokens)} tokens and calls {row.drafts} of them drafts")
    for token in row.tokens:
        if not 0 <= token < vocab_size:
            raise BlockError(f"row {number} brings token {token}, but the model knows 0 to {vocab_size - 1}")


def entangled(rows: Sequence[Row]) -> list[bool]:
    """Which rows read what another one writes, or are read by one: those must stay in one pass."""
    writers, found = {id(row.own): number for number, row in enumerate(rows)}, [False] * len(rows)
    for number, row in enumerate(rows):
        for block in row.view:
            writer = writers.get(id(block), number)
            if writer != number:
                found[number] = found[writer] = True
    return found


def cut_rows(rows: Sequence[Row], chunk: int) -> list[list[Row]]:
    """Cut long rows that no other row of the pass depends on: their first chunks go ahead, each in a pass alone.

    Causality makes that exact. Rows that read each other's new tokens must stay in one pass, whatever its size.
    """
    if all(len(row.tokens) - row.drafts <= chunk for row in rows):
        return [list(rows)]
    ahead, together = list[list[Row]](), list[Row]()
    for row, bound in zip(rows, entangled(rows), strict=True):
        first = 0
        if not bound:
            while len(row.tokens) - row.drafts - first > chunk:  # the drafts stay with the token before them
                ahead.append([Row(row.view, row.tokens[first : first + chunk])])
                first += chunk
        together.append(replace(row, tokens=row.tokens[first:]) if first else row)
    return [*ahead, together]


def asked(rows: Sequence[Row], all_positions: bool) -> list[int]:
    """After how many of each row's last tokens the logits are wanted."""
    return [len(row.tokens) if all_positions else 1 + row.drafts for row in rows]


def asked_places(rows: Sequence[Row]) -> list[int]:
    """Where in the pass these tokens are."""
    ends = accumulate(len(row.tokens) for row in rows)
    return [place for row, end in zip(rows, ends, strict=True) for place in range(end - 1 - row.drafts, end)]


def reserve(rows: Sequence[Row], pool: Pool) -> list[Tensor]:
    """Reserve slots for all rows, or for none: raises `CacheFull` before anything is changed."""
    wanted = sum(row.own.pages_wanted(len(row.tokens)) for row in rows)
    shared = Counter(page for row in rows if (page := row.own.shared_page) is not None)
    # The last of all who have a page may write to it as it is.
    wanted += sum(min(writers, pool.users(page) - 1) for page, writers in shared.items())
    pool.require(wanted)
    return [row.own.reserve(len(row.tokens)) for row in rows]


@contextmanager
def all_or_nothing(rows: Sequence[Row]) -> Iterator[None]:
    """Whatever is raised inside, an interrupt too: the blocks that the rows write are then as long as before."""
    before = [(row.own, len(row.own)) for row in rows]
    try:
        yield
    except BaseException:
        for block, length in before:
            block.truncate(length)
        raise


def plan_pass(rows: Sequence[Row], slots: Sequence[Tensor]) -> Plan:
    """The plan of a pass, with every block as long as it will be after it."""
    appended = {id(row.own): len(row.tokens) - row.drafts for row in rows}
    readings = [
        Reading(
            view=tuple(row.view),
            lengths=(
                *(len(block) + appended.get(id(block), 0) for block in row.view[:-1]),
                len(row.own) + len(row.tokens),
            ),
            count=len(row.tokens),
        )
        for row in rows
    ]
    return Plan(readings, torch.cat(list(slots)))


class ConcurrentPass:
    """One forward of the model: in each layer, all new keys and values are written first, then all rows attend."""

    def __init__(self, plan: Plan, pool: Pool, function: AttentionFunction = plain_attention) -> None:
        self.plan = plan
        self.pool = pool
        self.function = function

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]
    ) -> Tensor:
        """Called by transformers in every layer, see `hogwild.models.hook.Pass`."""
        if mask is not None:  # it would hide something that the plan shows
            raise ModelUnsupported(f"{type(module).__name__} brings a mask of its own")
        index: int = module.layer_idx  # type: ignore[assignment]
        self.pool.write(index, self.plan.slots, key[0], value[0])
        keys, values = self.pool.keys[index], self.pool.values[index]
        return self.function(query[0], self.pool.layers[index], keys, values, self.plan)[None]
