// y = W x for W that keeps its precision: the matrices of pictures (vision tower, VQ decoder),
// which meet hundreds of rows at a time. Sums are f32 in one order for each number, whatever the
// number of rows, panels and threads. Weights are packed once, 16 outputs interleaved:
//
//   f32, f16, bf16   panel[input][16], numbers as the file has them, widened on the way
//   words            steps of 256 inputs: [input / 2][16][2] whole numbers of 12 bits, 16 f32
//                    scales; rows are rounded to 13 bits a step. Sums of a step are exact integers.
//                    Twice as fast as f32 on AVX2, and nearer to f32 than bf16 is. On AMX the
//                    same sums are made of bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "base/pool.h"
#include "tensor/dense_kernels.h"
#include "tensor/dtype.h"
#include "tensor/linear.h"

namespace tensor {

enum class DenseForm : uint8_t { f32, f16, bf16, words };

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
// [step][row][256]. Memory is the caller's: bytes(...), 64-byte aligned.
class DenseRows {
 public:
  static uint64_t bytes(DenseForm form, int rows, int64_t cols);
  DenseRows(DenseForm form, int rows, int64_t cols, uint8_t* memory, const DenseKernels& kernels);

  // Any thread, any order; each row before the product.
  void set(int row, const float* x /* (cols) */) const;
  int rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  bool words() const { return words_; }
  const DenseKernels& kernels() const { return kernels_; }
  const float* numbers(int step, int row) const {
    return numbers_ + (int64_t{step} * rows_ + row) * dense_step;
  }
  const int16_t* words(int step, int row) const {
    return whole_ + (int64_t{step} * rows_ + row) * dense_step;
  }
  const float* scales(int step, int row) const { return scales_ + int64_t{step} * rows_ + row; }
  // In place of words, where the kernels take bytes: where a row's first run stands in the first of
  // the planes, which are plane_bytes() apart.
  int8_t* bytes(int step, int row) const {
    return bytes_ + int64_t{step} * byte_planes * plane_bytes() +
           int64_t{row / dense_panel} * dense_panel * dense_step + row % dense_panel * byte_run;
  }
  int64_t plane_bytes() const { return int64_t{padded_rows(rows_)} * dense_step; }

 private:
  static int padded_rows(int rows) { return (rows + dense_panel - 1) / dense_panel * dense_panel; }

  const DenseKernels& kernels_;
  bool words_;
  int rows_;
  int64_t cols_;
  float* numbers_ = nullptr;
  int16_t* whole_ = nullptr;
  int8_t* bytes_ = nullptr;
  float* scales_ = nullptr;
};

struct DenseOut {
  float* y;                     // (rows of x, stride)
  int64_t stride;               // floats from one row to the next
  const float* bias = nullptr;  // (outputs)?
  const float* add = nullptr;   // (rows of x, stride)? added; may be y
  bool gelu = false;            // of the whole, with the exact erf
};
struct PanelRange {
  int first, count;  // panels of 16 outputs
};
// x as rows for w's form. Computes the outputs of `panels`.
void dense(const DenseMatrix& w, const DenseRows& x, PanelRange panels, const DenseOut& out,
           Isa isa, base::Pool& pool);

}  // namespace tensor
