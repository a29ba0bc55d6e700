// Tiles of keys and values in the form in which they are multiplied, and the products. See attention.cpp.
//
// A *word* is what one 32-bit lane holds: two neighbouring bf16 numbers where the processor multiplies such pairs, or
// else one float32.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "arena.hpp"
#include "lanes.hpp"
#include "matrices.hpp"

namespace {

constexpr int TILE = 64;  // slots of a tile, four vectors
constexpr int ROWS = 6;   // rows that are kept in registers at a time

// What differs between the dtypes that are computed in: a tensor holds Number, a word one or two of Held.
template <class Stored>
struct OneAWord {
    using Number = Stored;
    using Held = float;
    static constexpr int PER_WORD = 1, STEP = 1;
    static Floats multiply(Floats sum, Ints a, Ints b) { return fma(as_floats(a), as_floats(b), sum); }
    template <class From>  // sixteen words of a row of `whole` ones, from `word` on
    static Ints words(const From* row, int word, int whole) {
        return as_ints(load(row + word, whole - word));
    }
};
using Single = OneAWord<float>;

#ifdef HOGWILD_AVX512
constexpr int WIDE = 4;  // vectors of columns that are kept in registers at a time

struct Half {
    using Number = bf16;
    using Held = bf16;
    static constexpr int PER_WORD = 2;
#ifdef HOGWILD_AMX
    static constexpr int STEP = SIDE;  // words that are multiplied together: rows are filled up to whole steps, with zeros
#else
    static constexpr int STEP = 1;
#endif
    static Floats multiply(Floats sum, Ints a, Ints b) {
        return {_mm512_dpbf16_ps(sum.v, (__m512bh)a.v, (__m512bh)b.v)};
    }
    static Ints words(const bf16* row, int word, int whole) {
        return {_mm512_maskz_loadu_epi32(first_lanes(whole - word), (const int32_t*)row + word)};
    }
};
#else
constexpr int WIDE = 1;

using Half = OneAWord<bf16>;
#endif

inline int padded(int count) { return (count + 15) & ~15; }

template <class Kind>
int words(int numbers) {  // up to a whole step
    return (numbers + Kind::PER_WORD * Kind::STEP - 1) / (Kind::PER_WORD * Kind::STEP) * Kind::STEP;
}

// A tile of int8 rows, each with its scale behind it, as the numbers that are computed with [count, dim].
template <class Held>
void open_int8(const int8_t* from, int count, int dim, Held* to) {
    for (int slot = 0; slot < count; ++slot, from += dim + 4, to += dim) {
        float scale;
        std::memcpy(&scale, from + dim, 4);
        for (int d = 0; d < dim; d += 16) store(load(from + d, dim - d) * all(scale), to + d, dim - d);
    }
}

// Keys [count, dim] to words [key words, TILE]: slots side by side, so that one lane is one slot.
template <class Kind, class From>
void open_any_keys(const From* keys, int count, int dim, int32_t* to) {
    const int per = Kind::PER_WORD, whole = dim / per, all_words = words<Kind>(dim);
    for (int slot = 0; slot < TILE; slot += 16)
        for (int word = 0; word < all_words; word += 16) {
            Ints r[16];
            for (int i = 0; i < 16; ++i)
                r[i] = slot + i < count ? Kind::words(keys + (slot + i) * dim, word, whole) : all(0);
            transpose(r);
            for (int i = 0; i < std::min(16, all_words - word); ++i) store(r[i], to + (word + i) * TILE + slot);
        }
    if (dim % per)  // the last number of an odd dim has no partner
        for (int slot = 0; slot < count; ++slot) {
            int32_t word = 0;
            std::memcpy(&word, keys + slot * dim + dim - 1, sizeof(From));
            to[whole * TILE + slot] = word;
        }
}

template <class Kind, class From>
void open_keys(const From* keys, int count, int dim, int32_t* to) {
#ifndef HOGWILD_AVX512
    if constexpr (std::is_same_v<From, bf16>)
        if (count == TILE && dim % 8 == 0) {  // as nearly all are: in half the time
            for (int slot = 0; slot < TILE; slot += 16)
                for (int d = 0; d < dim; d += 8)
                    transpose_halves<TILE>(keys + slot * dim + d, dim, (float*)to + d * TILE + slot);
            return;
        }
#endif
    open_any_keys<Kind>(keys, count, dim, to);
}

// Whether a word of opened values, and what rows have gathered, goes by even dims before odd ones in each 32.
template <class Kind>
bool is_paired(int64_t dim) {
    return Kind::PER_WORD == 2 && dim % 32 == 0;
}

// Values [count, dim] to words [TILE / PER_WORD, padded dim]: a word holds the same dim of neighbouring slots.
template <class Kind, class From>
void open_values(const From* values, int count, int dim, int32_t* to) {
    constexpr int per = Kind::PER_WORD;
    const int wide = padded(dim), depth = words<Kind>(count);
    for (int slot = 0; slot < count; slot += per, to += wide) {
        const From *own = values + slot * dim, *other = own + dim;
        const bool alone = slot + 1 == count;
        if constexpr (per == 2) {
            if (is_paired<Kind>(dim)) {
                for (int d = 0; d < dim; d += 32) {
                    const Ints a = load((const int32_t*)(own + d)), b = alone ? all(0) : load((const int32_t*)(other + d));
                    store((a & all(0xffff)) | shifted_left<16>(b), to + d);
                    store(shifted_right<16>(a) | (b & all(int32_t(0xffff0000))), to + d + 16);
                }
                continue;
            }
        }
        for (int d = 0; d < wide; d += 16) {
            Ints word = as_ints(load(own + d, dim - d));
            if constexpr (per == 2) {  // the bits of bf16 are the upper ones of float32
                const Ints next = alone ? all(0) : as_ints(load(other + d, dim - d));
                word = next | shifted_right<16>(word);
            }
            store(word, to + d);
        }
    }
    std::fill(to, to + (depth - (count + per - 1) / per) * wide, 0);
}

// out[r, 0:16 N] += left[r, k] * right[k, 0:16 N] for R rows; strides in words. FRESH: out was nothing before.
template <class Kind, bool FRESH, int R, int N>
void multiply(const int32_t* left, int left_stride, const int32_t* right, int right_stride, int depth, float* out,
              int out_stride) {
    Floats sum[R][N];
    for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n) sum[r][n] = FRESH ? all(0.f) : load(out + r * out_stride + 16 * n);
    for (int k = 0; k < depth; ++k) {
        Ints b[N];
        for (int n = 0; n < N; ++n) b[n] = load(right + k * right_stride + 16 * n);
        for (int r = 0; r < R; ++r) {
            const Ints a = all(left[r * left_stride + k]);
            for (int n = 0; n < N; ++n) sum[r][n] = Kind::multiply(sum[r][n], a, b[n]);
        }
    }
    for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n) store(sum[r][n], out + r * out_stride + 16 * n);
}

template <class Kind, bool FRESH, int N>
void multiply_rows(int rows, const int32_t* left, int left_stride, const int32_t* right, int right_stride, int depth,
                   float* out, int out_stride) {
    for (; rows >= ROWS; rows -= ROWS, left += ROWS * left_stride, out += ROWS * out_stride)
        multiply<Kind, FRESH, ROWS, N>(left, left_stride, right, right_stride, depth, out, out_stride);
    if (rows == 5) multiply<Kind, FRESH, 5, N>(left, left_stride, right, right_stride, depth, out, out_stride);
    if (rows == 4) multiply<Kind, FRESH, 4, N>(left, left_stride, right, right_stride, depth, out, out_stride);
    if (rows == 3) multiply<Kind, FRESH, 3, N>(left, left_stride, right, right_stride, depth, out, out_stride);
    if (rows == 2) multiply<Kind, FRESH, 2, N>(left, left_stride, right, right_stride, depth, out, out_stride);
    if (rows == 1) multiply<Kind, FRESH, 1, N>(left, left_stride, right, right_stride, depth, out, out_stride);
}

// out [rows, columns] += left [rows, depth] * right [depth, columns]; columns is a multiple of 16, depth of STEP.
template <class Kind, bool FRESH>
void multiply_all(int rows, int columns, const int32_t* left, int left_stride, const int32_t* right,
                  int right_stride, int depth, float* out, int out_stride) {
    int c = 0;
    for (; c + 16 * WIDE <= columns; c += 16 * WIDE)
        multiply_rows<Kind, FRESH, WIDE>(rows, left, left_stride, right + c, right_stride, depth, out + c, out_stride);
    if (WIDE > 2 && c + 32 <= columns) {
        multiply_rows<Kind, FRESH, 2>(rows, left, left_stride, right + c, right_stride, depth, out + c, out_stride);
        c += 32;
    }
    if (c < columns)
        multiply_rows<Kind, FRESH, 1>(rows, left, left_stride, right + c, right_stride, depth, out + c, out_stride);
}

// How tiles are multiplied, once they are opened.
template <class Kind>
struct OpenTiles {
    static constexpr bool AS_THEY_LIE = false;  // whether some need not be opened
    const int value_wide;

    static size_t bytes(int, int, int) { return 0; }
    OpenTiles(Matrices&, Arena&, int, int, int value_wide) : value_wide(value_wide) {}

    // out [rows, columns] = left [rows, depth] * right [depth, columns]
    void multiply(int rows, int columns, const int32_t* left, int left_stride, const int32_t* right, int right_stride,
                  int depth, float* out, int out_stride) {
        multiply_all<Kind, true>(rows, columns, left, left_stride, right, right_stride, depth, out, out_stride);
    }

    // sums [rows, value_wide] += weights [rows, TILE words] * values [depth, value_wide]
    void mix(int rows, const int32_t* weights, const int32_t* values, int depth, float* sums) {
        multiply_all<Kind, false>(rows, value_wide, weights, TILE / Kind::PER_WORD, values, value_wide, depth, sums,
                                  value_wide);
    }
};

}  // namespace
