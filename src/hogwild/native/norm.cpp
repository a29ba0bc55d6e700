// y = x / sqrt(mean(x^2) + eps) * weight, for rows of bfloat16: in one call what takes PyTorch six.
#include <cmath>

#include "lanes.hpp"

namespace {

void norm_row(const bf16* x, const float* weight, float eps, bool round_first, bf16* y, int64_t dim) {
    Floats sum = all(0.f);
    for (int64_t d = 0; d < dim; d += 16) {
        const Floats value = load(x + d, dim - d);
        sum = fma(value, value, sum);
    }
    const Floats scale = all(1.0f / std::sqrt(sum_of(sum) / float(dim) + eps));
    for (int64_t d = 0; d < dim; d += 16) {
        Floats value = load(x + d, dim - d) * scale;
        if (round_first) value = through_bf16(value);
        store(value * load(weight + d, dim - d), y + d, dim - d);
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
