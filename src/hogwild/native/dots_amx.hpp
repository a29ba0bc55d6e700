// The products of some rows with a panel of quantised weights, by the matrix registers of AMX: the same whole numbers as in
// dots_avx512.hpp, and so the same results to the last bit.
#pragma once

#include <algorithm>

#include "dots_avx512.hpp"
#include "matrices.hpp"

namespace {

constexpr int MANY = 16;     // rows that are multiplied together where there are so many
constexpr int FEW_INT8 = 3;  // rows from which on it is faster for int8 where there are not; for int4 it never is (measured)
constexpr int64_t OPENED = 8;          // groups of 4 bits that are opened to bytes together
constexpr int64_t HALF_BYTES = 8 * 64;  // a half of a group as bytes: a right side

// The weights of 4 bits of a half of a group, as bytes.
inline void open_half(const uint8_t* w, uint8_t* to) {
    const __m512i nibble = _mm512_set1_epi8(15);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        ask_for(w + j * 64 + AHEAD);
        const __m512i v = _mm512_loadu_si512(w + j * 64);
        _mm512_store_si512(to + j * 64, _mm512_and_si512(v, nibble));
        _mm512_store_si512(to + (j + 4) * 64, _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble));
    }
}

// sum[r][h] += the dots of a group and a half, times the scales of both sides; of_weights: the scales of the weights.
template <int R, int HALVES, bool FOUR>
__attribute__((always_inline)) inline void add_dots(const uint8_t* of_weights, const int32_t* dots, const float* scales,
                                                    const int32_t* offsets, int64_t groups, int h, Floats (&sum)[R][HALVES]) {
    const __m512 scale = load_halves(of_weights).v, minimum = FOUR ? load_halves(of_weights + 64).v : scale;
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
        __m512i dot = _mm512_load_si512(dots + r * 16);
        if (!FOUR) dot = _mm512_add_epi32(dot, _mm512_set1_epi32(offsets[r * groups]));
        const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(scales[r * groups]));
        sum[r][h].v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), both, sum[r][h].v);
        if (FOUR) {
            const __m512 shift = _mm512_castsi512_ps(_mm512_set1_epi32(offsets[r * groups]));
            sum[r][h].v = _mm512_fmadd_ps(minimum, shift, sum[r][h].v);
        }
    }
}

// sum[r] += the products of R rows from `row` on with the outputs of a panel, or of one half of it.
template <int R, int HALVES, bool FOUR>
__attribute__((always_inline)) inline void dot_by_amx(Matrices& matrices, const uint8_t* w, int half, const Inputs& in,
                                                      int64_t row, Floats (&sum)[R][HALVES]) {
    alignas(64) uint8_t opened[OPENED][HALVES][HALF_BYTES];
    alignas(64) int32_t dots[OPENED][HALVES][R * 16];
    constexpr int64_t half_bytes = FOUR ? HALF_BYTES / 2 : HALF_BYTES, group_bytes = 2 * half_bytes + (FOUR ? 128 : 64);
    const int8_t* x = in.bytes + row * in.byte_stride;
    const float* scales = in.scales + row * in.groups;
    const int32_t* offsets = in.offsets + row * in.groups;
    matrices.shape_bytes(R, GROUP);
    for (int64_t g = 0; g < in.groups; g += OPENED) {
        const int64_t here = std::min(OPENED, in.groups - g);
        const uint8_t* bytes = w + half * half_bytes;
        for (int64_t i = 0; FOUR && i < here; i++)
            for (int h = 0; h < HALVES; h++) open_half(bytes + i * group_bytes + h * half_bytes, opened[i][h]);
        all_is_written();
        for (int64_t i = 0; i < here; i++, x += GROUP) {
            const uint8_t* right = FOUR ? opened[i][0] : bytes + i * group_bytes;
            _tile_zero(0);
            _tile_loadd(4, x, in.byte_stride);
            _tile_loadd(6, right, 64);
            _tile_dpbsud(0, 4, 6);
            _tile_stored(0, dots[i][0], 64);
            if constexpr (HALVES == 2) {
                _tile_zero(1);
                _tile_loadd(7, right + HALF_BYTES, 64);
                _tile_dpbsud(1, 4, 7);
                _tile_stored(1, dots[i][1], 64);
            }
        }
        for (int64_t i = 0; i < here; i++, w += group_bytes, scales++, offsets++)
#pragma GCC unroll 2
            for (int h = 0; h < HALVES; h++)
                add_dots<R, HALVES, FOUR>(w + 2 * half_bytes + (half + h) * 32, dots[i][h], scales, offsets, in.groups, h, sum);
    }
}

}  // namespace
