#include "tensor/attention_kernels.h"
#include "tensor/lanes512.h"
#include "tensor/ops.h"

namespace tensor {
namespace {

constexpr int wide_few = 4;   // 3 rows x 64 columns: twelve sums
constexpr int wide_many = 2;  // 6 rows x 32 columns: twelve sums

#include "tensor/attention_body.inc"

}  // namespace

const AttentionKernels& attention_kernels_avx512() {
  static constexpr AttentionKernels table{scores, softmax, values, shared_values, narrow};
  return table;
}

}  // namespace tensor
