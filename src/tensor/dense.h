// y = W x for W that keeps its precision: the matrices of pictures (vision tower, VQ decoder),
// which meet hundreds of rows at a time. Sums are f32 in one order for each number, whatever the
// number of rows, panels and threads. Weights are packed once, 16 outputs interleaved:
//
//   f32, f16, bf16   panel[input][16], numbers as the file has them, widened on the way
//   words            steps of 256 inputs: [input / 2][16][2] whole numbers of 12 bits, 16 f32
//                    scales; rows are rounded to 13 bits a step. Sums of a step are exact integers.
//                    Twice as fast as f32 on AVX2, and nearer to f32 than bf16 is.
//   tiles            [input / 2][16][2] of bf16, whole tiles of 32 inputs; rows are rounded to bf16
//                    too. For kernels that have tiles: AMX, and plain C++ for tests.
#pragma once

#include <cstdint>
#include <vector>

#include "base/pool.h"
#include "tensor/dense_kernels.h"
#include "tensor/dtype.h"
#include "tensor/linear.h"

namespace tensor {

enum class DenseForm : uint8_t { f32, f16, bf16, words, tiles };

struct DenseMatrix {
  DenseForm form = DenseForm::f32;
  int64_t rows = 0, cols = 0;  // outputs, inputs
  const uint8_t* data = nullptr;

  int panels() const { return static_cast<int>((rows + dense_panel - 1) / dense_panel); }
};

uint64_t dense_bytes(DenseForm form, int64_t rows, int64_t cols);
// Packs rows first .. first + count - 1, given as f32, into `memory`, the whole matrix's. `first`
// is a multiple of 16, `count` too unless it is the last rows. Any thread. f16 and bf16: the
// numbers came from that type.
void pack_dense(const DenseMatrix& w, uint8_t* memory, int64_t first, int64_t count,
                const float* numbers /* (count, cols) */);

// The rows on the other side, in the form that a matrix's form needs: in steps of 256 inputs,
// [step][row][256], or in tiles. Memory is the caller's: bytes(...), 64-byte aligned.
class DenseRows {
 public:
  static uint64_t bytes(DenseForm form, int rows, int64_t cols);
  DenseRows(DenseForm form, int rows, int64_t cols, uint8_t* memory, const DenseKernels& kernels);

  // Any thread, any order; each row before the product.
  void set(int row, const float* x /* (cols) */) const;
  int rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  bool fits(DenseForm form) const { return kind_of(form) == kind_; }
  const DenseKernels& kernels() const { return kernels_; }
  const float* numbers(int step, int row) const {
    return numbers_ + (int64_t{step} * rows_ + row) * dense_step;
  }
  const int16_t* words(int step, int row) const {
    return whole_ + (int64_t{step} * rows_ + row) * dense_step;
  }
  const float* scales(int step, int row) const { return scales_ + int64_t{step} * rows_ + row; }
  // Where the row's first run stands.
  uint16_t* tiles(int row) const {
    return tiles_ + row / tile_side * tile_padded(cols_) * tile_side + row % tile_side * tile_depth;
  }

 private:
  enum class Kind : uint8_t { numbers, words, tiles };
  static Kind kind_of(DenseForm form) {
    if (form == DenseForm::words) return Kind::words;
    return form == DenseForm::tiles ? Kind::tiles : Kind::numbers;
  }

  const DenseKernels& kernels_;
  Kind kind_;
  int rows_;
  int64_t cols_;
  float* numbers_ = nullptr;
  int16_t* whole_ = nullptr;
  uint16_t* tiles_ = nullptr;
  float* scales_ = nullptr;
};

struct DenseOut {
  float* y;                         // (rows of x, stride)
  int64_t stride;                   // floats from one row to the next
  const float* bias = nullptr;      // (outputs)?
  const float* add = nullptr;       // (rows of x, stride)? added; may be y
  bool gelu = false;                // of the whole, with the exact erf
  const DenseRows* rows = nullptr;  // in tiles: these get the results in place of y; no `add`
};
struct PanelRange {
  int first, count;  // panels of 16 outputs
};
// x as rows for w's form. Computes the outputs of `panels`.
void dense(const DenseMatrix& w, const DenseRows& x, PanelRange panels, const DenseOut& out,
           Isa isa, base::Pool& pool);

}  // namespace tensor
