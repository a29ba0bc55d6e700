// Sixteen lanes in one register of AVX-512, with the instructions for bfloat16. Mirrors avx2.hpp, name by name.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

using bf16 = uint16_t;

struct Floats {
    __m512 v;
};
struct Ints {
    __m512i v;
};

inline __mmask16 first_lanes(int64_t count) { return count >= 16 ? 0xffff : count <= 0 ? 0 : (1u << count) - 1; }

inline Floats all(float x) { return {_mm512_set1_ps(x)}; }
inline Ints all(int32_t x) { return {_mm512_set1_epi32(x)}; }

// `count` numbers; what is behind them is not touched, and zero.
inline Floats load(const float* from, int64_t count = 16) {
    return {count >= 16 ? _mm512_loadu_ps(from) : _mm512_maskz_loadu_ps(first_lanes(count), from)};
}
inline Floats widened(__m256i numbers) {  // of bfloat16
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(numbers), 16))};
}
inline Floats load(const bf16* from, int64_t count = 16) {
    const __m256i numbers = count >= 16 ? _mm256_loadu_si256((const __m256i*)from)
                                        : _mm256_maskz_loadu_epi16(first_lanes(count), from);
    return widened(numbers);
}
inline Floats load(const int8_t* from, int64_t count) {
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(first_lanes(count), from)))};
}
inline Ints load(const int32_t* from) { return {_mm512_loadu_si512(from)}; }
inline Floats load_halves(const void* from) { return {_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)from))}; }

inline void store(Floats x, float* to, int64_t count = 16) {
    if (count >= 16) _mm512_storeu_ps(to, x.v);
    else _mm512_mask_storeu_ps(to, first_lanes(count), x.v);
}
inline void store(Floats x, bf16* to, int64_t count = 16) {
    const __m256i numbers = (__m256i)_mm512_cvtneps_pbh(x.v);
    if (count >= 16) _mm256_storeu_si256((__m256i*)to, numbers);
    else _mm256_mask_storeu_epi16(to, first_lanes(count), numbers);
}
inline void store(Ints x, int32_t* to) { _mm512_storeu_si512(to, x.v); }
inline void store_bytes(Ints x, void* to) { _mm_storeu_si128((__m128i*)to, _mm512_cvtepi32_epi8(x.v)); }

inline Floats operator+(Floats x, Floats y) { return {_mm512_add_ps(x.v, y.v)}; }
inline Floats operator-(Floats x, Floats y) { return {_mm512_sub_ps(x.v, y.v)}; }
inline Floats operator*(Floats x, Floats y) { return {_mm512_mul_ps(x.v, y.v)}; }
inline Floats operator/(Floats x, Floats y) { return {_mm512_div_ps(x.v, y.v)}; }
inline Floats fma(Floats x, Floats y, Floats sum) { return {_mm512_fmadd_ps(x.v, y.v, sum.v)}; }
inline Floats larger(Floats x, Floats y) { return {_mm512_max_ps(x.v, y.v)}; }
inline Floats smaller(Floats x, Floats y) { return {_mm512_min_ps(x.v, y.v)}; }
inline Floats absolute(Floats x) { return {_mm512_abs_ps(x.v)}; }
inline Floats signs_of(Floats x) { return {_mm512_and_ps(x.v, _mm512_set1_ps(-0.f))}; }
inline Floats operator|(Floats x, Floats y) { return {_mm512_or_ps(x.v, y.v)}; }
inline Floats through_bf16(Floats x) { return widened((__m256i)_mm512_cvtneps_pbh(x.v)); }
inline Floats rounded(Floats x) { return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT)}; }
inline Floats times_two_to_the(Floats x, Floats n) { return {_mm512_scalef_ps(x.v, n.v)}; }
inline Floats select(uint64_t lanes, Floats x, Floats otherwise) {
    return {_mm512_mask_mov_ps(otherwise.v, __mmask16(lanes), x.v)};
}
inline bool any_above(Floats x, Floats y) { return _mm512_cmp_ps_mask(x.v, y.v, _CMP_GT_OQ) != 0; }
inline bool any_nan(Floats x, Floats y) { return _mm512_cmp_ps_mask(x.v, y.v, _CMP_UNORD_Q) != 0; }
inline float largest_of(Floats x) { return _mm512_reduce_max_ps(x.v); }
inline float smallest_of(Floats x) { return _mm512_reduce_min_ps(x.v); }
inline float sum_of(Floats x) { return _mm512_reduce_add_ps(x.v); }

inline Ints nearest(Floats x) { return {_mm512_cvtps_epi32(x.v)}; }
inline Floats floats(Ints x) { return {_mm512_cvtepi32_ps(x.v)}; }
inline Floats as_floats(Ints bits) { return {_mm512_castsi512_ps(bits.v)}; }
inline Ints as_ints(Floats bits) { return {_mm512_castps_si512(bits.v)}; }
inline Ints operator+(Ints x, Ints y) { return {_mm512_add_epi32(x.v, y.v)}; }
inline Ints operator&(Ints x, Ints y) { return {_mm512_and_si512(x.v, y.v)}; }
inline Ints operator|(Ints x, Ints y) { return {_mm512_or_si512(x.v, y.v)}; }
inline Ints larger(Ints x, Ints y) { return {_mm512_max_epi32(x.v, y.v)}; }
inline Ints smaller(Ints x, Ints y) { return {_mm512_min_epi32(x.v, y.v)}; }
template <int BITS>
inline Ints shifted_left(Ints x) { return {_mm512_slli_epi32(x.v, BITS)}; }
template <int BITS>
inline Ints shifted_right(Ints x) { return {_mm512_srli_epi32(x.v, BITS)}; }
inline int32_t sum_of(Ints x) { return _mm512_reduce_add_epi32(x.v); }

// Sixteen rows of sixteen words become sixteen columns.
inline void transpose(Ints rows[16]) {
    __m512i r[16], t[16];
    for (int i = 0; i < 16; ++i) r[i] = rows[i].v;
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
        rows[i].v = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88);
        rows[i + 8].v = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd);
        rows[i + 4].v = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88);
        rows[i + 12].v = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);
    }
}

}  // namespace
