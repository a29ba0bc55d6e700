// The products of some rows with a panel of weights, by AVX-512 with bf16 and VNNI. Mirrors dots_avx2.hpp.
#pragma once

#include <cstring>

#include "inputs.hpp"

namespace {

constexpr int ROWS = 8;  // rows that are kept in registers at a time
// Bytes. With much to do for each byte the processor alone does not read far enough ahead: at 8 rows asking for more is 1.2
// times as fast in bf16, 1.4 to 2.2 times in int8. With little to do it does, and asking costs up to a tenth.
constexpr int64_t AHEAD = 8192;
constexpr int MUCH = 4;  // rows, in bf16 and int8; in bf12 and int4 one row is enough
// Leaving no trace in the outer caches is 1 to 3% faster, but up to 8% slower for ROWS of int4.

// The products of two inputs of a row with their weights for a panel's first and second 16 outputs.
__attribute__((always_inline)) inline void add_pair(const Number* x, __m512i first, __m512i second, Floats (&sum)[2]) {
    int32_t pair;
    memcpy(&pair, x, 4);
    const __m512bh both = (__m512bh)_mm512_set1_epi32(pair);
    sum[0].v = _mm512_dpbf16_ps(sum[0].v, (__m512bh)first, both);
    sum[1].v = _mm512_dpbf16_ps(sum[1].v, (__m512bh)second, both);
}

template <int R>
__attribute__((always_inline)) inline void dot_bf16(const uint8_t* w, const Inputs& in, int64_t row, Floats (&sum)[R][2]) {
    const Number* x = in.pairs + row * in.stride;
    for (int64_t k = 0; k < in.inputs; k += 2, w += 128) {
        if (R >= MUCH) ask_for<true>(w + AHEAD, 128);
        const __m512i first = _mm512_loadu_si512(w), second = _mm512_loadu_si512(w + 64);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) add_pair(x + r * in.stride + k, first, second, sum[r]);
    }
}

#ifdef HOGWILD_BF12
class Exponents {  // of a group
    __m512i upper, lower;  // the seven high bits of each as the low ones of a byte, and the last one as the highest

    void open_pair(__m512i places, __m512i rest, __m512i (&weights)[2]) const {
        const __m512i sign = _mm512_set1_epi8(-128);
        const __m512i high = _mm512_or_si512(_mm512_shuffle_epi8(upper, places), _mm512_and_si512(rest, sign));
        const __m512i low = _mm512_or_si512(_mm512_shuffle_epi8(lower, places), _mm512_andnot_si512(sign, rest));
        weights[0] = _mm512_unpacklo_epi8(low, high);
        weights[1] = _mm512_unpackhi_epi8(low, high);
    }

  public:
    explicit Exponents(const uint8_t* table) {
        const __m512i all = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i*)table));
        upper = _mm512_and_si512(_mm512_srli_epi16(all, 1), _mm512_set1_epi8(127));
        lower = _mm512_and_si512(_mm512_slli_epi16(all, 7), _mm512_set1_epi8(-128));
    }

    // Two pairs of inputs: for each, the weights of the first and of the second 16 outputs.
    __attribute__((always_inline)) void open(const uint8_t* w, __m512i (&weights)[2][2]) const {
        ask_for<true>(w + AHEAD, FOUR_INPUTS);
        const __m512i both = _mm512_loadu_si512(w), nibble = _mm512_set1_epi8(15);
        open_pair(_mm512_and_si512(both, nibble), _mm512_loadu_si512(w + 64), weights[0]);
        open_pair(_mm512_and_si512(_mm512_srli_epi16(both, 4), nibble), _mm512_loadu_si512(w + 128), weights[1]);
    }
};

// The same sums as in bf16, in the same order.
template <int R>
__attribute__((always_inline)) inline void dot_bf12(const uint8_t* w, const Inputs& in, int64_t row, Floats (&sum)[R][2]) {
    const Number* x = in.pairs + row * in.stride;
    const uint8_t* table = w;
    w += tables_bytes(in.inputs);
    for (int64_t g = 0; g < in.inputs; g += GROUP, table += TABLE) {
        const Exponents exponents(table);
        for (int64_t k = g; k < g + GROUP; k += 4, w += FOUR_INPUTS) {
            __m512i weights[2][2];
            exponents.open(w, weights);
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) {
#pragma GCC unroll 2
                for (int p = 0; p < 2; p++) add_pair(x + r * in.stride + k + 2 * p, weights[p][0], weights[p][1], sum[r]);
            }
        }
    }
}
#endif

template <int R, bool FOUR>
__attribute__((always_inline)) inline void dot_quantised(const uint8_t* w, const Inputs& in, int64_t row, Floats (&sum)[R][2]) {
    const int64_t half = FOUR ? 256 : 512, group_bytes = 2 * half + (FOUR ? 128 : 64);
    const int64_t groups = in.groups;
    const __m512i nibble = _mm512_set1_epi8(15);
    const int8_t* x = in.bytes + row * in.byte_stride;
    const float* scales = in.scales + row * groups;
    const int32_t* offsets = in.offsets + row * groups;
    for (int64_t g = 0; g < groups; g++, w += group_bytes, x += GROUP, scales++, offsets++) {
#pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            __m512i v[8];
#pragma GCC unroll 8
            for (int j = 0; j < (FOUR ? 4 : 8); j++) {
                if (FOUR || R >= MUCH) ask_for<(R < ROWS)>(w + h * half + j * 64 + AHEAD);
                v[j] = _mm512_loadu_si512(w + h * half + j * 64);
                if (FOUR) {
                    v[j + 4 * FOUR] = _mm512_and_si512(_mm512_srli_epi16(v[j], 4), nibble);
                    v[j] = _mm512_and_si512(v[j], nibble);
                }
            }
            __m512 scale = load_halves(w + 2 * half + h * 32).v;
            __m512 minimum = FOUR ? load_halves(w + 2 * half + 64 + h * 32).v : scale;
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) {
                asm volatile("" ::: "memory");  // or the compiler keeps what both halves read, on the stack
                const int32_t* quads = (const int32_t*)(x + r * in.byte_stride);
                __m512i dot = FOUR ? _mm512_setzero_si512() : _mm512_set1_epi32(offsets[r * groups]);
#pragma GCC unroll 8
                for (int j = 0; j < 8; j++) dot = _mm512_dpbusd_epi32(dot, v[j], _mm512_set1_epi32(quads[j]));
                __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(scales[r * groups]));
                sum[r][h].v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), both, sum[r][h].v);
                if (FOUR) {
                    __m512 shift = _mm512_castsi512_ps(_mm512_set1_epi32(offsets[r * groups]));
                    sum[r][h].v = _mm512_fmadd_ps(minimum, shift, sum[r][h].v);
                }
            }
        }
    }
}

}  // namespace
