// The inner loops behind dense.h, conv.h, full_attention.h and norms.h, one table per Isa. Used by
// their .cc files only.
//
// A panel is 16 outputs, interleaved: panel[input][16]. Rows are what stands on the other side of
// a product, row-major. Each number of a result is one chain of additions in the order of the
// inputs, whatever the rows around it.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/linear.h"

namespace tensor {

inline constexpr int dense_panel = 16;
// Inputs of one step: 16 KiB of panel and 6 KiB of rows, which a small L1 holds.
inline constexpr int dense_step = 256;
// Rounded numbers: |row| <= row_limit and |panel| <= panel_limit, so that the sum of a step's
// products fits in 32 bits. Rows have outliers and get the longer code.
inline constexpr int row_limit = 4095, panel_limit = 2047;
static_assert(int64_t{row_limit} * panel_limit * dense_step < int64_t{1} << 31);
// Every Isa's tile of rows divides it.
inline constexpr int tile_rows_multiple = 12;

struct WordProduct {     // one step of rounded numbers
  const int16_t* a;      // (rows, dense_step)
  const float* a_scale;  // (rows)
  int rows;
  const int16_t* panel;  // (dense_step / 2, 16, 2)
  const float* scale;    // (16)
  float* y;              // (rows, 16)
};

// Products on tiles (AMX): numbers of bf16, sums of f32. Where 8 bits are too few a number comes in
// two halves, the bf16 nearest to it and the bf16 nearest to what is left: of four products of
// halves the three that matter are added, which keeps 16 bits of both numbers.
inline constexpr int tile_depth = 32;  // inputs of one tile
inline constexpr int tile_side = 16;   // its rows, or outputs
inline constexpr int tile_numbers = tile_side * tile_depth;
static_assert(tile_side == dense_panel);
inline int64_t tile_padded(int64_t inputs) {
  return (inputs + tile_depth - 1) / tile_depth * tile_depth;
}

template <class Number>
struct Halves {
  Number* high = nullptr;
  Number* low = nullptr;  // null: high is all
};

struct TileProduct {  // count products of the same shape, next_... numbers from one to the next
  Halves<const uint16_t> a;  // [row / 16][depth / 32][16][32]
  int64_t next_a_rows;       // numbers to the next 16 rows
  int rows, depth;           // whole tiles
  Halves<const uint16_t> b;  // [panel][depth / 2][16][2]
  int panels;
  float* y;         // [panel][row][16]
  bool accumulate;  // y is added to
  int64_t next_b_panel, next_y_panel, next_y_row;
  int count;
  int64_t next_a, next_b, next_y;
};

struct TileFinish {  // of a product whose results are rows of the next one, for one panel
  const float* acc;  // (rows, 16)
  int rows;
  const float* bias;  // (16)
  bool gelu;
  uint16_t* to;       // the first row's place
  int64_t next_rows;  // numbers from 16 rows to the next 16
};

struct TileKernels {
  // One row of rows: x[0 .. n - 1] to its places in tiles, zeros behind it to the end of a tile.
  void (*put_row)(const float* x, int n, Halves<uint16_t> to);
  // One panel: numbers (depth, 16), `stride` floats from one to the next, zeros behind them.
  void (*put_panel)(const float* numbers, int64_t stride, int depth, Halves<uint16_t> to);
  void (*finish)(const TileFinish& x);
  // put_row of e^(scale (x[i] - maximum)); returns their sum. n > 0, scale > 0. Behind x[n - 1] is
  // room to the end of a tile.
  float (*put_softmax)(float* x, int n, float scale, uint16_t* to);
  void (*product)(const TileProduct& x);
  // DenseKernels' conv_input into halves: each of the 36 a row of rows, `spread` numbers apart.
  void (*conv_input)(const float* pixels, int64_t row_stride, int channels, Halves<uint16_t> to,
                     int64_t spread);
};

struct Finish {      // the end of a product, for `rows` rows of one panel
  const float* acc;  // (rows, 16)
  int rows;
  const float* bias;  // (16)
  const float* add;   // (rows, stride)? may be y
  bool gelu;
  float* y;  // (rows, stride)
  int64_t stride;
};

struct ConvTileOutput {
  const float* bias;  // (16)
  const float* add;   // like y, with its strides; may be null, may be y
  float* y;           // 4 x 4 pixels of 16 channels
  int64_t row_stride, pixel_stride;
};

struct DenseKernels {
  // y[r] (+)= sum over i < depth of a[r * a_stride + i] * panel[i], 16 numbers a row.
  void (*product)(const float* a, int64_t a_stride, int rows, const float* panel, int depth,
                  float* y, int64_t y_stride, bool accumulate);
  void (*word_product)(const WordProduct& x);  // y += product * a_scale * scale
  void (*finish)(const Finish& x);
  // f16, bf16 or f32 to f32; n a multiple of 16.
  void (*widen)(Dtype dtype, const uint8_t* from, float* to, int64_t n);
  // x[i] / scale to the nearest whole number, |q| <= limit, for one step of n <= dense_step
  // numbers; zeros behind them up to dense_step.
  void (*round_step)(const float* x, int n, int limit, int16_t* q, float* scale);
  // x[i] = e^(scale (x[i] - maximum)); returns their sum. n > 0, scale > 0.
  float (*softmax)(float* x, int n, float scale);
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float* out, int dim,
                     float eps);
  // out = x * scale + shift, for each channel, then swish if asked for. channels % 16 == 0.
  void (*affine)(const float* x, const float* scale, const float* shift, int64_t positions,
                 int channels, bool swish, float* out);
  // sums[c] += x, sums[channels + c] += x^2. channels % 16 == 0.
  void (*channel_sums)(const float* x, int64_t positions, int channels, double* sums);

  // F(4x4, 3x3), conv.cc. 36 numbers a tile and channel, `spread` floats from one to the next.
  void (*conv_weights)(Dtype dtype, const uint8_t* w /* (9, in, 16) */, int in, float* u,
                       int64_t spread);  // u[36][in][16]
  void (*conv_input)(const float* pixels /* 6 x 6 */, int64_t row_stride, int channels, float* v,
                     int64_t spread);  // v[36][channels]; channels % 16 == 0
  void (*conv_output)(const float* m /* [36][16] */, int64_t spread, const ConvTileOutput& out);

  const TileKernels* tiles = nullptr;  // of AMX; and of plain C++, for tests
};

const DenseKernels& dense_kernels(Isa isa);
const DenseKernels& dense_kernels_scalar();
const DenseKernels& dense_kernels_avx2();
const DenseKernels& dense_kernels_avx512();
const DenseKernels& dense_kernels_amx();

}  // namespace tensor
