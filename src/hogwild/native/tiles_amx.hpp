// Tiles of keys and values, multiplied by the matrix registers of AMX. See attention.cpp.
//
// Few rows read a whole tile where it lies. Its keys are left sides: what comes out are the scores of slots by rows, which
// are turned. Its values are right sides, in which two neighbouring dims of a slot pass for two neighbours of a column: with
// weights that are zero for one of the two, the sums are those of the other, so there are two sets of weights, for even and
// for odd dims.
#pragma once

#ifdef HOGWILD_AMX

#include "tiles.hpp"

namespace {

class MatrixTiles {
    static constexpr int FEW = 48;  // rows; with more, opening a tile pays
    Matrices& matrices;
    const int key_words, value_wide;
    int32_t *turned, *weights;  // queries [rows / 16, key_words, 16]; weights of even and of odd dims [2, FEW + 16, TILE]
    float *across, *spare;      // scores [FEW / 16 + 1, TILE, 16]; sums [32, value_wide]

    static constexpr int SET = (FEW + SIDE) * TILE;

    // sums [rows, value_wide] += spare
    void add(int rows, float* sums) const {
        for (int64_t i = 0; i < int64_t(rows) * value_wide; i += 16) store(load(sums + i) + load(spare + i), sums + i);
    }

  public:
    static constexpr bool AS_THEY_LIE = true;

    // Of these rows, the last 31 may be spoilt.
    static size_t bytes(int rows, int key_words, int value_wide) {
        return 4 * (size_t(rows) * key_words + 2 * SET + (FEW + SIDE) * TILE + 32 * value_wide) + 1024;
    }

    MatrixTiles(Matrices& matrices, Arena& arena, int rows, int key_words, int value_wide)
        : matrices(matrices), key_words(key_words), value_wide(value_wide),
          turned(arena.take<int32_t>(size_t(rows) * key_words)), weights(arena.take<int32_t>(2 * SET)),
          across(arena.take<float>((FEW + SIDE) * TILE)), spare(arena.take<float>(32 * value_wide)) {
        matrices.shape(SIDE);
    }

    static bool few(int rows, int key_dim, int value_dim) { return rows <= FEW && key_dim % 32 == 0 && value_dim % 32 == 0; }

    // Queries [rows, key_words] from row `first` on become right sides.
    void turn(const int32_t* queries, int first, int rows) {
        for (int row = first / SIDE * SIDE; row < first + rows; row += SIDE)
            for (int word = 0; word < key_words; word += SIDE) {
                Ints r[SIDE];
                for (int i = 0; i < SIDE; ++i) r[i] = load(queries + int64_t(row + i) * key_words + word);
                transpose(r);
                for (int i = 0; i < SIDE; ++i) store(r[i], turned + int64_t(row) * key_words + (word + i) * SIDE);
            }
    }

    // The scores [rows, TILE], from row `first` on, of the keys of a whole tile.
    void score_as_it_lies(const bf16* keys, int key_dim, int first, int rows, float* scores) {
        const int from = first / SIDE * SIDE;
        for (int row = from; row < first + rows; row += 2 * SIDE) {
            const Side right{(char*)(turned + int64_t(row) * key_words), 64, 64 * SIDE, key_words * 64};
            for (int slot = 0; slot < TILE; slot += 2 * SIDE) {
                const Side left{(char*)(keys + slot * key_dim), key_dim * 2, 64, SIDE * key_dim * 2};
                const Side sums{(char*)(across + (row - from) * TILE + slot * SIDE), 64, TILE * 64, SIDE * 64};
                multiply_matrices<true>(true, row + SIDE < first + rows, left, right, key_words / SIDE, sums);
            }
        }
        for (int row = from; row < first + rows; row += SIDE)
            for (int slot = 0; slot < TILE; slot += SIDE) {
                Ints r[SIDE];
                for (int i = 0; i < SIDE; ++i) r[i] = as_ints(load(across + (row - from) * TILE + (slot + i) * SIDE));
                transpose(r);
                for (int i = 0; i < SIDE; ++i) store(as_floats(r[i]), scores + (row + i) * TILE + slot);
            }
    }

    // Sixteen weights of a row for `mix_as_it_lies`, which counts rows from 0 on.
    void keep(int row, int slot, Floats x) const {
        const Ints odd = as_ints(through_bf16(x));
        store(shifted_right<16>(odd), weights + row * TILE + slot);
        store(odd, weights + SET + row * TILE + slot);
    }

    // sums [rows, value_wide] += the values of a whole tile, weighed.
    void mix_as_it_lies(const bf16* values, int rows, float* sums) {
        for (int row = 0; row < rows; row += SIDE) {
            const Side left{(char*)(weights + row * TILE), TILE * 4, 64, SET * 4};
            float* own = sums + int64_t(row) * value_wide;
            for (int d = 0; d < value_wide; d += 64) {
                const Side right{(char*)(values + d), value_wide * 2, SIDE * value_wide * 2, 64};
                const bool all = row + SIDE <= rows, second = d + 32 < value_wide;
                const Side out{(char*)((all ? own : spare) + d), value_wide * 4, 128, 64};
                if (all) multiply_matrices<false>(true, second, left, right, TILE / SIDE, out);
                else multiply_matrices<true>(true, second, left, right, TILE / SIDE, out);
            }
            if (row + SIDE > rows) add(rows - row, own);
        }
    }

    // out [rows, columns] = left [rows, depth] * right [depth, columns]; up to 31 rows behind are spoilt.
    void multiply(int rows, int columns, const int32_t* left, int left_stride, const int32_t* right, int right_stride,
                  int depth, float* out, int out_stride) {
        for (int row = 0; row < rows; row += 2 * SIDE)
            strip<true>(rows - row, columns, left + int64_t(row) * left_stride, left_stride, right, right_stride, depth,
                        out + int64_t(row) * out_stride, out_stride);
    }

    // sums [rows, value_wide] += weights [rows, TILE / 2] * values [depth, value_wide]
    void mix(int rows, const int32_t* weights, const int32_t* values, int depth, float* sums) {
        for (int row = 0; row < rows; row += 2 * SIDE, weights += SIDE * TILE, sums += 2 * SIDE * value_wide)
            if (rows - row >= 2 * SIDE) {
                strip<false>(2 * SIDE, value_wide, weights, TILE / 2, values, value_wide, depth, sums, value_wide);
            } else {
                strip<true>(rows - row, value_wide, weights, TILE / 2, values, value_wide, depth, spare, value_wide);
                add(rows - row, sums);
            }
    }

  private:
    template <bool FRESH>
    void strip(int rows, int columns, const int32_t* left, int left_stride, const int32_t* right, int right_stride, int depth,
               float* out, int out_stride) {
        const Side from{(char*)left, left_stride * 4, 64, left_stride * 4 * SIDE};
        for (int c = 0; c < columns; c += 32) {
            const Side by{(char*)(right + c), right_stride * 4, right_stride * 4 * SIDE, 64};
            const Side to{(char*)(out + c), out_stride * 4, 64, out_stride * 4 * SIDE};
            multiply_matrices<FRESH>(rows > SIDE, c + SIDE < columns, from, by, depth / SIDE, to);
        }
    }
};

template <class Kind>
using TilesOf = std::conditional_t<std::is_same_v<Kind, Half>, MatrixTiles, OpenTiles<Kind>>;

}  // namespace

#else
#include "tiles.hpp"

namespace {

template <class Kind>
using TilesOf = OpenTiles<Kind>;

}  // namespace

#endif
