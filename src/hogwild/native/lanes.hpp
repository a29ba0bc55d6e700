// Sixteen numbers at a time: `Floats` and `Ints`, by the instructions that this library is compiled for.
#pragma once

#include <initializer_list>

#ifdef HOGWILD_AVX512
#include "avx512.hpp"
#else
#include "avx2.hpp"
#endif

namespace {

// e to the x for x <= 0, to about 2 units in the last place; e to the -inf is 0.
inline Floats exponential(Floats x) {
    x = larger(x, all(-104.f));
    const Floats n = rounded(x * all(1.44269504f));
    Floats r = fma(n, all(-0.693359375f), x);
    r = fma(n, all(2.12194440e-4f), r);
    Floats p = all(1.9875691500e-4f);
    for (const float coefficient : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
        p = fma(p, r, all(coefficient));
    return times_two_to_the(fma(p, r * r, r + all(1.f)), n);
}

inline Floats tangent(Floats x) {  // hyperbolic: sign(x) * (1 - e) / (1 + e) with e = exp(-2 |x|)
    const Floats e = exponential(absolute(x) * all(-2.f)), one = all(1.f);
    return ((one - e) / (one + e)) | signs_of(x);
}

}  // namespace
