// Weights into panels, see panels.hpp. By the same rules as in hogwild.models.packing.
#include <algorithm>
#include <cstring>

#include "panels.hpp"

namespace {

uint16_t to_half(float value) { return _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT); }

// A group of weights of one output, in its place in the panel: `lane` is the output's number in the panel.
void pack_int8(Floats a, Floats b, uint8_t* group, int64_t lane) {
    uint16_t half = to_half(largest_of(larger(absolute(a), absolute(b))) / 127.0f);
    float scale = _cvtsh_ss(half), inverse = scale > 0 ? 1.0f / scale : 0.0f;
    uint8_t bytes[32];
    for (int part = 0; part < 2; part++) {
        Ints level = nearest((part ? b : a) * all(inverse));
        store_bytes(smaller(larger(level, all(-127)), all(127)) + all(128), bytes + part * 16);
    }
    uint8_t* to = group + lane / 16 * 512 + lane % 16 * 4;
    for (int j = 0; j < 8; j++) memcpy(to + j * 64, bytes + j * 4, 4);
    memcpy(group + 1024 + lane * 2, &half, 2);
}

struct Grid {
    uint16_t scale, minimum;
    Ints a, b;
    float error;
};

// The nearest points of a grid to the weights, and the sum of squared errors.
void settle(Grid& grid, Floats a, Floats b) {
    float scale = _cvtsh_ss(grid.scale);
    Floats minimum = all(_cvtsh_ss(grid.minimum)), inverse = all(scale > 0 ? 1.0f / scale : 0.0f), error = all(0.f);
    for (int part = 0; part < 2; part++) {
        Floats w = part ? b : a;
        Ints level = smaller(larger(nearest((w - minimum) * inverse), all(0)), all(15));
        Floats off = w - fma(floats(level), all(scale), minimum);
        error = fma(off, off, error);
        (part ? grid.b : grid.a) = level;
    }
    grid.error = sum_of(error);
}

// The scale and minimum that fit best to the weights once each has its level: least squares.
void refit(Grid& grid, Floats a, Floats b, float sum_w) {
    Floats p = floats(grid.a), q = floats(grid.b);
    float sum_q = sum_of(p + q), sum_qq = sum_of(fma(p, p, q * q)), sum_qw = sum_of(fma(p, a, q * b));
    float spread = GROUP * sum_qq - sum_q * sum_q;
    if (spread <= 0) return;
    float scale = (GROUP * sum_qw - sum_q * sum_w) / spread;
    if (!(scale > 0)) return;
    grid.scale = to_half(scale);
    grid.minimum = to_half((sum_w - scale * sum_q) / GROUP);
}

// Weights that come from some grid of up to 16 levels, but do not reach both of its ends, are found by trying all
// numbers of levels; more than 15 steps cut outliers off.
void pack_int4(Floats a, Floats b, uint8_t* group, int64_t lane) {
    float low = smallest_of(smaller(a, b)), high = largest_of(larger(a, b)), sum_w = sum_of(a + b);
    Grid best;
    best.error = __builtin_inff();
    float enough = 1e-5f * sum_of(fma(a, a, b * b));  // it came from this grid
    for (int steps : {15, 14, 13, 12, 11, 10, 9, 8, 16, 17, 18}) {
        float cut = steps > 15 ? (high - low) * (steps - 15) / (2.0f * steps) : 0.0f;
        Grid grid;
        grid.scale = to_half((high - low) / steps);
        grid.minimum = to_half(low + cut);
        settle(grid, a, b);
        refit(grid, a, b, sum_w);
        settle(grid, a, b);
        if (!(grid.error >= best.error)) best = grid;
        if (best.error <= enough) break;
    }
    uint8_t bytes[16];
    store_bytes(best.a | shifted_left<4>(best.b), bytes);
    uint8_t* to = group + lane / 16 * 256 + lane % 16 * 4;
    for (int j = 0; j < 4; j++) memcpy(to + j * 64, bytes + j * 4, 4);
    memcpy(group + 512 + lane * 2, &best.scale, 2);
    memcpy(group + 576 + lane * 2, &best.minimum, 2);
}

// A group of inputs of a panel of bf16 in 12 bits each; false if it has more than sixteen exponents.
bool shorten(const bf16* weights, uint8_t* table, uint8_t* to) {
    uint8_t place[256] = {};
    bool there[256] = {};
    for (int64_t i = 0; i < PANEL * GROUP; i++) there[weights[i] >> 7 & 0xff] = true;
    int64_t count = 0;
    for (int e = 0; e < 256; e++) {
        if (!there[e]) continue;
        if (count == TABLE) return false;
        place[e] = uint8_t(count);
        table[count++] = uint8_t(e);
    }
    for (int64_t pair = 0; pair < GROUP / 2; pair++) {
        uint8_t* const places = to + pair / 2 * FOUR_INPUTS;
        uint8_t* const rest = places + 64 + pair % 2 * 64;
        for (int64_t i = 0; i < 64; i++) {  // eight of the first half, eight of the second, and so on
            const bf16 w = weights[pair * 64 + i / 8 % 2 * 32 + i / 16 * 8 + i % 8];
            const uint8_t found = place[w >> 7 & 0xff];
            places[i] = pair % 2 ? places[i] | found << 4 : found;
            rest[i] = uint8_t(w >> 8 & 0x80) | (w & 0x7f);
        }
    }
    return true;
}

// The weights of one output from input `k` on, as many as are packed together: a group, or 16 in bf16.
void pack_step(int format, const Row& row, int64_t k, int64_t length, int64_t inputs, uint8_t* group, int64_t lane) {
    Floats a = row.sixteen(k, length);
    if (format == BF16) {
        bf16 pairs[16];
        store(a, pairs);
        for (int64_t j = 0; j < std::min<int64_t>(8, (inputs - k + 1) / 2); j++)
            memcpy(group + j * 128 + lane * 4, pairs + 2 * j, 4);
        return;
    }
    Floats b = row.sixteen(k + 16, length);
    format == INT8 ? pack_int8(a, b, group, lane) : pack_int4(a, b, group, lane);
}

struct Weights {  // [outputs, inputs], contiguous, float32 if `wide`, else bfloat16
    const void* numbers;
    bool wide;
    int64_t outputs, inputs;

    // A panel's inputs from `k` on, as many as are packed together.
    void pack(int format, int64_t panel, int64_t k, uint8_t* group) const {
        for (int64_t lane = 0; lane < PANEL; lane++) {
            int64_t n = panel * PANEL + lane, length = n < outputs ? inputs : 0;
            pack_step(format, Row(numbers, wide, std::min(n, outputs - 1), inputs), k, length, inputs, group, lane);
        }
    }

    void pack_panel(int format, int64_t panel, uint8_t* to) const {
        const int64_t step = format == BF16 ? 16 : GROUP;
        const int64_t step_bytes = format == BF16 ? 16 * PANEL * 2 : panel_bytes(format, GROUP);
        for (int64_t k = 0; k < inputs; k += step, to += step_bytes) pack(format, panel, k, to);
    }

    // The same in bf12; false if there is none of it.
    bool pack_short(int64_t panel, uint8_t* to) const {
        uint8_t* at = to + tables_bytes(inputs);
        memset(to, 0, tables_bytes(inputs));
        for (int64_t k = 0; k < inputs; k += GROUP, to += TABLE, at += GROUP / 4 * FOUR_INPUTS) {
            bf16 group[PANEL * GROUP];
            for (int64_t half = 0; half < 2; half++) pack(BF16, panel, k + half * 16, (uint8_t*)(group + half * 16 * PANEL));
            if (!shorten(group, to, at)) return false;
        }
        return true;
    }
};

}  // namespace

// `w` as in Weights; `packed` has room for all panels. False where there is no bf12 of them.
EXPORT int hogwild_linear_pack(int format, const void* w, int wide, int64_t outputs, int64_t inputs, void* packed,
                               int threads) {
    const Weights weights{w, (bool)wide, outputs, inputs};
#ifndef HOGWILD_BF12
    if (format == BF12) return false;
#endif
    if (format == BF12 && inputs % GROUP) return false;
    int64_t bytes = panel_bytes(format, inputs), panels = (outputs + PANEL - 1) / PANEL;
    bool fits = true;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(&& : fits)
    for (int64_t p = 0; p < panels; p++) {
        uint8_t* panel = (uint8_t*)packed + p * bytes;
        if (format == BF12) fits = fits && weights.pack_short(p, panel);
        else weights.pack_panel(format, p, panel);
    }
    return fits;
}
