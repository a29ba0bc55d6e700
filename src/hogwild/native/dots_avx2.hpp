// The products of some rows with a panel of weights, by AVX2 with FMA. Mirrors dots_avx512.hpp.
//
// There are sixteen registers of eight lanes: a panel is four *columns* of them. Few rows take all columns at once; more
// of them take two columns at a time, over a stretch of the panel that stays in the innermost cache.
#pragma once

#include <algorithm>

#include "inputs.hpp"

namespace {

constexpr int ROWS = 8;           // rows that share one reading of a panel
constexpr int64_t STRETCH = 128;  // inputs
constexpr int64_t AHEAD = 1024;   // bytes; less or more is up to a tenth slower, none up to a quarter

inline __m256& column_of(Floats sum[][2], int row, int column) {
    return column % 2 ? sum[row][column / 2].b : sum[row][column / 2].a;
}

// Some columns of R rows over `inputs` of them; `w` is where the first column begins.
template <int R, int COLUMNS>
__attribute__((always_inline)) inline void dot_stretch(const uint8_t* w, const float* x, int64_t stride, int64_t inputs,
                                                       Floats (&all_sums)[R][2], int first) {
    const uint8_t* const next = w + STRETCH * 64 - first * 32 + first * STRETCH * 16;
    const __m256i upper = _mm256_set1_epi32(0xffff0000);
    __m256 sum[R][COLUMNS];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int c = 0; c < COLUMNS; c++) sum[r][c] = column_of(all_sums, r, first + c);
    for (int64_t k = 0; k < inputs; k += 2, w += 128) {
        ask_for<true>(next + k / 2 * COLUMNS * 32, COLUMNS * 32);  // all columns together: each line of the next stretch
        __m256 even[COLUMNS], odd[COLUMNS];
#pragma GCC unroll 4
        for (int c = 0; c < COLUMNS; c++) {
            const __m256i both = _mm256_loadu_si256((const __m256i*)(w + 32 * c));
            even[c] = _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
            odd[c] = _mm256_castsi256_ps(_mm256_and_si256(both, upper));
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const __m256 x0 = _mm256_broadcast_ss(x + r * stride + k), x1 = _mm256_broadcast_ss(x + r * stride + k + 1);
#pragma GCC unroll 4
            for (int c = 0; c < COLUMNS; c++) sum[r][c] = _mm256_fmadd_ps(even[c], x0, sum[r][c]);
#pragma GCC unroll 4
            for (int c = 0; c < COLUMNS; c++) sum[r][c] = _mm256_fmadd_ps(odd[c], x1, sum[r][c]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int c = 0; c < COLUMNS; c++) column_of(all_sums, r, first + c) = sum[r][c];
}

template <int R>
inline void dot_bf16(const uint8_t* w, const Inputs& in, int64_t row, Floats (&sum)[R][2]) {
    constexpr int columns = R <= 2 ? 4 : 2;
    const float* x = in.pairs + row * in.stride;
    for (int64_t k = 0; k < in.inputs; k += STRETCH, w += STRETCH * 64)
#pragma GCC unroll 4
        for (int c = 0; c < 4; c += columns)
            dot_stretch<R, columns>(w + 32 * c, x + k, in.stride, std::min(STRETCH, in.inputs - k), sum, c);
}

// Eight outputs of a group of int4: bytes of up to 15 times bytes of up to 127, summed in 16 bits without overflow.
inline __m256i dot_int4(const __m256i (&levels)[8], const int32_t* quads) {
    __m256i dot = _mm256_maddubs_epi16(levels[0], _mm256_set1_epi32(quads[0]));
#pragma GCC unroll 8
    for (int j = 1; j < 8; j++)
        dot = _mm256_add_epi16(dot, _mm256_maddubs_epi16(levels[j], _mm256_set1_epi32(quads[j])));
    return _mm256_madd_epi16(dot, _mm256_set1_epi16(1));
}

template <int R>
__attribute__((always_inline)) inline void group_int4(const uint8_t* w, const Inputs& in, const int32_t* quads,
                                                      const float* scales, const int32_t* offsets, Floats (&sum)[R][2]) {
    const __m256i nibble = _mm256_set1_epi8(15);
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        const uint8_t* column = w + c / 2 * 256 + c % 2 * 32;
        __m256i levels[8];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            const __m256i both = _mm256_loadu_si256((const __m256i*)(column + j * 64));
            levels[j + 4] = _mm256_and_si256(_mm256_srli_epi16(both, 4), nibble);
            levels[j] = _mm256_and_si256(both, nibble);
        }
        const __m256 scale = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(w + 512 + c * 16)));
        const __m256 minimum = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(w + 576 + c * 16)));
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const __m256 dot = _mm256_cvtepi32_ps(dot_int4(levels, quads + r * in.byte_stride / 4));
            const __m256 both = _mm256_mul_ps(scale, _mm256_broadcast_ss(scales + r * in.groups));
            const __m256 shift = _mm256_castsi256_ps(_mm256_set1_epi32(offsets[r * in.groups]));
            __m256& to = column_of(sum, r, c);
            to = _mm256_fmadd_ps(minimum, shift, _mm256_fmadd_ps(dot, both, to));
        }
    }
}

// Bytes are multiplied as sizes times numbers of either sign: two such products never leave 16 bits.
template <int R>
__attribute__((always_inline)) inline void group_int8(const uint8_t* w, const Inputs& in, const int32_t* quads,
                                                      const float* scales, Floats (&sum)[R][2]) {
    const __m256i ones = _mm256_set1_epi16(1), middle = _mm256_set1_epi8(-128);
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        const uint8_t* column = w + c / 2 * 512 + c % 2 * 32;
        __m256i dot[R];
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) dot[r] = _mm256_setzero_si256();
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) {
            const __m256i levels = _mm256_xor_si256(_mm256_loadu_si256((const __m256i*)(column + j * 64)), middle);
            const __m256i sizes = _mm256_abs_epi8(levels);
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) {
                const __m256i x = _mm256_sign_epi8(_mm256_set1_epi32(quads[r * in.byte_stride / 4 + j]), levels);
                dot[r] = _mm256_add_epi32(dot[r], _mm256_madd_epi16(_mm256_maddubs_epi16(sizes, x), ones));
            }
        }
        const __m256 scale = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(w + 1024 + c * 16)));
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const __m256 both = _mm256_mul_ps(scale, _mm256_broadcast_ss(scales + r * in.groups));
            __m256& to = column_of(sum, r, c);
            to = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[r]), both, to);
        }
    }
}

template <int R, bool FOUR>
inline void dot_quantised(const uint8_t* w, const Inputs& in, int64_t row, Floats (&sum)[R][2]) {
    const int64_t group_bytes = panel_bytes(FOUR ? INT4 : INT8, GROUP);
    const int32_t* quads = (const int32_t*)(in.bytes + row * in.byte_stride);
    const float* scales = in.scales + row * in.groups;
    const int32_t* offsets = in.offsets + row * in.groups;
    for (int64_t g = 0; g < in.groups; g++, w += group_bytes, quads += 8, scales++, offsets++) {
        ask_for<true>(w + AHEAD, group_bytes);
        if (FOUR) group_int4<R>(w, in, quads, scales, offsets, sum);
        else group_int8<R>(w, in, quads, scales, sum);
    }
}

}  // namespace
