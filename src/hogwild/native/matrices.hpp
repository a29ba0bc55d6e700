// The matrix registers of AMX: eight of up to 16 rows of 64 bytes. Here they multiply
//     sums [rows, 16] += left [rows, 32] * right [32, 16]
// of bfloat16 in float32, with two neighbours of a column of the right side beside each other, as in a panel of weights.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

#ifndef HOGWILD_AMX
struct Matrices {};
#else

constexpr int SIDE = 16;  // rows of a register

// What was written must lie in memory by now: some compilers do not know that the instructions for matrices read it.
inline void all_is_written() { asm volatile("" ::: "memory"); }

// Registers 0 and 1 hold the sums of the upper rows and 2 columns, 2 and 3 those of the lower ones; 4 and 5 the left sides
// of the upper and the lower rows, 6 and 7 the right sides of the columns. They are of no other shape in between: telling
// the processor another empties them and takes its time.
class Matrices {
    int upper = 0, lower = 0, bytes = 0;

    void shape(int upper_rows, int lower_rows, int left_bytes) {
        if (upper_rows == upper && lower_rows == lower && left_bytes == bytes) return;
        struct {
            uint8_t palette = 1, start_row = 0, reserved[14] = {};
            uint16_t row_bytes[16] = {64, 64, 64, 64, 0, 0, 64, 64};
            uint8_t rows[16] = {};
        } config;
        const int rows[8] = {upper_rows, upper_rows, lower_rows,     lower_rows,
                             upper_rows, lower_rows, left_bytes / 4, left_bytes / 4};
        for (int i = 0; i < 8; ++i) config.rows[i] = uint8_t(rows[i]);
        config.row_bytes[4] = config.row_bytes[5] = uint16_t(left_bytes);
        all_is_written();
        _tile_loadconfig(&config);
        upper = upper_rows, lower = lower_rows, bytes = left_bytes;
    }

  public:
    ~Matrices() { _tile_release(); }  // what is in use is saved at every switch to another thread

    void shape(int upper_rows, int lower_rows = SIDE) { shape(upper_rows, lower_rows, 64); }
    void shape_bytes(int rows, int left_bytes) { shape(rows, rows, left_bytes); }
};

struct Side {  // where a run of products finds one of its sides, or leaves its sums; strides in bytes
    char* at;
    int64_t row, next, other;  // from row to row, product to product, and upper to lower rows or first to second columns
};

// The sums of `steps` products, for LOWER: also of the lower rows, SECOND: also of the second columns; FRESH: from zero.
template <bool LOWER, bool SECOND, bool FRESH>
__attribute__((always_inline)) inline void multiply_matrices(Side left, Side right, int64_t steps, Side sums) {
    all_is_written();
    if (FRESH) {
        _tile_zero(0);
        if (SECOND) _tile_zero(1);
        if (LOWER) _tile_zero(2);
        if (LOWER && SECOND) _tile_zero(3);
    } else {
        _tile_loadd(0, sums.at, sums.row);
        if (SECOND) _tile_loadd(1, sums.at + sums.next, sums.row);
        if (LOWER) _tile_loadd(2, sums.at + sums.other, sums.row);
        if (LOWER && SECOND) _tile_loadd(3, sums.at + sums.other + sums.next, sums.row);
    }
    for (int64_t s = 0; s < steps; ++s, left.at += left.next, right.at += right.next) {
        _tile_loadd(6, right.at, right.row);
        _tile_loadd(4, left.at, left.row);
        if (SECOND) _tile_loadd(7, right.at + right.other, right.row);
        _tile_dpbf16ps(0, 4, 6);
        if (LOWER) _tile_loadd(5, left.at + left.other, left.row);
        if (SECOND) _tile_dpbf16ps(1, 4, 7);
        if (LOWER) _tile_dpbf16ps(2, 5, 6);
        if (LOWER && SECOND) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums.at, sums.row);
    if (SECOND) _tile_stored(1, sums.at + sums.next, sums.row);
    if (LOWER) _tile_stored(2, sums.at + sums.other, sums.row);
    if (LOWER && SECOND) _tile_stored(3, sums.at + sums.other + sums.next, sums.row);
}

template <bool FRESH>
inline void multiply_matrices(bool lower, bool second, Side left, Side right, int64_t steps, Side sums) {
    if (lower && second) multiply_matrices<true, true, FRESH>(left, right, steps, sums);
    else if (lower) multiply_matrices<true, false, FRESH>(left, right, steps, sums);
    else if (second) multiply_matrices<false, true, FRESH>(left, right, steps, sums);
    else multiply_matrices<false, false, FRESH>(left, right, steps, sums);
}

#endif

}  // namespace
