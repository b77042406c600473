#include "tensor/dense_kernels.h"
#include "tensor/lanes256.h"
#include "tensor/ops.h"

namespace tensor {
namespace {

constexpr int tile_rows = 6;  // twelve registers of sums
static_assert(tile_rows_multiple % tile_rows == 0);

#include "tensor/dense_body.inc"
// Apart from the above only to be short.
#include "tensor/conv_body.inc"

}  // namespace

const DenseKernels& dense_kernels_avx2() {
  static constexpr DenseKernels table{product,      word_product, finish,     widen,
                                      round_step,   softmax,      layer_norm, affine,
                                      channel_sums, conv_weights, conv_input, conv_output};
  return table;
}

}  // namespace tensor
