// 3 x 3 convolution of a picture (height, width, channels) with a border of zeros, by Winograd's
// F(4x4, 3x3): a quarter of the products (conv_body.inc has the matrices). What stands before it in
// a network is part of it: a group norm with swish, or doubling to the nearest pixel.
//
// The picture is cut into tiles of 4 x 4 pixels, and worked on in bands of whole rows of tiles:
//
//   once        conv_weights    the weights, transformed
//   each band   conv_input      its pixels, bordered and transformed
//               conv_output     products, transformed back; may be cut into ranges of outputs
// The products are of f32, or on tiles of numbers in two halves of bf16 (dense_kernels.h), which is
// as good as 16 bits of each.
//
// The result does not depend on the bands, the ranges or the threads. Memory is the caller's.
#pragma once

#include <cstdint>

#include "base/pool.h"
#include "tensor/dtype.h"
#include "tensor/linear.h"

namespace tensor {

struct ConvMatrix {
  Dtype dtype = Dtype::f32;  // f32, f16, bf16
  int in = 0, out = 0;
  const uint8_t* data = nullptr;  // (panels of 16 outputs, 9, in, 16)

  int panels() const { return (out + 15) / 16; }
};
uint64_t conv_bytes(Dtype dtype, int in, int out);
// Packs panels first .. first + count - 1 into `memory`, the whole matrix's. Any thread. f16 and
// bf16: the numbers came from that type.
void pack_conv(const ConvMatrix& w, uint8_t* memory, int first, int count,
               const float* numbers /* (outputs of these panels, in, 3, 3) */);

struct ConvShape {
  int height = 0, width = 0;  // of the result, and of the picture unless it is doubled
  int in = 0, out = 0;
  bool tiles = false;  // products on tiles, of an Isa that has them

  int tile_rows() const { return (height + 3) / 4; }
  int tile_columns() const { return (width + 3) / 4; }
  // Rows of tiles whose transformed pixels stay in the outer cache; at least 1.
  int band_rows() const;
  // Multiplications for `rows` rows of tiles and `panels` panels of outputs.
  uint64_t operations(int rows, int panels) const;
};

// Sizes of the memory that a convolution works in, in floats, for bands of `rows`.
struct ConvSizes {
  uint64_t weights, pixels, tiles, products;
};
ConvSizes conv_sizes(const ConvShape& shape, int rows, int threads);
struct ConvMemory {
  float *weights, *pixels, *tiles, *products;
};

struct ConvInput {
  const float* x = nullptr;      // (height, width, in), or half of each way if `doubled`
  const float* scale = nullptr;  // (in)? then pixels are swish(x * scale + shift)
  const float* shift = nullptr;
  bool doubled = false;  // not with a scale
};
struct ConvOutput {
  float* y = nullptr;           // (height, width, out)
  const float* bias = nullptr;  // (out)
  const float* add = nullptr;   // like y; may be y
};
struct ConvBand {
  int first, count;  // rows of tiles
};

void conv_weights(const ConvShape& shape, const ConvMatrix& w, const ConvMemory& memory, Isa isa,
                  base::Pool& pool);
void conv_input(const ConvShape& shape, const ConvInput& input, ConvBand band,
                const ConvMemory& memory, Isa isa, base::Pool& pool);
// Panels first_panel .. first_panel + panels - 1; first_panel is a multiple of 4.
void conv_output(const ConvShape& shape, const ConvOutput& output, ConvBand band, int first_panel,
                 int panels, const ConvMemory& memory, Isa isa, base::Pool& pool);

}  // namespace tensor
