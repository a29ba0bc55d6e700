// y = x W^T + bias by the matrix registers of AMX, for weights in bfloat16.
//
// A panel holds the right sides of its products as they are needed: 32 inputs times 2 columns of 16 outputs each. x is laid
// out as left sides, once for all panels. Up to 32 rows, the sums of a panel stay in registers from its first byte to its
// last; with more, as in a prompt, some panels take turns with a block of inputs, so that the panels' share of it stays in the
// first cache, and that of x in the second. An output is summed in the same order in both.
#pragma once

#include <algorithm>
#include <cstring>

#include "arena.hpp"
#include "inputs.hpp"
#include "matrices.hpp"

namespace {

constexpr int64_t INPUTS = 32;      // of one product
constexpr int64_t AT_ONCE = 8;      // products of a block of inputs: 16 KB of a panel
constexpr int64_t MOST_PANELS = 8;  // that take turns
constexpr int64_t MOST_ROWS = 512;  // for which they do
constexpr int64_t STEP_BYTES = INPUTS * PANEL * 2;

struct Lefts {  // x [steps, blocks, height, 32]: left sides of `height` rows; the last block may lack some
    bf16* at;
    int64_t blocks, height;

    int64_t next() const { return blocks * height * INPUTS; }  // numbers of x from one step to the next

    void fill(const Call& call, int64_t row) const {
        const Row x(call.x, call.x_wide, row, call.inputs);
        bf16* to = side(row, 0);
        int64_t k = 0;
        if (!x.wide)
            for (; k + INPUTS <= call.inputs; k += INPUTS, to += next())
                std::memcpy(to, (const bf16*)x.numbers + k, INPUTS * sizeof(bf16));
        for (; k < call.inputs; k += INPUTS, to += next())
            for (int64_t half = 0; half < INPUTS; half += 16) store(x.sixteen(k + half, call.inputs), to + half);
    }

    bf16* side(int64_t row, int64_t step) const {
        return at + step * next() + (row / SIDE * height + row % SIDE) * INPUTS;
    }
};

class PanelsByAmx {
    const Call& call;
    const Lefts& lefts;
    Matrices& matrices;
    float* sums;  // [panels, MOST_ROWS, 32]
    const int64_t first, panels;

    float* sums_of(int64_t panel, int64_t row) const { return sums + (panel * MOST_ROWS + row) * PANEL; }

    // The products of a panel with 32 rows or fewer, from `step` on; w: the panel's right sides of them.
    template <bool FRESH>
    void multiply(int64_t panel, const uint8_t* w, int64_t row, int64_t rows, int64_t step, int64_t steps) const {
        const Side right{(char*)w, PANEL * 4, STEP_BYTES, 64};
        const Side left{(char*)lefts.side(row, step), INPUTS * 2, lefts.next() * 2, lefts.height * INPUTS * 2};
        const Side out{(char*)sums_of(panel, row % MOST_ROWS), PANEL * 4, 64, SIDE * PANEL * 4};
        if (rows > SIDE) {
            matrices.shape(SIDE, int(rows - SIDE));
            multiply_matrices<true, true, FRESH>(left, right, steps, out);
        } else {
            matrices.shape(int(rows));
            multiply_matrices<false, true, FRESH>(left, right, steps, out);
        }
    }

    // The same for all rows and all panels: those have their share of each step one after another, `bytes` apart.
    void block(const uint8_t* w, int64_t bytes, int64_t first_row, int64_t last_row, int64_t step, int64_t steps) const {
        const bool last = step + steps == (call.inputs + INPUTS - 1) / INPUTS;
        for (int64_t row = first_row; row < last_row; row += 2 * SIDE)
            for (int64_t p = 0; p < panels; p++) {
                const int64_t rows = std::min<int64_t>(2 * SIDE, last_row - row);
                if (step == 0) multiply<true>(p, w + p * bytes, row, rows, step, steps);
                else multiply<false>(p, w + p * bytes, row, rows, step, steps);
                if (last) finish(p, row, rows);
            }
    }

    void finish(int64_t panel, int64_t row, int64_t rows) const {
        for (int64_t half = 0; half < PANEL; half += 16) {
            const Column column(call, (first + panel) * PANEL + half);
            const float* from = sums_of(panel, row % MOST_ROWS) + half;
            for (int64_t r = 0; r < rows; r++) column.put(load(from + r * PANEL), row + r);
        }
    }

  public:
    PanelsByAmx(const Call& call, const Lefts& lefts, Matrices& matrices, float* sums, int64_t first, int64_t last)
        : call(call), lefts(lefts), matrices(matrices), sums(sums), first(first), panels(last - first) {}

    void run() const {
        const int64_t bytes = panel_bytes(BF16, call.inputs), whole = call.inputs / INPUTS;
        const uint8_t* w = call.w + first * bytes;
        for (int64_t row = 0; row < call.rows; row += MOST_ROWS) {
            const int64_t last_row = std::min(call.rows, row + MOST_ROWS);
            const int64_t at_once = call.rows <= 2 * SIDE ? std::max<int64_t>(1, whole) : AT_ONCE;
            for (int64_t step = 0; step < whole; step += at_once)
                block(w + step * STEP_BYTES, bytes, row, last_row, step, std::min(at_once, whole - step));
            if (call.inputs % INPUTS) {  // behind them lies what is not theirs
                alignas(64) uint8_t rest[MOST_PANELS][STEP_BYTES] = {};
                for (int64_t p = 0; p < panels; p++)
                    std::memcpy(rest[p], w + p * bytes + whole * STEP_BYTES, bytes - whole * STEP_BYTES);
                block(rest[0], STEP_BYTES, row, last_row, whole, 1);
            }
        }
    }
};

void linear_by_amx(const Call& call, int threads) {
    const int64_t steps = (call.inputs + INPUTS - 1) / INPUTS, height = std::min<int64_t>(SIDE, call.rows);
    const int64_t panels = (call.outputs + PANEL - 1) / PANEL;
    const int64_t turn = call.rows <= 2 * SIDE ? 1 : std::clamp<int64_t>(panels / (2 * threads), 1, MOST_PANELS);
    thread_local Arena shared;
    const int64_t blocks = (call.rows + SIDE - 1) / SIDE;
    shared.reserve(blocks * steps * height * INPUTS * sizeof(bf16));
    const Lefts lefts{shared.take<bf16>(blocks * steps * height * INPUTS), blocks, height};
#pragma omp parallel num_threads(threads)
    {
        thread_local Arena own;
        own.reserve(MOST_PANELS * MOST_ROWS * PANEL * sizeof(float));
#pragma omp for
        for (int64_t row = 0; row < call.rows; row++) lefts.fill(call, row);
        Matrices matrices;
        float* sums = own.take<float>(turn * MOST_ROWS * PANEL);
#pragma omp for schedule(guided, 2) nowait
        for (int64_t t = 0; t < panels; t += turn)
            PanelsByAmx(call, lefts, matrices, sums, t, std::min(panels, t + turn)).run();
    }
}

}  // namespace
