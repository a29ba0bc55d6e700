// y[M, N] = x[M, K] W^T + bias, with W in bfloat16, or quantised to 8 or 4 bits in groups of 32 inputs.
//
// W is stored in panels of 32 outputs, each one stream of bytes in the order in which it is read:
//   bf16   for each pair of inputs: 32 outputs x 2 inputs
//   int8   for each group: 2 halves of 16 outputs x [8][16][4] bytes (w / scale + 128); 32 scales
//   int4   for each group: 2 halves of 16 outputs x [4][16][4] bytes, low nibbles inputs 0..15 of the group, high ones
//          16..31, w = scale * nibble + minimum; 32 scales; 32 minima
// Scales and minima are float16. Inputs are padded with zeros to whole pairs or groups, outputs to whole panels.
//
// A panel is read from memory once for all rows: eight rows at a time, out of the cache from the second time on. Each
// output is summed in the same order whatever the number of rows, so that a row never depends on its neighbours.
// For quantised weights, x is rounded to 8 bits, with a scale for each row and group.
#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "lanes.hpp"

namespace {

constexpr int64_t PANEL = 32, GROUP = 32;
constexpr int ROWS = 8;
// Bytes. With much to do for each byte, as in int4, the processor alone does not read far enough ahead (measured: 1.5 times
// faster at 4 and 8 rows); in the other formats it does, and asking for more slows it down.
constexpr int64_t AHEAD = 4096;
enum Format { BF16 = 0, INT8 = 1, INT4 = 2 };

int64_t panel_bytes(int format, int64_t inputs) {
    int64_t groups = (inputs + GROUP - 1) / GROUP;
    if (format == BF16) return (inputs + 1) / 2 * 2 * PANEL * 2;
    return format == INT8 ? groups * (PANEL * GROUP + PANEL * 2) : groups * (PANEL * GROUP / 2 + PANEL * 4);
}

__m512 load_half(const uint8_t* from) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)from)); }

// 16 values of a row of float32 or bfloat16, zeros from `length` on.
__m512 load(const void* row, bool wide, int64_t at, int64_t length) {
    __mmask16 mask = first_lanes(length - at);
    return wide ? _mm512_maskz_loadu_ps(mask, (const float*)row + at) : load_bf16((const uint16_t*)row + at, mask);
}

const void* row_of(const void* base, bool wide, int64_t row, int64_t stride) {
    return (const char*)base + row * stride * (wide ? 4 : 2);
}

// The inputs as a kernel reads them.
struct Inputs {
    const uint16_t* pairs;  // bf16: [M, stride]
    int8_t* bytes;          // quantised: [M, groups * 32]
    float* scales;          // [M, groups]
    int32_t* offsets;       // int8: -128 * sum of the group's bytes; int4: the bits of float scale * sum
    int64_t stride, groups;
};

void quantise_group(const void* row, bool wide, int64_t at, int64_t length, bool four, int8_t* bytes, float* scale,
                    int32_t* offset) {
    __m512 a = load(row, wide, at, length), b = load(row, wide, at + 16, length);
    float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
    bool is_number = !_mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q);
    float inverse = largest > 1e-30f ? 127.0f / largest : 0.0f;
    __m512i p = _mm512_cvtps_epi32(_mm512_mul_ps(a, _mm512_set1_ps(inverse)));
    __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(b, _mm512_set1_ps(inverse)));
    _mm_storeu_si128((__m128i*)bytes, _mm512_cvtepi32_epi8(p));
    _mm_storeu_si128((__m128i*)(bytes + 16), _mm512_cvtepi32_epi8(q));
    int32_t sum = _mm512_reduce_add_epi32(_mm512_add_epi32(p, q));
    *scale = is_number ? largest / 127.0f : __builtin_nanf("");
    float scaled = *scale * sum;
    if (four) memcpy(offset, &scaled, 4);
    else *offset = -128 * sum;
}

template <int R>
__attribute__((always_inline)) inline void dot_bf16(const uint8_t* w, const Inputs& in, int64_t row, __m512 (&sum)[ROWS][2]) {
    const uint16_t* x = in.pairs + row * in.stride;
    for (int64_t k = 0; k < in.stride; k += 2, w += 128) {
        __m512bh w0 = (__m512bh)_mm512_loadu_si512(w), w1 = (__m512bh)_mm512_loadu_si512(w + 64);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            int32_t pair;
            memcpy(&pair, x + r * in.stride + k, 4);
            __m512bh both = (__m512bh)_mm512_set1_epi32(pair);
            sum[r][0] = _mm512_dpbf16_ps(sum[r][0], w0, both);
            sum[r][1] = _mm512_dpbf16_ps(sum[r][1], w1, both);
        }
    }
}

template <int R, bool FOUR>
__attribute__((always_inline)) inline void dot_quantised(const uint8_t* w, const Inputs& in, int64_t row, __m512 (&sum)[ROWS][2]) {
    const int64_t half = FOUR ? 256 : 512, group_bytes = 2 * half + (FOUR ? 128 : 64);
    const int64_t groups = in.groups;
    const __m512i nibble = _mm512_set1_epi8(15);
    const int8_t* x = in.bytes + row * groups * GROUP;
    const float* scales = in.scales + row * groups;
    const int32_t* offsets = in.offsets + row * groups;
    for (int64_t g = 0; g < groups; g++, w += group_bytes, x += GROUP, scales++, offsets++) {
#pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            __m512i v[8];
#pragma GCC unroll 8
            for (int j = 0; j < (FOUR ? 4 : 8); j++) {
                if (FOUR) _mm_prefetch((const char*)w + h * half + j * 64 + AHEAD, _MM_HINT_T0);
                v[j] = _mm512_loadu_si512(w + h * half + j * 64);
                if (FOUR) {
                    v[j + 4 * FOUR] = _mm512_and_si512(_mm512_srli_epi16(v[j], 4), nibble);
                    v[j] = _mm512_and_si512(v[j], nibble);
                }
            }
            __m512 scale = load_half(w + 2 * half + h * 32), minimum = FOUR ? load_half(w + 2 * half + 64 + h * 32) : scale;
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) {
                asm volatile("" ::: "memory");  // or the compiler keeps what both halves read, on the stack
                const int32_t* quads = (const int32_t*)(x + r * groups * GROUP);
                __m512i dot = FOUR ? _mm512_setzero_si512() : _mm512_set1_epi32(offsets[r * groups]);
#pragma GCC unroll 8
                for (int j = 0; j < 8; j++) dot = _mm512_dpbusd_epi32(dot, v[j], _mm512_set1_epi32(quads[j]));
                __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(scales[r * groups]));
                sum[r][h] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), both, sum[r][h]);
                if (FOUR) {
                    __m512 shift = _mm512_castsi512_ps(_mm512_set1_epi32(offsets[r * groups]));
                    sum[r][h] = _mm512_fmadd_ps(minimum, shift, sum[r][h]);
                }
            }
        }
    }
}

struct Call {
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

template <int R>
void rows_of_panel(const Call& call, const Inputs& in, int64_t panel, int64_t row) {
    __m512 sum[ROWS][2];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    const uint8_t* w = call.w + panel * panel_bytes(call.format, call.inputs);
    if (call.format == BF16) dot_bf16<R>(w, in, row, sum);
    else if (call.format == INT8) dot_quantised<R, false>(w, in, row, sum);
    else dot_quantised<R, true>(w, in, row, sum);
#pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        int64_t n = panel * PANEL + h * 16;
        __mmask16 mask = first_lanes(call.outputs - n);
        __m512 bias = call.bias ? _mm512_maskz_loadu_ps(mask, call.bias + n) : _mm512_setzero_ps();
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            __m512 value = _mm512_add_ps(sum[r][h], bias);
            int64_t at = (row + r) * call.outputs + n;
            if (call.y_wide) _mm512_mask_storeu_ps((float*)call.y + at, mask, value);
            else _mm256_mask_storeu_epi16((uint16_t*)call.y + at, mask, (__m256i)_mm512_cvtneps_pbh(value));
        }
    }
}

void panel_of_call(const Call& call, const Inputs& in, int64_t panel) {
    for (int64_t row = 0; row < call.rows; row += ROWS) {
        switch (std::min<int64_t>(ROWS, call.rows - row)) {
            case 1: rows_of_panel<1>(call, in, panel, row); break;
            case 2: rows_of_panel<2>(call, in, panel, row); break;
            case 3: rows_of_panel<3>(call, in, panel, row); break;
            case 4: rows_of_panel<4>(call, in, panel, row); break;
            case 5: rows_of_panel<5>(call, in, panel, row); break;
            case 6: rows_of_panel<6>(call, in, panel, row); break;
            case 7: rows_of_panel<7>(call, in, panel, row); break;
            default: rows_of_panel<8>(call, in, panel, row);
        }
    }
}

// The scratch memory of a calling thread; it stays, as the next call needs it again.
uint8_t* scratch(int64_t bytes) {
    thread_local std::vector<uint8_t> memory;
    if ((int64_t)memory.size() < bytes) memory.resize(bytes);
    return memory.data();
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int64_t hogwild_linear_bytes(int format, int64_t outputs, int64_t inputs) {
    return (outputs + PANEL - 1) / PANEL * panel_bytes(format, inputs);
}

// x [rows, inputs] and y [rows, outputs] are contiguous, float32 if `*_wide`, else bfloat16.
EXPORT void hogwild_linear(int format, const void* x, int x_wide, int64_t rows, int64_t inputs, const void* w,
                           const float* bias, void* y, int y_wide, int64_t outputs, int threads) {
    Call call{format, x, (bool)x_wide, rows, inputs, (const uint8_t*)w, bias, y, (bool)y_wide, outputs};
    Inputs in{(const uint16_t*)x, nullptr, nullptr, nullptr, (inputs + 1) / 2 * 2, (inputs + GROUP - 1) / GROUP};
    int64_t units = 0, panels = (outputs + PANEL - 1) / PANEL;  // units: pieces of x to be converted
    if (format != BF16) {
        units = rows * in.groups;
        in.bytes = (int8_t*)scratch(units * (GROUP + 8));
        in.scales = (float*)(in.bytes + units * GROUP);
        in.offsets = (int32_t*)(in.scales + units);
    } else if (x_wide || inputs % 2) {
        units = rows;
        in.pairs = (uint16_t*)scratch(rows * in.stride * 2);
    }
#pragma omp parallel num_threads(threads)
    {
        if (units && format == BF16) {
#pragma omp for
            for (int64_t u = 0; u < units; u++)
                for (int64_t k = 0; k < in.stride; k += 16) {
                    __m512 value = load(row_of(x, x_wide, u, inputs), x_wide, k, inputs);
                    _mm256_mask_storeu_epi16((uint16_t*)in.pairs + u * in.stride + k, first_lanes(in.stride - k),
                                             (__m256i)_mm512_cvtneps_pbh(value));
                }
        } else if (units) {
#pragma omp for
            for (int64_t u = 0; u < units; u++)
                quantise_group(row_of(x, x_wide, u / in.groups, inputs), x_wide, u % in.groups * GROUP, inputs,
                               format == INT4, in.bytes + u * GROUP, in.scales + u, in.offsets + u);
        }
// Runs of neighbouring panels, shorter towards the end: memory likes long ones, but where another program takes a core
// for a while, nobody must wait for it (measured on such a machine: 39 ms a pass in place of 54 to 67).
#pragma omp for schedule(guided, 2) nowait
        for (int64_t p = 0; p < panels; p++) panel_of_call(call, in, p);
    }
}

// ---- packing ----------------------------------------------------------------------------------------------------

namespace {

uint16_t to_half(float value) { return _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT); }

// A group of weights of one output, in its place in the panel: `lane` is the output's number in the panel.
void pack_int8(__m512 a, __m512 b, uint8_t* group, int64_t lane) {
    float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
    uint16_t half = to_half(largest / 127.0f);
    float scale = _cvtsh_ss(half), inverse = scale > 0 ? 1.0f / scale : 0.0f;
    alignas(16) uint8_t bytes[32];
    const __m512i low = _mm512_set1_epi32(-127), high = _mm512_set1_epi32(127), middle = _mm512_set1_epi32(128);
    for (int part = 0; part < 2; part++) {
        __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(part ? b : a, _mm512_set1_ps(inverse)));
        q = _mm512_add_epi32(_mm512_min_epi32(_mm512_max_epi32(q, low), high), middle);
        _mm_store_si128((__m128i*)(bytes + part * 16), _mm512_cvtepi32_epi8(q));
    }
    uint8_t* to = group + lane / 16 * 512 + lane % 16 * 4;
    for (int j = 0; j < 8; j++) memcpy(to + j * 64, bytes + j * 4, 4);
    memcpy(group + 1024 + lane * 2, &half, 2);
}

struct Grid {
    uint16_t scale, minimum;
    __m512i a, b;
    float error;
};

// The nearest points of a grid to the weights, and the sum of squared errors.
void settle(Grid& grid, __m512 a, __m512 b) {
    float scale = _cvtsh_ss(grid.scale);
    __m512 minimum = _mm512_set1_ps(_cvtsh_ss(grid.minimum)), inverse = _mm512_set1_ps(scale > 0 ? 1.0f / scale : 0.0f);
    __m512 error = _mm512_setzero_ps();
    for (int part = 0; part < 2; part++) {
        __m512 w = part ? b : a;
        __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_sub_ps(w, minimum), inverse));
        q = _mm512_min_epi32(_mm512_max_epi32(q, _mm512_setzero_si512()), _mm512_set1_epi32(15));
        __m512 off = _mm512_sub_ps(w, _mm512_fmadd_ps(_mm512_cvtepi32_ps(q), _mm512_set1_ps(scale), minimum));
        error = _mm512_fmadd_ps(off, off, error);
        (part ? grid.b : grid.a) = q;
    }
    grid.error = _mm512_reduce_add_ps(error);
}

// The scale and minimum that fit best to the weights once each has its level: least squares.
void refit(Grid& grid, __m512 a, __m512 b, float sum_w) {
    __m512 p = _mm512_cvtepi32_ps(grid.a), q = _mm512_cvtepi32_ps(grid.b);
    float sum_q = _mm512_reduce_add_ps(_mm512_add_ps(p, q));
    float sum_qq = _mm512_reduce_add_ps(_mm512_fmadd_ps(p, p, _mm512_mul_ps(q, q)));
    float sum_qw = _mm512_reduce_add_ps(_mm512_fmadd_ps(p, a, _mm512_mul_ps(q, b)));
    float spread = GROUP * sum_qq - sum_q * sum_q;
    if (spread <= 0) return;
    float scale = (GROUP * sum_qw - sum_q * sum_w) / spread;
    if (!(scale > 0)) return;
    grid.scale = to_half(scale);
    grid.minimum = to_half((sum_w - scale * sum_q) / GROUP);
}

// Weights that come from some grid of up to 16 levels, but do not reach both of its ends, are found by trying all
// numbers of levels; more than 15 steps cut outliers off.
void pack_int4(__m512 a, __m512 b, uint8_t* group, int64_t lane) {
    float low = _mm512_reduce_min_ps(_mm512_min_ps(a, b)), high = _mm512_reduce_max_ps(_mm512_max_ps(a, b));
    float sum_w = _mm512_reduce_add_ps(_mm512_add_ps(a, b));
    Grid best;
    best.error = __builtin_inff();
    float enough = 1e-5f * _mm512_reduce_add_ps(_mm512_fmadd_ps(a, a, _mm512_mul_ps(b, b)));  // it came from this grid
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
    alignas(16) uint8_t bytes[16];
    _mm_store_si128((__m128i*)bytes, _mm512_cvtepi32_epi8(_mm512_or_si512(best.a, _mm512_slli_epi32(best.b, 4))));
    uint8_t* to = group + lane / 16 * 256 + lane % 16 * 4;
    for (int j = 0; j < 4; j++) memcpy(to + j * 64, bytes + j * 4, 4);
    memcpy(group + 512 + lane * 2, &best.scale, 2);
    memcpy(group + 576 + lane * 2, &best.minimum, 2);
}

}  // namespace

// w [outputs, inputs] is contiguous, float32 if `wide`, else bfloat16; `packed` holds hogwild_linear_bytes.
EXPORT void hogwild_linear_pack(int format, const void* w, int wide, int64_t outputs, int64_t inputs, void* packed,
                                int threads) {
    int64_t bytes = panel_bytes(format, inputs), panels = (outputs + PANEL - 1) / PANEL;
    int64_t step = format == BF16 ? 16 : GROUP;  // inputs that are packed together
    int64_t step_bytes = format == BF16 ? 16 * PANEL * 2 : format == INT8 ? 1088 : 640;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t p = 0; p < panels; p++) {
        uint8_t* panel = (uint8_t*)packed + p * bytes;
        for (int64_t k = 0; k < inputs; k += step)
            for (int64_t lane = 0; lane < PANEL; lane++) {
                int64_t n = p * PANEL + lane, length = n < outputs ? inputs : 0;
                const void* row = row_of(w, wide, std::min(n, outputs - 1), inputs);
                uint8_t* group = panel + k / step * step_bytes;
                __m512 a = load(row, wide, k, length);
                if (format == BF16) {
                    alignas(32) uint32_t pairs[8];
                    _mm256_store_si256((__m256i*)pairs, (__m256i)_mm512_cvtneps_pbh(a));
                    for (int64_t j = 0; j < std::min<int64_t>(8, (inputs - k + 1) / 2); j++)
                        memcpy(group + j * 128 + lane * 4, pairs + j, 4);
                    continue;
                }
                __m512 b = load(row, wide, k + 16, length);
                format == INT8 ? pack_int8(a, b, group, lane) : pack_int4(a, b, group, lane);
            }
    }
}
