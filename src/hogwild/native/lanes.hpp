// Sixteen lanes of a vector: masks for what is shorter, and bfloat16 to float32.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

inline __mmask16 first_lanes(int64_t count) { return count >= 16 ? 0xffff : count <= 0 ? 0 : (1u << count) - 1; }

inline __m512 widened(__m256i bf16) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16), 16)); }

inline __m512 load_bf16(const uint16_t* from, __mmask16 mask) {
    return widened(_mm256_maskz_loadu_epi16(mask, from));
}

}  // namespace
