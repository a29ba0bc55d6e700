// A linear layer's call, and its inputs as the products read them.
#pragma once

#include "panels.hpp"

namespace {

#ifdef HOGWILD_AVX512
using Number = bf16;  // in which the inputs of bf16 weights are multiplied
#else
using Number = float;
#endif

struct Inputs {
    const Number* pairs;  // bf16: [M, stride], of which `inputs`, an even number, are there
    int8_t* bytes;        // quantised: [M, byte_stride]
    float* scales;        // [M, groups]
    int32_t* offsets;     // int8: -128 * sum of the group's bytes; int4: the bits of float scale * sum
    int64_t inputs, stride, groups, byte_stride;
};

struct Call {  // of a linear layer; x and y are contiguous, float32 if `*_wide`, else bfloat16
    int format;
    const void* x;
    bool x_wide;
    int64_t rows, inputs;
    const uint8_t* w;
    const float* bias;  // [N] or null
    void* y;
    bool y_wide;
    int64_t outputs;
};

struct Column {  // sixteen neighbouring outputs of a call, from `n` on
    const Call& call;
    const int64_t n, count;
    const Floats bias;

    Column(const Call& call, int64_t n)
        : call(call), n(n), count(call.outputs - n), bias(call.bias ? load(call.bias + n, count) : all(0.f)) {}

    void put(Floats sum, int64_t row) const {
        const int64_t at = row * call.outputs + n;
        if (call.y_wide) store(sum + bias, (float*)call.y + at, count);
        else store(sum + bias, (bf16*)call.y + at, count);
    }
};

// So many numbers or more, for rows of an odd number of cache lines: rows a power of two apart, as sizes of layers are,
// would drive each other out of the cache (measured: 9 times slower with eight rows of 4,096 bytes).
template <class T>
int64_t apart(int64_t numbers) {
    const int64_t line = 64 / sizeof(T);
    return ((numbers + line - 1) / line | 1) * line;
}

}  // namespace
