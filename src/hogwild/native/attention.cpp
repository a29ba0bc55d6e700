// Concurrent attention on the CPU: each key and value is read once for all rows and query heads that share it.
//
//     score(token at i, key at offset p of a block at o) = scale * <R(i - o) q, R(p) k>,  one softmax over the view
//
// A *tile* is a run of up to 64 neighbouring slots. For every KV head, a tile is opened once: its keys are transposed into
// scratch that stays in the cache. Then all rows that see it (tokens times query heads of the KV head) go over it in
// registers, with a running maximum and sum (an online softmax). With AMX, few rows read a tile as it lies. Tiles are shared
// out between threads as *splits*; the partial results of a row merge exactly. Everything is accumulated in float32.

#include <vector>

#include "tiles_amx.hpp"

namespace {

constexpr int TILE_ROWS = 192;  // rows (tokens times query heads) that go over a tile while it is open
constexpr float NEVER = -INFINITY;

struct Span {  // mirrors hogwild.attention.fused
    int64_t first_slot, last_slot, first_token, last_token, pair, offset;
};

struct Layer {  // mirrors hogwild.attention.fused
    int64_t heads, kv_heads, key_dim, value_dim;
    float scale, softcap;  // softcap 0: none
    const float* sinks;    // [heads] or null
    const int64_t* swap;   // [key_dim], the partner of each dim in the rotation, or null: no rotation
    int64_t runs;          // whether the partners of each 16 dims are 16 neighbours in order
};

struct Pass {  // mirrors hogwild.attention.fused
    int64_t tokens, spans;
    const Span* span;
    const int32_t *low, *high;  // [pairs], the offsets of its block that a token sees
    const float *cos, *sin;     // [pairs, key_dim], or null: nothing turns
};

struct Tensors {  // mirrors hogwild.attention.fused
    const void* query;                          // [heads, tokens, key_dim]
    int64_t query_head_stride, query_token_stride;  // in elements
    const void *keys, *values;                  // [kv_heads, slots, dim], or int8 with a float32 scale after each row
    int64_t slots, int8;
    void* out;  // [tokens, heads, value_dim], in the query's dtype
};

struct Tile {  // a tile of a span, and the tokens that read it
    int64_t slot, offset, pair;
    int count, first_token, last_token;
};

std::vector<Tile> cut(const Pass& pass) {
    std::vector<Tile> tiles;
    for (int64_t s = 0; s < pass.spans; ++s) {
        const Span& span = pass.span[s];
        for (int64_t slot = span.first_slot; slot < span.last_slot; slot += TILE)
            tiles.push_back({slot, span.offset + slot - span.first_slot, span.pair,
                             int(std::min<int64_t>(TILE, span.last_slot - slot)), int(span.first_token),
                             int(span.last_token)});
    }
    return tiles;
}

// The scratch of a thread, and what the rows of a run of tokens have gathered so far under one KV head.
template <class Kind>
struct Gathering {
    using Number = typename Kind::Number;
    using Held = typename Kind::Held;
    const Layer& layer;
    const Pass& pass;
    const Tensors& at;
    TilesOf<Kind> tiles;
    const int group, key_words, value_wide, kv_head, first, last, rows;  // tokens first to last
    float *high, *mixed;                                                 // [rows], [rows, value_wide]
    float* sums;                                                         // [rows, 16], which add up to a row's sum
    int32_t *queries, *keys, *values, *weights;                          // [rows, key_words] and so on
    float* scores;                                                       // [rows, TILE]
    Held *plain_keys, *plain_values;                                     // of an int8 tile
    float* turned;                                                       // [2, key_dim]
    int64_t pair = -1, turned_pair = -1;                                 // whose rotation the queries have, here and in tiles

    void start() {
        std::fill(high, high + rows, NEVER);
        std::fill(sums, sums + rows * 16, 0.f);
        std::fill(mixed, mixed + int64_t(rows) * value_wide, 0.f);
    }

    // The queries of the tokens begin to end, turned for the block whose first pair is that of the tile.
    void turn_queries(const Tile& tile) {
        const int dim = int(layer.key_dim);
        for (int token = std::max(first, tile.first_token); token < std::min(last, tile.last_token); ++token)
            for (int g = 0; g < group; ++g) {
                const int row = (token - first) * group + g;
                const Number* from = (const Number*)at.query + (kv_head * group + g) * at.query_head_stride +
                                     token * at.query_token_stride;
                Held* to = (Held*)(queries + int64_t(row) * key_words);
                if (layer.swap == nullptr || pass.cos == nullptr) {
                    for (int d = 0; d < dim; d += 16) store(load(from + d, dim - d), to + d, dim - d);
                } else {
                    const int64_t at_pair = (tile.pair + token - tile.first_token) * dim;
                    const float *cos = pass.cos + at_pair, *sin = pass.sin + at_pair;
                    for (int d = 0; d < dim; d += 16) store(load(from + d, dim - d), turned + d, dim - d);
                    for (int d = 0; !layer.runs && d < dim; ++d) turned[dim + d] = turned[layer.swap[d]];
                    for (int d = 0; d < dim; d += 16) {
                        const int count = dim - d;
                        const Floats own = load(turned + d, count) * load(cos + d, count);
                        const Floats partners = load(turned + (layer.runs ? layer.swap[d] : dim + d), count);
                        store(fma(partners, load(sin + d, count), own), to + d, count);
                    }
                }
                std::memset(to + dim, 0, (key_words * Kind::PER_WORD - dim) * sizeof(Held));
            }
        pair = tile.pair;
    }

    int64_t row_bytes(int64_t dim) const { return at.int8 ? dim + 4 : dim * sizeof(Number); }

    // Where the keys or values of a tile lie.
    const char* rows_of(const void* tensor, const Tile& tile, int64_t dim) const {
        return (const char*)tensor + (kv_head * at.slots + tile.slot) * row_bytes(dim);
    }

    void widen(const char* from_keys, const char* from_values, int count) {  // from int8
        open_int8((const int8_t*)from_keys, count, int(layer.key_dim), plain_keys);
        open_int8((const int8_t*)from_values, count, int(layer.value_dim), plain_values);
    }

    // The values are asked for while the keys are opened, and the next keys before the products: while a tile is worked on
    // the processor alone reads little of the next one (1.15 to 1.5 times as fast for up to 4 workers at 4,096 tokens).
    void open(const Tile& tile) {
        const int key_dim = int(layer.key_dim), value_dim = int(layer.value_dim);
        const char *from_keys = rows_of(at.keys, tile, key_dim), *from_values = rows_of(at.values, tile, value_dim);
        const int64_t all_keys = tile.count * row_bytes(key_dim);
        ask_for(from_values, tile.count * row_bytes(value_dim));
        if (at.int8) {
            widen(from_keys, from_values, tile.count);
            open_keys<Kind>(plain_keys, tile.count, key_dim, keys);
            open_values<Kind>(plain_values, tile.count, value_dim, values);
        } else {
            open_keys<Kind>((const Number*)from_keys, tile.count, key_dim, keys);
            open_values<Kind>((const Number*)from_values, tile.count, value_dim, values);
        }
        ask_for(from_keys + all_keys, all_keys);
    }

    // Which slots of a tile a token sees, as bits.
    static uint64_t seen(const Tile& tile, int low, int high_offset) {
        const int from = std::max<int64_t>(low - tile.offset, 0);
        const int to = std::min<int64_t>(high_offset - tile.offset, tile.count);
        return from >= to ? 0 : (~0ull << from) & (to >= 64 ? ~0ull : (1ull << to) - 1);
    }

    // One row's scores, in units of log(2), become weights; what it has gathered so far shrinks when its maximum grows.
    // For a tile that is read as it lies, rows are counted from the first that reads it.
    template <bool AS_IT_LIES, bool ALL>
    void weigh(int row, uint64_t seen, int first_row) {
        const float* s = scores + row * TILE;
        const Floats scale = all(layer.scale * LOG2_E);
        Floats x[4], best = all(NEVER);
        for (int i = 0; i < 4; ++i) {
            if (layer.softcap == 0.f) x[i] = load(s + 16 * i) * scale;
            else x[i] = tangent(load(s + 16 * i) * all(layer.scale / layer.softcap)) * all(layer.softcap * LOG2_E);
            best = larger(best, ALL ? x[i] : select(seen >> 16 * i, x[i], all(NEVER)));
        }
        if (any_above(best, all(high[row]))) grow(row, largest_of(best));
        const float now = high[row] == NEVER ? 0.f : high[row];
        if (high[row] == NEVER) seen = 0;
        Floats total = load(sums + row * 16);
        for (int i = 0; i < 4; ++i) {
            Floats e = two_to_the(x[i] - all(now));
            if (!ALL || seen == 0) e = select(seen >> 16 * i, e, all(0.f));
            total = total + e;
            if constexpr (AS_IT_LIES) tiles.keep(row - first_row, 16 * i, e);
            else store(e, (Held*)(weights + row * (TILE / Kind::PER_WORD)) + 16 * i);
        }
        store(total, sums + row * 16);
    }

    void grow(int row, float now) {
        const float before = high[row];
        high[row] = now;
        if (before == NEVER) return;
        const Floats shrink = all(std::exp2(before - now));
        store(load(sums + row * 16) * shrink, sums + row * 16);
        float* m = mixed + int64_t(row) * value_wide;
        for (int d = 0; d < value_wide; d += 16) store(load(m + d) * shrink, m + d);
    }

    template <bool AS_IT_LIES>
    void weigh_tokens(const Tile& tile, int begin, int end) {
        const int first_row = (begin - first) * group;
        for (int token = begin, row = first_row; token < end; ++token) {
            const int64_t p = tile.pair + token - tile.first_token;
            const uint64_t bits = seen(tile, pass.low[p], pass.high[p]);
            for (int g = 0; g < group; ++g, ++row)
                bits == ~0ull ? weigh<AS_IT_LIES, true>(row, bits, first_row) : weigh<AS_IT_LIES, false>(row, bits, first_row);
        }
    }

    bool sees(int token, const Tile& tile) const {
        const int64_t p = tile.pair + token - tile.first_token;
        return pass.low[p] < std::min<int64_t>(pass.high[p], tile.offset + tile.count) && pass.high[p] > tile.offset;
    }

    void read(const Tile& tile) {
        int begin = std::max(first, tile.first_token), end = std::min(last, tile.last_token);
        while (begin < end && !sees(begin, tile)) ++begin;
        while (begin < end && !sees(end - 1, tile)) --end;
        if (begin >= end) return;
        if (pair != tile.pair) turn_queries(tile);
        const int row = (begin - first) * group, count = (end - begin) * group;
        if constexpr (TilesOf<Kind>::AS_THEY_LIE)
            if (tile.count == TILE && tiles.few(count, layer.key_dim, layer.value_dim))
                return read_as_it_lies(tile, begin, end);
        open(tile);
        tiles.multiply(count, padded(tile.count), queries + int64_t(row) * key_words, key_words, keys, TILE, key_words,
                       scores + row * TILE, TILE);
        weigh_tokens<false>(tile, begin, end);
        tiles.mix(count, weights + row * (TILE / Kind::PER_WORD), values, words<Kind>(tile.count),
                  mixed + int64_t(row) * value_wide);
    }

    void read_as_it_lies(const Tile& tile, int begin, int end) {
        const int row = (begin - first) * group, count = (end - begin) * group;
        if (turned_pair != tile.pair) {
            const int from = std::max(first, tile.first_token), to = std::min(last, tile.last_token);
            tiles.turn(queries, (from - first) * group, (to - from) * group);
            turned_pair = tile.pair;
        }
        const char* from_keys = rows_of(at.keys, tile, layer.key_dim);
        const char* from_values = rows_of(at.values, tile, layer.value_dim);
        const Number *keys = (const Number*)from_keys, *values = (const Number*)from_values;
        if (at.int8) {
            widen(from_keys, from_values, tile.count);
            keys = plain_keys, values = plain_values;
        }
        tiles.score_as_it_lies(keys, int(layer.key_dim), row, count, scores);
        weigh_tokens<true>(tile, begin, end);
        tiles.mix_as_it_lies(values, count, mixed + int64_t(row) * value_wide);
    }
};

// One row's partial results of all splits become its output.
template <class Kind>
void finish(const Layer& layer, const Tensors& at, int head, int token, const float* const* parts, int splits, int row,
            int rows, int value_wide, float* shares) {
    // A part is: highest [rows], sums [rows], up to a whole vector, mixed [rows, value_wide].
    const float sink = layer.sinks ? layer.sinks[head] * LOG2_E : NEVER;
    float best = sink, total = 0.f;
    for (int s = 0; s < splits; ++s) best = std::max(best, parts[s][row]);
    if (layer.sinks) total = std::exp2(sink - best);
    for (int s = 0; s < splits; ++s) {
        shares[s] = parts[s][row] == NEVER ? 0.f : std::exp2(parts[s][row] - best);
        total += parts[s][rows + row] * shares[s];
    }
    auto* out = (typename Kind::Number*)at.out + (int64_t(token) * layer.heads + head) * layer.value_dim;
    const auto mean = [&](int64_t d) {
        Floats sum = all(0.f);
        for (int s = 0; s < splits; ++s)
            sum = fma(load(parts[s] + padded(2 * rows) + int64_t(row) * value_wide + d), all(shares[s]), sum);
        return sum / all(total);
    };
    if (is_paired<Kind>(layer.value_dim))
        for (int64_t d = 0; d < layer.value_dim; d += 32) {
            const Ints even = as_ints(through_bf16(mean(d))), odd = as_ints(through_bf16(mean(d + 16)));
            store(shifted_right<16>(even) | odd, (int32_t*)(out + d));
        }
    else
        for (int64_t d = 0; d < layer.value_dim; d += 16) store(mean(d), out + d, layer.value_dim - d);
}

template <class Kind>
void attend(const Layer& layer, const Pass& pass, const Tensors& at, int threads) {
    using Held = typename Kind::Held;
    const std::vector<Tile> tiles = cut(pass);
    const int group = int(layer.heads / layer.kv_heads), heads = int(layer.kv_heads), tokens = int(pass.tokens);
    const int run = std::max(1, TILE_ROWS / group), runs = (tokens + run - 1) / run;
    const int key_words = words<Kind>(int(layer.key_dim)), value_wide = padded(int(layer.value_dim));
    const int enough = (3 * threads + runs * heads - 1) / (runs * heads);
    const int splits = std::max(1, std::min(int(tiles.size()) / 2, enough));
    const int rows = std::min(run, tokens) * group, most = rows + 32;  // those behind may be spoilt
    const size_t part = padded(2 * rows) + size_t(rows) * value_wide;  // floats
    static thread_local Arena shared;
    shared.reserve(size_t(runs) * heads * splits * part * sizeof(float));
    float* const parts = shared.take<float>(size_t(runs) * heads * splits * part);

    // Tiles that one token reads cost less than those that all read: the borders of the splits weigh them.
    std::vector<int64_t> before(tiles.size() + 1, 0);
    for (size_t t = 0; t < tiles.size(); ++t)
        before[t + 1] = before[t] + 8 + int64_t(tiles[t].last_token - tiles[t].first_token) * group;
    std::vector<int> border(splits + 1, int(tiles.size()));
    for (int s = 0; s < splits; ++s)
        border[s] = int(std::lower_bound(before.begin(), before.end(), before.back() * s / splits) - before.begin());

#pragma omp parallel num_threads(threads)
    {
        static thread_local Arena arena;
        Matrices matrices;
#pragma omp for schedule(dynamic)
        for (int item = 0; item < runs * heads * splits; ++item) {
            const int split = item % splits, head = item / splits % heads, first = item / splits / heads * run;
            const int last = std::min(first + run, tokens), here = (last - first) * group;
            arena.reserve(4 * (size_t(most) * (key_words + TILE * 2 + 16) + (key_words + 16) * TILE + TILE * value_wide +
                               TILE * (layer.key_dim + value_wide) + 2 * layer.key_dim) + 4096 +
                          TilesOf<Kind>::bytes(most, key_words, value_wide));
            float* mine = parts + item * part;
            Gathering<Kind> it{layer, pass, at, {matrices, arena, most, key_words, value_wide},
                               group, key_words, value_wide, head, first, last, here,
                               mine, mine + padded(2 * rows), arena.take<float>(size_t(rows) * 16),
                               arena.take<int32_t>(size_t(most) * key_words), arena.take<int32_t>(key_words * TILE),
                               arena.take<int32_t>(TILE / Kind::PER_WORD * value_wide),
                               arena.take<int32_t>(size_t(most) * TILE / Kind::PER_WORD),
                               arena.take<float>(size_t(most) * TILE), arena.take<Held>(TILE * layer.key_dim),
                               arena.take<Held>(TILE * layer.value_dim), arena.take<float>(2 * layer.key_dim)};
            it.start();
            for (int t = border[split]; t < border[split + 1]; ++t) it.read(tiles[t]);
            for (int row = 0; row < here; ++row) mine[rows + row] = sum_of(load(it.sums + row * 16));
        }
#pragma omp for schedule(static)
        for (int unit = 0; unit < runs * heads; ++unit) {
            const int head = unit % heads, first = unit / heads * run, last = std::min(first + run, tokens);
            std::vector<const float*> all(splits);
            std::vector<float> shares(splits);
            for (int s = 0; s < splits; ++s) all[s] = parts + (unit * splits + s) * part;
            for (int token = first; token < last; ++token)
                for (int g = 0; g < group; ++g)
                    finish<Kind>(layer, at, head * group + g, token, all.data(), splits, (token - first) * group + g, rows,
                                 value_wide, shares.data());
        }
    }
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void hogwild_attend(const Layer* layer, const Pass* pass,
                                                                       const Tensors* tensors, int half, int threads) {
    if (half) attend<Half>(*layer, *pass, *tensors, threads);
    else attend<Single>(*layer, *pass, *tensors, threads);
}
