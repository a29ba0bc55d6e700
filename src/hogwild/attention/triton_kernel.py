"""Concurrent attention in Triton: two kernels. `attend_splits` reads pages, `merge_splits` puts the parts together.

One program of the first kernel takes one KV head and one split of a block's pages. It turns the queries of all tokens
and of all query heads of the KV head for that block, and goes through the pages once for all of them. What it leaves
for each query is a part of the sum over the values, the largest score and the sum of the weights; as the softmax of a
whole is a weighted sum of the softmaxes of its parts, the second kernel merges them exactly.

With ``TRITON_INTERPRET=1`` in the environment before Triton is imported, the kernels run on the CPU, slowly. The
interpreter multiplies no bfloat16, so that ``WIDEN`` takes all products in float32 there; a product of two
halves is exact in float32, as it is in a GPU's matrix unit.

Legend: see `hogwild.attention.tables`; G query heads a KV head, D key size, V value size. Scores count in powers of 2.
"""

from __future__ import annotations

import triton
import triton.language as tl

INTERPRETED = bool(triton.knobs.runtime.interpret)
"""Whether these kernels run in the interpreter: Triton decides it when it is imported."""

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _soft_capped(scores, softcap):
    """The capped scores, ``softcap * tanh(scores / softcap)``, by exponentials that cannot overflow."""
    small = tl.exp(-2.0 * tl.abs(scores) / softcap)
    bent = softcap * (1.0 - small) / (1.0 + small)
    return tl.where(scores < 0, -bent, bent)


@triton.jit
def _row_scales(address, inside):
    """The float32 that stands behind each row of numbers in 8 bits."""
    return tl.load(address.to(tl.pointer_type(tl.float32), bitcast=True), mask=inside, other=0.0)


# Triton compiles anew for numbers that are multiples of 16: these change from pass to pass, and it would gain nothing.
@triton.jit(do_not_specialize=["entries", "window"])
def attend_splits(  # noqa: C901, PLR0915
    query,  # [H, T, D], last stride 1
    keys,  # [K, slots, D], contiguous; in 8 bits [K, slots, D + 4], see `hogwild.cache.int8`
    values,  # [K, slots, V], the same
    cos,  # [U, D] float32
    sin,  # [U, D] float32
    swap,  # [D] int32, the partner of each dim
    pages,  # [N] int32
    splits,  # [S, FIELDS] int32
    turns,  # [P] int32
    places,  # [P] int32
    ends,  # [P] int32
    mixed,  # out: [K, entries, G, V] float32
    peaks,  # out: [K, entries, G] float32
    sums,  # out: [K, entries, G] float32
    query_head_stride,
    query_token_stride,
    slots,
    entries,
    scale,
    softcap,
    window,
    FIELDS: tl.constexpr,
    GROUP: tl.constexpr,
    KEY_DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    KEY_PAD: tl.constexpr,  # the next powers of 2
    VALUE_PAD: tl.constexpr,
    PAGE: tl.constexpr,
    ROWS: tl.constexpr,  # queries in a tile
    COLUMNS: tl.constexpr,  # keys in a tile; divides PAGE
    ROTATES: tl.constexpr,
    CAPPED: tl.constexpr,
    WINDOWED: tl.constexpr,
    WIDEN: tl.constexpr,
    EIGHT: tl.constexpr,  # bytes of the scale behind a row in 8 bits; 0 for other rows
):
    """One KV head, one split, one tile of (token, query head): grid (S, K, tiles of the longest block)."""
    split = splits + tl.program_id(0) * FIELDS
    head = tl.program_id(1)
    first_page = tl.load(split)
    split_begin = tl.load(split + 1)
    split_end = tl.load(split + 2)
    first_token = tl.load(split + 3)
    tokens = tl.load(split + 4)
    first_pair = tl.load(split + 5)
    first_entry = tl.load(split + 6)
    if tl.program_id(2) * ROWS >= tokens * GROUP:
        return

    row = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    own = row // GROUP  # of the split's tokens
    member = row % GROUP  # of the KV head's query heads
    real = own < tokens
    key_dim = tl.arange(0, KEY_PAD)
    value_dim = tl.arange(0, VALUE_PAD)
    real_key_dim = key_dim < KEY_DIM
    real_value_dim = value_dim < VALUE_DIM

    at_token = (first_token + own).to(tl.int64) * query_token_stride
    query_row = query + (head * GROUP + member).to(tl.int64) * query_head_stride + at_token
    read = real[:, None] & real_key_dim[None, :]
    turned = tl.load(query_row[:, None] + key_dim[None, :], mask=read, other=0.0)
    if ROTATES:
        turn = tl.load(turns + first_pair + own, mask=real, other=0)
        partner = tl.load(swap + key_dim, mask=real_key_dim, other=0)
        swapped = tl.load(query_row[:, None] + partner[None, :], mask=read, other=0.0)
        at = turn[:, None] * KEY_DIM + key_dim[None, :]
        wide = turned.to(tl.float32) * tl.load(cos + at, mask=read, other=0.0)
        wide += swapped.to(tl.float32) * tl.load(sin + at, mask=read, other=0.0)
        turned = wide.to(turned.dtype)
    kind = turned.dtype
    if WIDEN:
        turned = turned.to(tl.float32)

    high = tl.load(ends + first_pair + own, mask=real, other=0)
    low = tl.zeros([ROWS], tl.int32)
    if WINDOWED:
        low = tl.maximum(tl.load(places + first_pair + own, mask=real, other=0) - window + 1, 0)
    # What no row of this tile sees is not read: what lies behind the window, and after the last token of the tile.
    begin = tl.maximum(split_begin, tl.min(tl.where(high > 0, low, split_end)) // COLUMNS * COLUMNS)
    end = tl.minimum(split_end, tl.max(high))

    mix = tl.zeros([ROWS, VALUE_PAD], tl.float32)
    peak = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    head_keys = keys + head.to(tl.int64) * slots * (KEY_DIM + EIGHT)
    head_values = values + head.to(tl.int64) * slots * (VALUE_DIM + EIGHT)
    for first in range(begin, end, COLUMNS):
        page = tl.load(pages + first_page + first // PAGE)
        offset = first + tl.arange(0, COLUMNS)
        slot = page.to(tl.int64) * PAGE + offset % PAGE
        inside = offset < end
        key = tl.load(
            head_keys + slot[None, :] * (KEY_DIM + EIGHT) + key_dim[:, None],
            mask=inside[None, :] & real_key_dim[:, None],
            other=0.0,
        )
        value = tl.load(
            head_values + slot[:, None] * (VALUE_DIM + EIGHT) + value_dim[None, :],
            mask=inside[:, None] & real_value_dim[None, :],
            other=0.0,
        )
        if EIGHT:  # numbers up to 127 are exact in every dtype
            key = key.to(tl.float32).to(kind)
            value = value.to(tl.float32).to(kind)
        if WIDEN:
            key = key.to(tl.float32)
        scores = tl.dot(turned, key, input_precision="ieee") * scale
        if EIGHT:
            scores *= _row_scales(head_keys + slot * (KEY_DIM + EIGHT) + KEY_DIM, inside)[None, :]
        if CAPPED:
            scores = _soft_capped(scores, softcap)
        visible = (offset[None, :] < high[:, None]) & inside[None, :]
        if WINDOWED:
            visible &= offset[None, :] >= low[:, None]
        scores = tl.where(visible, scores * LOG2_E, float("-inf"))
        higher = tl.maximum(peak, tl.max(scores, 1))
        ground = tl.where(higher == float("-inf"), 0.0, higher)  # where nothing was seen yet
        kept = tl.exp2(peak - ground)
        weights = tl.exp2(scores - ground[:, None])
        total = total * kept + tl.sum(weights, 1)
        if EIGHT:
            weights *= _row_scales(head_values + slot * (VALUE_DIM + EIGHT) + VALUE_DIM, inside)[None, :]
        rounded = weights.to(value.dtype)
        if WIDEN:
            rounded = rounded.to(tl.float32)
            value = value.to(tl.float32)
        mix = mix * kept[:, None] + tl.dot(rounded, value, input_precision="ieee")
        peak = higher

    entry = (head.to(tl.int64) * entries + first_entry + own) * GROUP + member
    tl.store(mixed + entry[:, None] * VALUE_DIM + value_dim[None, :], mix, mask=real[:, None] & real_value_dim[None, :])
    tl.store(peaks + entry, peak, mask=real)
    tl.store(sums + entry, total, mask=real)


@triton.jit(do_not_specialize=["entries"])
def merge_splits(
    mixed,  # [K, entries, G, V] float32
    peaks,  # [K, entries, G] float32
    sums,  # [K, entries, G] float32
    merged,  # [E] int32
    borders,  # [T + 1] int32
    sinks,  # [H], read only where SINKS
    out,  # out: [T, H, V]
    entries,
    HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    VALUE_PAD: tl.constexpr,
    SINKS: tl.constexpr,
    AT_ONCE: tl.constexpr,  # entries in a tile
):
    """One token and one query head, all entries of it: grid (T, H). A token with none is 0."""
    token = tl.program_id(0)
    head = tl.program_id(1)
    kv_head = head // GROUP
    value_dim = tl.arange(0, VALUE_PAD)
    real_dim = value_dim < VALUE_DIM
    mix = tl.zeros([VALUE_PAD], tl.float32)
    peak = tl.full([], float("-inf"), tl.float32)
    total = tl.zeros([], tl.float32)
    if SINKS:
        peak = tl.load(sinks + head).to(tl.float32) * LOG2_E
        total += 1.0
    end = tl.load(borders + token + 1)
    for first in range(tl.load(borders + token), end, AT_ONCE):
        number = first + tl.arange(0, AT_ONCE)
        real = number < end
        own = tl.load(merged + number, mask=real, other=0)
        entry = (kv_head.to(tl.int64) * entries + own) * GROUP + head % GROUP
        part_peak = tl.load(peaks + entry, mask=real, other=float("-inf"))
        part_sum = tl.load(sums + entry, mask=real, other=0.0)
        part = tl.load(
            mixed + entry[:, None] * VALUE_DIM + value_dim[None, :], mask=real[:, None] & real_dim[None, :], other=0.0
        )
        higher = tl.maximum(peak, tl.max(part_peak, 0))
        ground = tl.where(higher == float("-inf"), 0.0, higher)
        kept = tl.exp2(peak - ground)
        weight = tl.exp2(part_peak - ground)
        total = total * kept + tl.sum(part_sum * weight, 0)
        mix = mix * kept + tl.sum(part * weight[:, None], 0)
        peak = higher
    mix = mix / tl.where(total > 0.0, total, 1.0)
    at = (token.to(tl.int64) * HEADS + head) * VALUE_DIM
    tl.store(out + at + value_dim, mix.to(out.dtype.element_ty), mask=real_dim)
