// y = W x for quantised W, the place where nearly all time goes. Weights are packed once into an
// arena (packed.h) and keep the file's bits; activations are rounded to int8 as ggml rounds them
// (group of 32 or 256), or stay f32 in exact mode. One function, many kernels: scalar, AVX2 and
// AVX-512 VNNI give the same integers, and within one ISA a column's result is the same bit for bit
// at every number of columns and threads (design: reduction order in docs/kernels.md).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/pool.h"
#include "base/result.h"
#include "tensor/dtype.h"
#include "tensor/packed.h"

namespace tensor {

enum class Isa { scalar, avx2, avx512_vnni, amx };  // amx: AVX-512 VNNI with tiles of int8
// The best this machine has, or what NAUTILE_ISA (scalar, avx2, avx512, amx) forces; refused with a
// reason if the machine lacks it. Asks the kernel for the tiles of amx, for the whole process.
// Chosen once by the composition root and passed down.
base::Result<Isa> choose_isa(std::string_view forced);
std::string_view isa_name(Isa isa);

enum class Precision { int8, exact };  // exact: f32 activations on decoded weights, for goldens

class Workspace;  // workspace.h: bump memory sized once; no allocation per token

// The rounded forms of n activation rows that a set of matrices needs. Memory is the workspace's.
struct QuantRows;  // activations.h

// Workspace bytes that quantize_rows takes for n rows of k floats, at most.
uint64_t quant_rows_bytes(int n, int k);

// n rows of k floats -> the forms that every matrix of `for_matrices` needs (they may differ: one x
// feeds Q4_K and Q6_K). With Precision::exact only the f32 rows are referenced.
QuantRows quantize_rows(const float* x /* (n, k) */, int n, int k,
                        std::span<const PackedMatrix* const> for_matrices, Precision precision,
                        Isa isa, Workspace& workspace, base::Pool& pool);

struct LinearOut {
  float* y;                     // (n, stride)
  int64_t stride;               // floats from one row of y to the next, >= rows of W
  const float* bias = nullptr;  // (rows)? added once
  bool accumulate = false;      // y += Wx (residual) instead of y = Wx
};
void linear(const PackedMatrix& w, const QuantRows& x, const LinearOut& out, Isa isa,
            base::Pool& pool);

// Several matrices as one operation, one join: on all of x (q, k, v), or each on activation rows of
// its own (experts, heads).
struct LinearJob {
  const PackedMatrix* w;
  LinearOut out;   // y: of the job's first row of x
  int first = 0;   // row of x
  int count = -1;  // rows of x; -1: all
};
void linear_many(std::span<const LinearJob> jobs, const QuantRows& x, Isa isa, base::Pool& pool);

// y = silu(gate x) * (up x), as one operation: (n, rows of gate).
void gate_up_silu(const PackedMatrix& gate, const PackedMatrix& up, const QuantRows& x, float* y,
                  int64_t stride, Isa isa, base::Pool& pool);

// The same for several pairs, each on rows of its own.
struct GateUpJob {
  const PackedMatrix* gate;
  const PackedMatrix* up;
  float* y;  // (count, stride), of the job's first row of x
  int64_t stride;
  int first = 0;
  int count = -1;
};
void gate_up_silu_many(std::span<const GateUpJob> jobs, const QuantRows& x, Isa isa,
                       base::Pool& pool);

}  // namespace tensor
