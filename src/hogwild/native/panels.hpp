// How the weights of a linear layer are stored: panels of 32 outputs, each one stream of bytes in the order in which it is
// read:
//   bf16   for each pair of inputs: 32 outputs x 2 inputs
//   int8   for each group: 2 halves of 16 outputs x [8][16][4] bytes (w / scale + 128); 32 scales
//   int4   for each group: 2 halves of 16 outputs x [4][16][4] bytes, low nibbles inputs 0..15 of the group, high ones
//          16..31, w = scale * nibble + minimum; 32 scales; 32 minima
// Scales and minima are float16. Inputs are padded with zeros to whole pairs or groups, outputs to whole panels.
#pragma once

#include "lanes.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

constexpr int64_t PANEL = 32, GROUP = 32;
enum Format { BF16 = 0, INT8 = 1, INT4 = 2 };

inline int64_t groups_of(int64_t inputs) { return (inputs + GROUP - 1) / GROUP; }

inline int64_t panel_bytes(int format, int64_t inputs) {
    if (format == BF16) return (inputs + 1) / 2 * 2 * PANEL * 2;
    return groups_of(inputs) * (format == INT8 ? PANEL * GROUP + PANEL * 2 : PANEL * GROUP / 2 + PANEL * 4);
}

// A row of float32, if `wide`, or bfloat16.
struct Row {
    const void* numbers;
    bool wide;

    Row(const void* base, bool is_wide, int64_t row, int64_t length)
        : numbers((const char*)base + row * length * (is_wide ? 4 : 2)), wide(is_wide) {}

    // 16 values from `at` on, zeros from `length` on.
    Floats sixteen(int64_t at, int64_t length) const {
        return wide ? load((const float*)numbers + at, length - at) : load((const bf16*)numbers + at, length - at);
    }
};

}  // namespace
