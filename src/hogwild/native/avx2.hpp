// Sixteen lanes in two registers of AVX2, with FMA and F16C. Mirrors avx512.hpp, name by name.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace {

using bf16 = uint16_t;

struct Floats {
    __m256 a, b;  // lanes 0 to 7, and 8 to 15
};
struct Ints {
    __m256i a, b;
};

inline Floats all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Ints all(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }

inline __m256 widened(__m128i numbers) {  // of bfloat16
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(numbers), 16));
}

// The nearest bfloat16, ties to even, each in a lane of 32 bits; what is no number stays none.
inline __m256i narrowed(__m256 x) {
    const __m256i bits = _mm256_castps_si256(x), one = _mm256_set1_epi32(1);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), one);
    const __m256i near = _mm256_add_epi32(bits, _mm256_add_epi32(_mm256_set1_epi32(0x7fff), odd));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256 none = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    return _mm256_srli_epi32(_mm256_blendv_epi8(near, quiet, _mm256_castps_si256(none)), 16);
}

// The first `count` of sixteen numbers, and zeros behind them.
template <class Number>
struct Padded {
    alignas(64) Number numbers[16] = {};
    Padded(const Number* from, int64_t count) {
        for (int64_t i = 0; i < count; ++i) numbers[i] = from[i];
    }
};

// `count` numbers; what is behind them is not touched, and zero.
inline Floats load(const float* from, int64_t count = 16) {
    if (count < 16) return load(Padded<float>(from, count).numbers);
    return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)};
}
inline Floats load(const bf16* from, int64_t count = 16) {
    if (count < 16) return load(Padded<bf16>(from, count).numbers);
    return {widened(_mm_loadu_si128((const __m128i*)from)), widened(_mm_loadu_si128((const __m128i*)(from + 8)))};
}
inline Floats load(const int8_t* from, int64_t count) {
    if (count < 16) return load(Padded<int8_t>(from, count).numbers, 16);
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)from))),
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)(from + 8))))};
}
inline Ints load(const int32_t* from) {
    return {_mm256_loadu_si256((const __m256i*)from), _mm256_loadu_si256((const __m256i*)(from + 8))};
}
inline Floats load_halves(const void* from) {
    return {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)from)), _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)from + 1))};
}

inline void store(Floats x, float* to, int64_t count = 16) {
    alignas(32) float part[16];
    float* const at = count < 16 ? part : to;
    _mm256_storeu_ps(at, x.a), _mm256_storeu_ps(at + 8, x.b);
    if (count < 16) std::memcpy(to, part, std::max<int64_t>(count, 0) * sizeof(float));
}
inline void store(Floats x, bf16* to, int64_t count = 16) {
    const __m256i pairs = _mm256_packus_epi32(narrowed(x.a), narrowed(x.b));  // each half of 128 bits by itself
    const __m256i numbers = _mm256_permute4x64_epi64(pairs, 0xd8);
    if (count >= 16) return _mm256_storeu_si256((__m256i*)to, numbers);
    std::memcpy(to, &numbers, std::max<int64_t>(count, 0) * sizeof(bf16));
}
inline void store(Ints x, int32_t* to) {
    _mm256_storeu_si256((__m256i*)to, x.a), _mm256_storeu_si256((__m256i*)(to + 8), x.b);
}
inline void store_bytes(Ints x, void* to) {  // the lowest of each lane
    int32_t lanes[16];
    store(x, lanes);
    for (int i = 0; i < 16; ++i) ((uint8_t*)to)[i] = uint8_t(lanes[i]);
}

inline Floats operator+(Floats x, Floats y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline Floats operator-(Floats x, Floats y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline Floats operator*(Floats x, Floats y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline Floats operator/(Floats x, Floats y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline Floats operator|(Floats x, Floats y) { return {_mm256_or_ps(x.a, y.a), _mm256_or_ps(x.b, y.b)}; }
inline Floats operator&(Floats x, Floats y) { return {_mm256_and_ps(x.a, y.a), _mm256_and_ps(x.b, y.b)}; }
inline Floats fma(Floats x, Floats y, Floats sum) {
    return {_mm256_fmadd_ps(x.a, y.a, sum.a), _mm256_fmadd_ps(x.b, y.b, sum.b)};
}
inline Floats larger(Floats x, Floats y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline Floats smaller(Floats x, Floats y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }

inline Ints nearest(Floats x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
inline Floats floats(Ints x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
inline Floats as_floats(Ints bits) { return {_mm256_castsi256_ps(bits.a), _mm256_castsi256_ps(bits.b)}; }
inline Ints as_ints(Floats bits) { return {_mm256_castps_si256(bits.a), _mm256_castps_si256(bits.b)}; }
inline Ints operator+(Ints x, Ints y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
inline Ints operator-(Ints x, Ints y) { return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)}; }
inline Ints operator&(Ints x, Ints y) { return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)}; }
inline Ints operator|(Ints x, Ints y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
inline Ints larger(Ints x, Ints y) { return {_mm256_max_epi32(x.a, y.a), _mm256_max_epi32(x.b, y.b)}; }
inline Ints smaller(Ints x, Ints y) { return {_mm256_min_epi32(x.a, y.a), _mm256_min_epi32(x.b, y.b)}; }
template <int BITS>
inline Ints shifted_left(Ints x) { return {_mm256_slli_epi32(x.a, BITS), _mm256_slli_epi32(x.b, BITS)}; }
template <int BITS>
inline Ints shifted_right(Ints x) { return {_mm256_srli_epi32(x.a, BITS), _mm256_srli_epi32(x.b, BITS)}; }

inline Floats absolute(Floats x) { return x & as_floats(all(0x7fffffff)); }
inline Floats signs_of(Floats x) { return x & all(-0.f); }
inline Floats through_bf16(Floats x) {
    return as_floats(shifted_left<16>(Ints{narrowed(x.a), narrowed(x.b)}));
}
inline Floats rounded(Floats x) {
    constexpr int how = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(x.a, how), _mm256_round_ps(x.b, how)};
}
inline Floats times_two_to_the(Floats x, Floats n) {  // in two steps, as 2^n alone may be too small for a float
    const Ints whole = nearest(n), half = {_mm256_srai_epi32(whole.a, 1), _mm256_srai_epi32(whole.b, 1)}, bias = all(127);
    return x * as_floats(shifted_left<23>(half + bias)) * as_floats(shifted_left<23>(whole - half + bias));
}
inline Floats select(uint64_t lanes, Floats x, Floats otherwise) {
    const __m256i bits = _mm256_set1_epi32(int(lanes)), low = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i high = _mm256_slli_epi32(low, 8);
    const __m256i a = _mm256_cmpeq_epi32(_mm256_and_si256(bits, low), low);
    const __m256i b = _mm256_cmpeq_epi32(_mm256_and_si256(bits, high), high);
    return {_mm256_blendv_ps(otherwise.a, x.a, _mm256_castsi256_ps(a)),
            _mm256_blendv_ps(otherwise.b, x.b, _mm256_castsi256_ps(b))};
}
inline bool any_above(Floats x, Floats y) {
    const __m256 a = _mm256_cmp_ps(x.a, y.a, _CMP_GT_OQ), b = _mm256_cmp_ps(x.b, y.b, _CMP_GT_OQ);
    return _mm256_movemask_ps(_mm256_or_ps(a, b)) != 0;
}
inline bool any_nan(Floats x, Floats y) {
    const __m256 a = _mm256_cmp_ps(x.a, y.a, _CMP_UNORD_Q), b = _mm256_cmp_ps(x.b, y.b, _CMP_UNORD_Q);
    return _mm256_movemask_ps(_mm256_or_ps(a, b)) != 0;
}

// All sixteen lanes made one: a lane with that eight behind it, then four, two and one.
template <class Fold>
inline float folded(Floats x, Fold fold) {
    const __m128 low = fold(_mm256_castps256_ps128(x.a), _mm256_castps256_ps128(x.b));
    __m128 four = fold(low, fold(_mm256_extractf128_ps(x.a, 1), _mm256_extractf128_ps(x.b, 1)));
    four = fold(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(fold(four, _mm_movehdup_ps(four)));
}
inline float largest_of(Floats x) {
    return folded(x, [](__m128 one, __m128 other) { return _mm_max_ps(one, other); });
}
inline float smallest_of(Floats x) {
    return folded(x, [](__m128 one, __m128 other) { return _mm_min_ps(one, other); });
}
inline float sum_of(Floats x) {
    return folded(x, [](__m128 one, __m128 other) { return _mm_add_ps(one, other); });
}
inline int32_t sum_of(Ints x) {
    const __m256i both = _mm256_add_epi32(x.a, x.b);
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

// Eight rows of eight words become eight columns.
inline void transpose_eight(__m256 r[8]) {
    __m256 t[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (int i = 0; i < 4; ++i) {
        t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
    for (int i = 0; i < 8; ++i) r[i] = t[i];
}

// Sixteen rows of sixteen words become sixteen columns: each quarter by itself, two of them changing places.
inline void transpose(Ints rows[16]) {
    __m256 quarters[2][2][8];  // [upper or lower rows][left or right half][row]
    for (int i = 0; i < 16; ++i) {
        quarters[i / 8][0][i % 8] = _mm256_castsi256_ps(rows[i].a);
        quarters[i / 8][1][i % 8] = _mm256_castsi256_ps(rows[i].b);
    }
    for (auto& half : quarters)
        for (auto& quarter : half) transpose_eight(quarter);
    for (int i = 0; i < 16; ++i) {
        rows[i].a = _mm256_castps_si256(quarters[0][i / 8][i % 8]);
        rows[i].b = _mm256_castps_si256(quarters[1][i / 8][i % 8]);
    }
}

// Sixteen rows of eight bfloat16, `stride` apart, become eight columns of sixteen floats, `TO_STRIDE` apart.
template <int TO_STRIDE>
inline void transpose_halves(const bf16* rows, int stride, float* to) {
    const auto row = [&](int i) { return (const __m128i*)(rows + i * stride); };
    __m256i r[8], t[8];
    for (int i = 0; i < 8; ++i) {  // rows 0 to 3 and 8 to 11 on one side, so that the last step leaves them in order
        const int low = i < 4 ? i : i + 4;
        r[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(row(low))), _mm_loadu_si128(row(low + 4)), 1);
    }
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_epi16(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi16(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_unpacklo_epi32(t[i], t[i + 2]);
        r[i + 1] = _mm256_unpackhi_epi32(t[i], t[i + 2]);
        r[i + 2] = _mm256_unpacklo_epi32(t[i + 1], t[i + 3]);
        r[i + 3] = _mm256_unpackhi_epi32(t[i + 1], t[i + 3]);
    }
    const __m256i zero = _mm256_setzero_si256();
    for (int i = 0; i < 4; ++i) {
        const __m256i even = _mm256_unpacklo_epi64(r[i], r[i + 4]), odd = _mm256_unpackhi_epi64(r[i], r[i + 4]);
        __m256i* const column = (__m256i*)(to + 2 * i * TO_STRIDE);
        __m256i* const next = (__m256i*)(to + (2 * i + 1) * TO_STRIDE);
        _mm256_storeu_si256(column, _mm256_unpacklo_epi16(zero, even));
        _mm256_storeu_si256(column + 1, _mm256_unpackhi_epi16(zero, even));
        _mm256_storeu_si256(next, _mm256_unpacklo_epi16(zero, odd));
        _mm256_storeu_si256(next + 1, _mm256_unpackhi_epi16(zero, odd));
    }
}

}  // namespace
