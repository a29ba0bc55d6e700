// y = x / sqrt(mean(x^2) + eps) * weight, for rows of bfloat16: in one call what takes PyTorch six.
#include <immintrin.h>

#include <cmath>
#include <cstdint>

namespace {

__mmask16 first(int64_t count) { return count >= 16 ? 0xffff : (1u << count) - 1; }

__m512 load(const uint16_t* from, __mmask16 mask) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from)), 16));
}

__m512 rounded(__m512 value) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(value)), 16));
}

void norm_row(const uint16_t* x, const float* weight, float eps, bool round_first, uint16_t* y, int64_t dim) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t d = 0; d < dim; d += 16) {
        const __m512 value = load(x + d, first(dim - d));
        sum = _mm512_fmadd_ps(value, value, sum);
    }
    const __m512 scale = _mm512_set1_ps(1.0f / std::sqrt(_mm512_reduce_add_ps(sum) / float(dim) + eps));
    for (int64_t d = 0; d < dim; d += 16) {
        const __mmask16 mask = first(dim - d);
        __m512 value = _mm512_mul_ps(load(x + d, mask), scale);
        if (round_first) value = rounded(value);
        value = _mm512_mul_ps(value, _mm512_maskz_loadu_ps(mask, weight + d));
        _mm256_mask_storeu_epi16(y + d, mask, (__m256i)_mm512_cvtneps_pbh(value));
    }
}

}  // namespace

// x and y [rows, dim] are contiguous. `round_first`: what is normed is rounded to bfloat16 before it is weighed.
extern "C" __attribute__((visibility("default"))) void hogwild_rms_norm(const uint16_t* x, const float* weight, float eps,
                                                                         int round_first, uint16_t* y, int64_t rows,
                                                                         int64_t dim, int threads) {
#pragma omp parallel for num_threads(threads) if (rows * dim > 65536)
    for (int64_t row = 0; row < rows; row++) norm_row(x + row * dim, weight, eps, round_first, y + row * dim, dim);
}
