// How the weights of a linear layer are stored: panels of 32 outputs, each one stream of bytes in the order in which it is
// read:
//   bf16   for each pair of inputs: 32 outputs x 2 inputs
//   int8   for each group: 2 halves of 16 outputs x [8][16][4] bytes (w / scale + 128); 32 scales
//   int4   for each group: 2 halves of 16 outputs x [4][16][4] bytes, low nibbles inputs 0..15 of the group, high ones
//          16..31, w = scale * nibble + minimum; 32 scales; 32 minima
//   bf12   bf16 in 12 bits each, to the last of its 16. Among a few hundred neighbours there are hardly ever more than 16
//          different exponents, so that four bits say which of them it is. (The exponents of trained weights hold less
//          than three bits: arXiv 2504.11651.) First a table of up to 16 exponents for each group, in whole cache lines;
//          then for each group 8 x [64 bytes of places in the table, low nibbles for one pair of inputs, high ones for the
//          next; 2 x 64 bytes of sign and fraction, for the one pair and the other]. Each 16 of 64 bytes are eight of the
//          first 16 outputs, eight of the second, in the order in which a pair has them in bf16.
// Scales and minima are float16. Inputs are padded with zeros to whole pairs or groups, outputs to whole panels; bf12 is for
// whole groups only.
#pragma once

#include "lanes.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

constexpr int64_t PANEL = 32, GROUP = 32;
constexpr int64_t TABLE = 16, FOUR_INPUTS = 3 * 64;  // bytes in bf12: a group's table, and two pairs of inputs
enum Format { BF16 = 0, INT8 = 1, INT4 = 2, BF12 = 3 };

// Where it is the faster one: with AVX2 it gains 1.25 times with one row, and loses with two or more; with AMX, whose
// registers are filled from memory, it is not tried.
#if defined(HOGWILD_AVX512) && !defined(HOGWILD_AMX)
#define HOGWILD_BF12
#endif

inline bool quantised(int format) { return format == INT8 || format == INT4; }
inline int64_t groups_of(int64_t inputs) { return (inputs + GROUP - 1) / GROUP; }

// The tables of a panel of bf12.
inline int64_t tables_bytes(int64_t inputs) { return (groups_of(inputs) * TABLE + 63) / 64 * 64; }

inline int64_t panel_bytes(int format, int64_t inputs) {
    if (format == BF16) return (inputs + 1) / 2 * 2 * PANEL * 2;
    if (format == BF12) return tables_bytes(inputs) + inputs / 4 * FOUR_INPUTS;
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
