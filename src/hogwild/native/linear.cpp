// y[M, N] = x[M, K] W^T + bias, with W in bfloat16, or quantised to 8 or 4 bits in groups of 32 inputs: see panels.hpp.
//
// A panel is read from memory once for all rows: eight rows at a time, out of the cache from the second time on. Each
// output is summed in the same order whatever the number of rows, so that a row never depends on its neighbours.
// For quantised weights, x is rounded to 8 bits, with a scale for each row and group.
#include <algorithm>
#include <type_traits>

#include "arena.hpp"
#include "matrices.hpp"

#if defined(HOGWILD_AMX)
#include "dots_amx.hpp"
#include "linear_amx.hpp"
#elif defined(HOGWILD_AVX512)
#include "dots_avx512.hpp"
#else
#include "dots_avx2.hpp"
#endif

namespace {

void quantise_group(const Row& row, int64_t at, int64_t length, bool four, int8_t* bytes, float* scale, int32_t* offset) {
    Floats a = row.sixteen(at, length), b = row.sixteen(at + 16, length);
    float largest = largest_of(larger(absolute(a), absolute(b)));
    float inverse = largest > 1e-30f ? 127.0f / largest : 0.0f;
    Ints p = nearest(a * all(inverse)), q = nearest(b * all(inverse));
    store_bytes(p, bytes);
    store_bytes(q, bytes + 16);
    int32_t sum = sum_of(p + q);
    *scale = any_nan(a, b) ? __builtin_nanf("") : largest / 127.0f;
    float scaled = *scale * sum;
    if (four) memcpy(offset, &scaled, 4);
    else *offset = -128 * sum;
}

template <int R, int HALVES>
void put(const Call& call, int64_t n, int64_t row, const Floats (&sum)[R][HALVES]) {
#pragma GCC unroll 2
    for (int h = 0; h < HALVES; h++) {
        const Column column(call, n + h * 16);
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) column.put(sum[r][h], row + r);
    }
}

#ifdef HOGWILD_AMX
template <int R, int HALVES>
void rows_by_amx(const Call& call, const Inputs& in, Matrices& matrices, int64_t panel, int half, int64_t row) {
    Floats sum[R][HALVES] = {};
    const uint8_t* w = call.w + panel * panel_bytes(call.format, call.inputs);
    if (call.format == INT8) dot_by_amx<R, HALVES, false>(matrices, w, half, in, row, sum);
    else dot_by_amx<R, HALVES, true>(matrices, w, half, in, row, sum);
    put<R, HALVES>(call, panel * PANEL + half * 16, row, sum);
}
#endif

template <int R>
void rows_of_panel(const Call& call, const Inputs& in, Matrices& matrices, int64_t panel, int64_t row) {
#ifdef HOGWILD_AMX
    if constexpr (R >= FEW_INT8)
        if (call.format == INT8) return rows_by_amx<R, 2>(call, in, matrices, panel, 0, row);
#endif
    Floats sum[R][2];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) sum[r][0] = sum[r][1] = all(0.f);
    const uint8_t* w = call.w + panel * panel_bytes(call.format, call.inputs);
    if (call.format == BF16) dot_bf16<R>(w, in, row, sum);
#ifdef HOGWILD_BF12
    else if (call.format == BF12) dot_bf12<R>(w, in, row, sum);
#endif
    else if (call.format == INT8) dot_quantised<R, false>(w, in, row, sum);
    else dot_quantised<R, true>(w, in, row, sum);
    put<R, 2>(call, panel * PANEL, row, sum);
}

void panel_of_call(const Call& call, const Inputs& in, Matrices& matrices, int64_t panel) {
    int64_t row = 0;
#ifdef HOGWILD_AMX
    for (; call.rows - row >= MANY; row += MANY)
        for (int half = 0; half < 2; half++) rows_by_amx<MANY, 1>(call, in, matrices, panel, half, row);
#endif
    for (; row < call.rows; row += ROWS) {
        switch (std::min<int64_t>(ROWS, call.rows - row)) {
            case 1: rows_of_panel<1>(call, in, matrices, panel, row); break;
            case 2: rows_of_panel<2>(call, in, matrices, panel, row); break;
            case 3: rows_of_panel<3>(call, in, matrices, panel, row); break;
            case 4: rows_of_panel<4>(call, in, matrices, panel, row); break;
            case 5: rows_of_panel<5>(call, in, matrices, panel, row); break;
            case 6: rows_of_panel<6>(call, in, matrices, panel, row); break;
            case 7: rows_of_panel<7>(call, in, matrices, panel, row); break;
            default: rows_of_panel<8>(call, in, matrices, panel, row);
        }
    }
}

}  // namespace

// x [rows, inputs] and y [rows, outputs] are contiguous, float32 if `*_wide`, else bfloat16.
EXPORT void hogwild_linear(int format, const void* x, int x_wide, int64_t rows, int64_t inputs, const void* w,
                           const float* bias, void* y, int y_wide, int64_t outputs, int threads) {
    Call call{format, x, (bool)x_wide, rows, inputs, (const uint8_t*)w, bias, y, (bool)y_wide, outputs};
#ifdef HOGWILD_AMX
    if (format == BF16) return linear_by_amx(call, threads);
#endif
    const int64_t even = (inputs + 1) / 2 * 2, groups = groups_of(inputs);
    Inputs in{(const Number*)x, nullptr, nullptr, nullptr, even, even, groups, apart<int8_t>(groups * GROUP)};
    thread_local Arena arena;
    int64_t units = 0, panels = (outputs + PANEL - 1) / PANEL;  // units: pieces of x to be converted
    if (quantised(format)) {
        units = rows * groups;
        arena.reserve(rows * in.byte_stride + units * 8 + 128);
        in.bytes = arena.take<int8_t>(rows * in.byte_stride);
        in.scales = arena.take<float>(units);
        in.offsets = arena.take<int32_t>(units);
    } else if (x_wide != std::is_same_v<Number, float> || inputs % 2 || (rows > 2 && inputs * sizeof(Number) % 1024 == 0)) {
        units = rows;
        in.stride = apart<Number>(even);
        arena.reserve(rows * in.stride * sizeof(Number));
        in.pairs = arena.take<Number>(rows * in.stride);
    }
#pragma omp parallel num_threads(threads)
    {
        Matrices matrices;
        if (units && !quantised(format)) {
#pragma omp for
            for (int64_t u = 0; u < units; u++)
                for (int64_t k = 0; k < even; k += 16)
                    store(Row(x, x_wide, u, inputs).sixteen(k, inputs), (Number*)in.pairs + u * in.stride + k, even - k);
        } else if (units) {
#pragma omp for
            for (int64_t u = 0; u < units; u++)
                quantise_group(Row(x, x_wide, u / groups, inputs), u % groups * GROUP, inputs, format == INT4,
                               in.bytes + u / groups * in.byte_stride + u % groups * GROUP, in.scales + u, in.offsets + u);
        }
// Runs of neighbouring panels, shorter towards the end: memory likes long ones, but where another program takes a core
// for a while, nobody must wait for it (measured on such a machine: 39 ms a pass in place of 54 to 67).
#pragma omp for schedule(guided, 2) nowait
        for (int64_t p = 0; p < panels; p++) panel_of_call(call, in, matrices, p);
    }
}
