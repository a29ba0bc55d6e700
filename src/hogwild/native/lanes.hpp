// Sixteen numbers at a time: `Floats` and `Ints`, by the instructions that this library is compiled for.
#pragma once

#include <initializer_list>

#ifdef HOGWILD_AVX512
#include "avx512.hpp"
#else
#include "avx2.hpp"
#endif

namespace {

// Asks the innermost cache for what will be read soon; for ONCE, so that it leaves no trace in the others, where what Python
// needs can stay. Inlined at once, or g++ takes it for a function that does nothing.
template <bool ONCE = false>
__attribute__((always_inline)) inline void ask_for(const void* from, int64_t bytes = 64) {
    for (int64_t line = 0; line < bytes; line += 64) __builtin_prefetch((const char*)from + line, 0, ONCE ? 0 : 3);
}

constexpr float LOG2_E = 1.44269504f;

// 2 to the x for x <= 0, to about 1.5 units in the last place; 2 to the -inf is 0, that of NaN is NaN.
inline Floats two_to_the(Floats x) {
    x = larger(all(-150.f), x);
    const Floats n = rounded(x), r = x - n;
    Floats p = all(1.3264727e-3f);  // of least relative error with p(0) = 1: 9.2e-8
    for (const float coefficient : {9.6715126e-3f, 5.5507337e-2f, 2.4022242e-1f, 6.9314698e-1f, 1.f})
        p = fma(p, r, all(coefficient));
    return times_two_to_the(p, n);
}

inline Floats tangent(Floats x) {  // hyperbolic: sign(x) * (1 - e) / (1 + e) with e = exp(-2 |x|)
    const Floats e = two_to_the(absolute(x) * all(-2.f * LOG2_E)), one = all(1.f);
    return ((one - e) / (one + e)) | signs_of(x);
}

}  // namespace
