// The products of some rows with a panel of weights, by AVX-512 with bf16 and VNNI. Mirrors dots_avx2.hpp.
#pragma once

#include <cstring>

#include "inputs.hpp"

namespace {

constexpr int ROWS = 8;  // rows that are kept in registers at a time
// Bytes. With much to do for each byte, as in int4, the processor alone does not read far enough ahead (measured: 1.5 times
// faster at 4 and 8 rows); in the other formats it does, and asking for more slows it down.
constexpr int64_t AHEAD = 4096;

template <int R>
__attribute__((always_inline)) inline void dot_bf16(const uint8_t* w, const Inputs& in, int64_t row, Floats (&sum)[R][2]) {
    const Number* x = in.pairs + row * in.stride;
    for (int64_t k = 0; k < in.inputs; k += 2, w += 128) {
        __m512bh w0 = (__m512bh)_mm512_loadu_si512(w), w1 = (__m512bh)_mm512_loadu_si512(w + 64);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            int32_t pair;
            memcpy(&pair, x + r * in.stride + k, 4);
            __m512bh both = (__m512bh)_mm512_set1_epi32(pair);
            sum[r][0].v = _mm512_dpbf16_ps(sum[r][0].v, w0, both);
            sum[r][1].v = _mm512_dpbf16_ps(sum[r][1].v, w1, both);
        }
    }
}

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
                if (FOUR) _mm_prefetch((const char*)w + h * half + j * 64 + AHEAD, _MM_HINT_T0);
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
