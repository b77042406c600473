#include "tensor/dense_kernels.h"
#include "tensor/lanes_plain.h"
#include "tensor/ops.h"

namespace tensor {
namespace {

constexpr int tile_rows = 3;  // twelve registers of sums
static_assert(tile_rows_multiple % tile_rows == 0);

#include "tensor/dense_body.inc"
// Apart from the above only to be short.
#include "tensor/conv_body.inc"

// What dense_amx.cc has the processor do, for tests on any machine.
void begin_tiles() {}
void end_tiles() {}
void put_half(float number, int64_t at, Halves<uint16_t> to) {
  to.high[at] = f32_to_bf16(number);
  if (to.low) to.low[at] = f32_to_bf16(number - bf16_to_f32(to.high[at]));
}
void put_halves(Vf numbers, Halves<uint16_t> to) {
  for (int i = 0; i < vector_width; ++i) put_half(numbers[i], i, to);
}
void interleave(const float* first, const float* second, Halves<uint16_t> to) {
  for (int lane = 0; lane < dense_panel; ++lane) {
    put_half(first[lane], 2 * lane, to);
    put_half(second[lane], 2 * lane + 1, to);
  }
}
Vf reciprocal(Vf x) { return div(splat(1.0f), x); }
#include "tensor/dense_tiles.inc"

float product_of_halves(const uint16_t* a, const uint16_t* b) {
  return bf16_to_f32(*a) * bf16_to_f32(*b);
}
float row_times_lane(const TileBlock& x, int row, int64_t second_rows, int lane, int64_t panel,
                     float sum) {
  for (int i = 0; i < x.depth; ++i) {
    const int64_t a =
        second_rows + i / tile_depth * tile_numbers + row * tile_depth + i % tile_depth;
    const int64_t b = panel + i / 2 * (2 * dense_panel) + lane * 2 + i % 2;
    if (x.a.low) {
      sum += product_of_halves(x.a.low + a, x.b.high + b);
      sum += product_of_halves(x.a.high + a, x.b.low + b);
    }
    sum += product_of_halves(x.a.high + a, x.b.high + b);
  }
  return sum;
}
template <bool more_rows, bool more_panels>
void multiply_block(const TileBlock& x) {
  for (int row = 0; row < (more_rows ? 2 : 1) * tile_side; ++row) {
    for (int p = 0; p < (more_panels ? 2 : 1); ++p) {
      for (int lane = 0; lane < dense_panel; ++lane) {
        float& y = x.y[p * x.next_y + row * x.next_y_row + lane];
        y = row_times_lane(x, row % tile_side, row / tile_side * x.next_a, lane, p * x.next_b,
                           x.accumulate ? y : 0.0f);
      }
    }
  }
}

}  // namespace

const DenseKernels& dense_kernels_scalar() {
  static constexpr DenseKernels table{
      product, word_product, finish,       widen,      round_step,  softmax,      layer_norm,
      affine,  channel_sums, conv_weights, conv_input, conv_output, &tile_kernels};
  return table;
}

}  // namespace tensor
