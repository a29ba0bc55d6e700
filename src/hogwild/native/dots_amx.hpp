// The products of some rows with a panel of quantised weights, by the matrix registers of AMX: the same whole numbers as in
// dots_avx512.hpp, and so the same results to the last bit.
#pragma once

#include <algorithm>

#include "dots_avx512.hpp"
#include "matrices.hpp"

namespace {

constexpr int LEAST_INT8 = 3, LEAST_INT4 = 8;  // rows from which on it is faster (measured)
constexpr int64_t OPENED = 8;          // groups of 4 bits that are opened to bytes together
constexpr int64_t HALF_BYTES = 8 * 64;  // a half of a group as bytes: a right side

// The weights of 4 bits of `groups` groups, as bytes.
inline void open_groups(const uint8_t* w, int64_t groups, uint8_t* to) {
    const __m512i nibble = _mm512_set1_epi8(15);
    for (int64_t g = 0; g < groups; g++, w += HALF_BYTES + 128, to += 2 * HALF_BYTES)
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) {
            _mm_prefetch((const char*)w + j * 64 + AHEAD, _MM_HINT_T0);
            const __m512i v = _mm512_loadu_si512(w + j * 64);
            uint8_t* at = to + j / 4 * HALF_BYTES + j % 4 * 64;
            _mm512_store_si512(at, _mm512_and_si512(v, nibble));
            _mm512_store_si512(at + 4 * 64, _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble));
        }
}

// The dots [rows, 32] of a group.
__attribute__((always_inline)) inline void dots_of_group(const uint8_t* w, const int8_t* x, int64_t stride, int32_t* dots) {
    all_is_written();
    _tile_zero(0);
    _tile_zero(1);
    _tile_loadd(4, x, stride);
    _tile_loadd(6, w, 64);
    _tile_dpbsud(0, 4, 6);
    _tile_loadd(7, w + HALF_BYTES, 64);
    _tile_dpbsud(1, 4, 7);
    _tile_stored(0, dots, 128);
    _tile_stored(1, dots + 16, 128);
}

// Adds a group's dots [R, 32], times the scales of both sides, to the sums.
template <int R, bool FOUR>
__attribute__((always_inline)) inline void add_group(const uint8_t* scales, const int32_t* dots, const float* x_scales,
                                                     const int32_t* offsets, int64_t groups, Sums& sum) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        const __m512 scale = load_halves(scales + h * 32).v, minimum = FOUR ? load_halves(scales + 64 + h * 32).v : scale;
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            __m512i dot = _mm512_load_si512(dots + r * 32 + h * 16);
            if (!FOUR) dot = _mm512_add_epi32(dot, _mm512_set1_epi32(offsets[r * groups]));
            const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(x_scales[r * groups]));
            sum[r][h].v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), both, sum[r][h].v);
            if (FOUR) {
                const __m512 shift = _mm512_castsi512_ps(_mm512_set1_epi32(offsets[r * groups]));
                sum[r][h].v = _mm512_fmadd_ps(minimum, shift, sum[r][h].v);
            }
        }
    }
}

template <int R, bool FOUR>
__attribute__((always_inline)) inline void dot_quantised_by_amx(Matrices& matrices, const uint8_t* w, const Inputs& in,
                                                                int64_t row, Sums& sum) {
    alignas(64) uint8_t opened[FOUR ? OPENED * 2 * HALF_BYTES : 1];
    alignas(64) int32_t dots[2][ROWS * 32];
    const int64_t group_bytes = FOUR ? HALF_BYTES + 128 : 2 * HALF_BYTES + 64, scales_at = group_bytes - (FOUR ? 128 : 64);
    const int8_t* x = in.bytes + row * in.byte_stride;
    const float* scales = in.scales + row * in.groups;
    const int32_t* offsets = in.offsets + row * in.groups;
    matrices.shape_bytes(R, GROUP);
    for (int64_t g = 0; g < in.groups; g += OPENED) {
        const int64_t here = std::min(OPENED, in.groups - g);
        if (FOUR) open_groups(w, here, opened);
        for (int64_t i = 0; i < here; i += 2, x += 2 * GROUP, scales += 2, offsets += 2, w += 2 * group_bytes) {
            const uint8_t* bytes = FOUR ? opened + i * 2 * HALF_BYTES : w;
            dots_of_group(bytes, x, in.byte_stride, dots[0]);
            if (i + 1 < here) dots_of_group(bytes + (FOUR ? 2 * HALF_BYTES : group_bytes), x + GROUP, in.byte_stride, dots[1]);
            add_group<R, FOUR>(w + scales_at, dots[0], scales, offsets, in.groups, sum);
            if (i + 1 < here)
                add_group<R, FOUR>(w + group_bytes + scales_at, dots[1], scales + 1, offsets + 1, in.groups, sum);
        }
    }
}

}  // namespace
