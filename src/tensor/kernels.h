// The inside of linear(): what an ISA provides. A panel kernel computes 32 rows (two halves) of the
// product for some columns over all of K. The reduction order is the same in every kernel, so their
// results agree bit for bit; docs/kernels.md writes it down.
#pragma once

#include <cstdint>

#include "tensor/activations.h"
#include "tensor/layout.h"

namespace tensor {

// Columns that one call takes at most; bounds the kernels' scratch on the stack.
inline constexpr int kernel_columns_max = 128;

struct PanelJob {
  const PackedMatrix* w;
  int64_t panel;
  const QuantRows* x;
  int first_column;
  int columns;  // 1..kernel_columns_max
  float* acc;   // (columns, 32), 64-byte aligned, overwritten; rows that do not exist are whatever
};
using PanelKernel = void (*)(const PanelJob& job);

struct KernelSet {
  // The int8 kernel of a packed dtype, or nullptr (then the f32 kernel serves).
  PanelKernel (*quantized)(Dtype dtype);
  // f32 activations on decoded weights, f32 sums: F32, F16, BF16 and types without an int8 kernel.
  PanelKernel (*floating)(Dtype dtype);
  // f32 activations on decoded weights, f64 sums.
  PanelKernel exact;
  // gate[i] = silu(gate[i]) * up[i]; count is a multiple of 16, both 64-byte aligned.
  void (*silu_product)(float* gate, const float* up, int64_t count);
  QuantizeSuperblock quantize;
  // Bytes of activations that stay in the second-level cache while panels pass.
  int64_t cache_bytes;
};
const KernelSet& scalar_kernels();
const KernelSet& avx2_kernels();
const KernelSet& avx512_kernels();
const KernelSet& amx_kernels();
const KernelSet& kernels_of(Isa isa);

}  // namespace tensor
