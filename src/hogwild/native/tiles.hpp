// Tiles of keys and values in the form in which they are multiplied, and the products. See attention.cpp.
//
// A *word* is what one 32-bit lane holds: two neighbouring bf16 numbers, or one float32.

#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "lanes.hpp"

namespace {

constexpr int TILE = 64;  // slots of a tile, four vectors
constexpr int ROWS = 6;   // rows that are kept in registers at a time

using bf16 = uint16_t;

inline float widen(bf16 x) {
    uint32_t bits = uint32_t(x) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}
inline float widen(float x) { return x; }

// e to the x for x <= 0, to about 2 units in the last place; e to the -inf is 0.
inline __m512 exponential(__m512 x) {
    x = _mm512_max_ps(x, _mm512_set1_ps(-104.f));
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.9875691500e-4f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1.f)));
    return _mm512_scalef_ps(p, n);
}

inline __m512 tangent(__m512 x) {  // hyperbolic: sign(x) * (1 - e) / (1 + e) with e = exp(-2 |x|)
    const __m512 sign = _mm512_and_ps(x, _mm512_set1_ps(-0.f)), size = _mm512_abs_ps(x);
    const __m512 e = exponential(_mm512_mul_ps(size, _mm512_set1_ps(-2.f))), one = _mm512_set1_ps(1.f);
    return _mm512_or_ps(_mm512_div_ps(_mm512_sub_ps(one, e), _mm512_add_ps(one, e)), sign);
}

// What differs between the dtypes that are computed in: Number is what a tensor holds.
struct Half {
    using Number = bf16;
    static constexpr int PER_WORD = 2;
    static __m512 multiply(__m512 sum, __m512i a, __m512i b) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }
    static void put(__m512 x, __mmask16 mask, bf16* to) {
        _mm256_mask_storeu_epi16(to, mask, (__m256i)_mm512_cvtneps_pbh(x));
    }
};
struct Single {
    using Number = float;
    static constexpr int PER_WORD = 1;
    static __m512 multiply(__m512 sum, __m512i a, __m512i b) {
        return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
    }
    static void put(__m512 x, __mmask16 mask, float* to) { _mm512_mask_storeu_ps(to, mask, x); }
};

inline int words(int numbers, int per_word) { return (numbers + per_word - 1) / per_word; }
inline int padded(int count) { return (count + 15) & ~15; }

// Sixteen rows of sixteen words become sixteen columns.
inline void transpose(__m512i r[16]) {
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; ++i) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 8] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; ++i) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd);
        r[i + 4] = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);
    }
}

// A tile of int8 rows, each with its scale behind it, as the numbers that are computed with [count, dim].
template <class Kind>
void open_int8(const int8_t* from, int count, int dim, typename Kind::Number* to) {
    for (int slot = 0; slot < count; ++slot, from += dim + 4, to += dim) {
        float scale;
        std::memcpy(&scale, from + dim, 4);
        for (int d = 0; d < dim; d += 16) {
            const __mmask16 mask = d + 16 <= dim ? 0xffff : (1u << (dim - d)) - 1;
            const __m512i wide = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, from + d));
            Kind::put(_mm512_mul_ps(_mm512_cvtepi32_ps(wide), _mm512_set1_ps(scale)), mask, to + d);
        }
    }
}

// Keys [count, dim] to words [key words, TILE]: slots side by side, so that one lane is one slot.
template <class Kind>
void open_keys(const typename Kind::Number* keys, int count, int dim, int32_t* to) {
    const int per = Kind::PER_WORD, whole = dim / per, all = words(dim, per);
    for (int slot = 0; slot < TILE; slot += 16)
        for (int word = 0; word < all; word += 16) {
            __m512i r[16];
            const int full = std::min(16, whole - word);
            const __mmask16 mask = full >= 16 ? 0xffff : (1u << std::max(full, 0)) - 1;
            for (int i = 0; i < 16; ++i)
                r[i] = slot + i < count ? _mm512_maskz_loadu_epi32(mask, (const int32_t*)(keys + (slot + i) * dim) + word)
                                        : _mm512_setzero_si512();
            transpose(r);
            for (int i = 0; i < std::min(16, all - word); ++i) _mm512_store_si512(to + (word + i) * TILE + slot, r[i]);
        }
    if (dim % per)  // the last number of an odd dim has no partner
        for (int slot = 0; slot < count; ++slot) {
            int32_t word = 0;
            std::memcpy(&word, keys + slot * dim + dim - 1, sizeof(typename Kind::Number));
            to[whole * TILE + slot] = word;
        }
}

// Values [count, dim] to words [TILE / PER_WORD, padded dim]: a word holds the same dim of neighbouring slots.
void open_values(const bf16* values, int count, int dim, int32_t* to, Half) {
    const int wide = padded(dim);
    for (int slot = 0; slot < count; slot += 2)
        for (int d = 0; d < wide; d += 16) {
            const __mmask16 mask = d + 16 <= dim ? 0xffff : (1u << (dim - d)) - 1;
            const __m512i a = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, values + slot * dim + d));
            __m512i b = _mm512_setzero_si512();
            if (slot + 1 < count) b = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, values + (slot + 1) * dim + d));
            _mm512_store_si512(to + slot / 2 * wide + d, _mm512_or_si512(a, _mm512_slli_epi32(b, 16)));
        }
}
void open_values(const float* values, int count, int dim, int32_t* to, Single) {
    const int wide = padded(dim);
    for (int slot = 0; slot < count; ++slot)
        for (int d = 0; d < wide; d += 16) {
            const __mmask16 mask = d + 16 <= dim ? 0xffff : (1u << (dim - d)) - 1;
            _mm512_store_si512(to + slot * wide + d, _mm512_maskz_loadu_epi32(mask, values + slot * dim + d));
        }
}

// out[r, 0:16 N] += left[r, k] * right[k, 0:16 N] for R rows; strides in words.
template <class Kind, int R, int N>
void multiply(const int32_t* left, int left_stride, const int32_t* right, int right_stride, int depth, float* out,
              int out_stride) {
    __m512 sum[R][N];
    for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n) sum[r][n] = _mm512_loadu_ps(out + r * out_stride + 16 * n);
    for (int k = 0; k < depth; ++k) {
        __m512i b[N];
        for (int n = 0; n < N; ++n) b[n] = _mm512_load_si512(right + k * right_stride + 16 * n);
        for (int r = 0; r < R; ++r) {
            const __m512i a = _mm512_set1_epi32(left[r * left_stride + k]);
            for (int n = 0; n < N; ++n) sum[r][n] = Kind::multiply(sum[r][n], a, b[n]);
        }
    }
    for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n) _mm512_storeu_ps(out + r * out_stride + 16 * n, sum[r][n]);
}

template <class Kind, int N>
void multiply_rows(int rows, const int32_t* left, int left_stride, const int32_t* right, int right_stride, int depth,
                   float* out, int out_stride) {
    for (; rows >= ROWS; rows -= ROWS, left += ROWS * left_stride, out += ROWS * out_stride)
        multiply<Kind, ROWS, N>(left, left_stride, right, right_stride, depth, out, out_stride);
    if (rows == 5) multiply<Kind, 5, N>(left, left_stride, right, right_stride, depth, out, out_stride);
    if (rows == 4) multiply<Kind, 4, N>(left, left_stride, right, right_stride, depth, out, out_stride);
    if (rows == 3) multiply<Kind, 3, N>(left, left_stride, right, right_stride, depth, out, out_stride);
    if (rows == 2) multiply<Kind, 2, N>(left, left_stride, right, right_stride, depth, out, out_stride);
    if (rows == 1) multiply<Kind, 1, N>(left, left_stride, right, right_stride, depth, out, out_stride);
}

// out [rows, columns] += left [rows, depth] * right [depth, columns]; columns is a multiple of 16.
template <class Kind>
void multiply_all(int rows, int columns, const int32_t* left, int left_stride, const int32_t* right, int right_stride,
                  int depth, float* out, int out_stride) {
    int c = 0;
    for (; c + 64 <= columns; c += 64)
        multiply_rows<Kind, 4>(rows, left, left_stride, right + c, right_stride, depth, out + c, out_stride);
    if (c + 32 <= columns) {
        multiply_rows<Kind, 2>(rows, left, left_stride, right + c, right_stride, depth, out + c, out_stride);
        c += 32;
    }
    if (c < columns)
        multiply_rows<Kind, 1>(rows, left, left_stride, right + c, right_stride, depth, out + c, out_stride);
}

}  // namespace
