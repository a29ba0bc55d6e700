// y = x W^T + bias by the matrix registers of AMX, for weights in bfloat16.
//
// A panel holds the right sides of its products as they are needed: 32 inputs times 2 columns of 16 outputs each. x is laid
// out as left sides, once for all panels. Up to 32 rows, the sums of a panel stay in registers from its first byte to its
// last; with more, as in a prompt, some panels take turns with a block of inputs, so that the panels' share of it stays in the
// first cache, and that of x in the second. An output is summed in the same order in both.
#pragma once

#include <algorithm>

#include "arena.hpp"
#include "inputs.hpp"
#include "matrices.hpp"

namespace {

constexpr int64_t INPUTS = 32;       // of one product
constexpr int64_t AT_ONCE = 8;       // products of a block of inputs: 16 KB of a panel
constexpr int64_t MOST_PANELS = 4;   // that take turns
constexpr int64_t MOST_ROWS = 512;   // that do
constexpr int64_t STEP_BYTES = INPUTS * PANEL * 2;

struct Lefts {  // x [steps, height, 32] for each 16 rows; the last of them may lack some
    bf16* at;
    int64_t steps, height;

    bf16* side(int64_t row, int64_t step) const {
        return at + (row / SIDE * steps + step) * height * INPUTS + row % SIDE * INPUTS;
    }
};

class PanelsByAmx {
    const Call& call;
    const Lefts& lefts;
    Matrices& matrices;
    float* sums;  // [panels, rows up to a whole register, 32]

    float* sums_of(int64_t panel, int64_t row) const { return sums + (panel * MOST_ROWS + row) * PANEL; }

    // The products from `step` on, `steps` of them, for a panel and all rows; w: the panel's right sides of them.
    template <bool FRESH>
    void multiply(int64_t panel, const uint8_t* w, int64_t first_row, int64_t rows, int64_t step, int64_t steps) const {
        const Side right{(char*)w, PANEL * 4, STEP_BYTES, 64};
        for (int64_t row = 0; row < rows; row += 2 * SIDE) {
            const int64_t lower = rows - row - SIDE;
            const Side left{(char*)lefts.side(first_row + row, step), INPUTS * 2, lefts.height * INPUTS * 2,
                            lefts.steps * lefts.height * INPUTS * 2};
            const Side out{(char*)sums_of(panel, row), PANEL * 4, 64, SIDE * PANEL * 4};
            if (lower > 0) {
                matrices.shape(SIDE, int(std::min<int64_t>(SIDE, lower)));
                multiply_matrices<true, true, FRESH>(left, right, steps, out);
            } else {
                matrices.shape(int(rows - row));
                multiply_matrices<false, true, FRESH>(left, right, steps, out);
            }
        }
    }

    void block(int64_t panel, const uint8_t* w, int64_t first_row, int64_t rows, int64_t step, int64_t steps) const {
        if (step == 0) multiply<true>(panel, w, first_row, rows, step, steps);
        else multiply<false>(panel, w, first_row, rows, step, steps);
    }

    void finish(int64_t panel, int64_t outputs_from, int64_t first_row, int64_t rows) const {
        for (int64_t half = 0; half < PANEL; half += 16) {
            const int64_t n = outputs_from + half, count = call.outputs - n;
            const Floats bias = call.bias ? load(call.bias + n, count) : all(0.f);
            for (int64_t row = 0; row < rows; row++) {
                const Floats value = load(sums_of(panel, row) + half) + bias;
                const int64_t at = (first_row + row) * call.outputs + n;
                if (call.y_wide) store(value, (float*)call.y + at, count);
                else store(value, (bf16*)call.y + at, count);
            }
        }
    }

  public:
    PanelsByAmx(const Call& call, const Lefts& lefts, Matrices& matrices, float* sums)
        : call(call), lefts(lefts), matrices(matrices), sums(sums) {}

    void run(int64_t first, int64_t last) const {
        const int64_t bytes = panel_bytes(BF16, call.inputs), whole = call.inputs / INPUTS;
        for (int64_t first_row = 0; first_row < call.rows; first_row += MOST_ROWS) {
            const int64_t rows = std::min(MOST_ROWS, call.rows - first_row);
            const int64_t at_once = rows <= 2 * SIDE ? std::max<int64_t>(1, whole) : AT_ONCE;
            for (int64_t step = 0; step < whole; step += at_once)
                for (int64_t p = first; p < last; p++)
                    block(p - first, call.w + p * bytes + step * STEP_BYTES, first_row, rows, step,
                          std::min(at_once, whole - step));
            for (int64_t p = first; p < last; p++) {
                if (call.inputs % INPUTS) {  // behind them lies what is not theirs
                    alignas(64) uint8_t rest[STEP_BYTES] = {};
                    std::memcpy(rest, call.w + p * bytes + whole * STEP_BYTES, bytes - whole * STEP_BYTES);
                    block(p - first, rest, first_row, rows, whole, 1);
                }
                finish(p - first, p * PANEL, first_row, rows);
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
    const Lefts lefts{shared.take<bf16>(blocks * steps * height * INPUTS), steps, height};
#pragma omp parallel num_threads(threads)
    {
        thread_local Arena own;
        own.reserve(MOST_PANELS * MOST_ROWS * PANEL * sizeof(float));
#pragma omp for
        for (int64_t row = 0; row < call.rows; row++)
            for (int64_t k = 0; k < steps * INPUTS; k += 16)
                store(Row(call.x, call.x_wide, row, call.inputs).sixteen(k, call.inputs),
                      lefts.side(row, k / INPUTS) + k % INPUTS);
        Matrices matrices;
        const PanelsByAmx some(call, lefts, matrices, own.take<float>(turn * MOST_ROWS * PANEL));
#pragma omp for schedule(guided, 2) nowait
        for (int64_t t = 0; t < (panels + turn - 1) / turn; t++) some.run(t * turn, std::min(panels, (t + 1) * turn));
    }
}

}  // namespace
