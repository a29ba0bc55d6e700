// y = x / sqrt(mean(x^2) + eps) * weight, for rows of bfloat16: in one call what takes PyTorch six.
#include <immintrin.h>

#include <cmath>
#include <cstdint>

#include "lanes.hpp"

namespace {

void norm_row(const uint16_t* x, const float* weight, float eps, bool round_first, uint16_t* y, int64_t dim) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t d = 0; d < dim; d += 16) {
        const __m512 value = load_bf16(x + d, first_lanes(dim - d));
        sum = _mm512_fmadd_ps(value, value, sum);
    }
    const __m512 scale = _mm512_set1_ps(1.0f / std::sqrt(_mm512_reduce_add_ps(sum) / float(dim) + eps));
    for (int64_t d = 0; d < dim; d += 16) {
        const __mmask16 mask = first_lanes(dim - d);
        __m512 value = _mm512_mul_ps(load_bf16(x + d, mask), scale);
        if (round_first) value = widened((__m256i)_mm512_cvtneps_pbh(value));
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
