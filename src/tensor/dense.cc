#include "tensor/dense.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "tensor/arena.h"

namespace tensor {
namespace {

constexpr int block_rows = 96;   // a multiple of every tile; a step of them is 96 KiB of floats
constexpr int block_panels = 4;  // share what is read of the rows
// On tiles: so many inputs of the rows, of the panels and all sums lie in the second-level cache
// together.
constexpr int tile_block_rows = 288, tile_block_panels = 8, tile_block_depth = 1024;
constexpr int64_t step_words_bytes = dense_step * dense_panel * sizeof(int16_t);
constexpr int64_t step_bytes = step_words_bytes + dense_panel * sizeof(float);

int64_t steps_of(int64_t cols) { return (cols + dense_step - 1) / dense_step; }
int element_bytes(DenseForm form) { return form == DenseForm::f32 ? 4 : 2; }

Dtype dtype_of(DenseForm form) {
  switch (form) {
    case DenseForm::f16:
      return Dtype::f16;
    case DenseForm::bf16:
      return Dtype::bf16;
    default:
      return Dtype::f32;
  }
}

int64_t panel_bytes(DenseForm form, int64_t cols) {
  if (form == DenseForm::words) return steps_of(cols) * step_bytes;
  if (form == DenseForm::tiles) return tile_padded(cols) * dense_panel * sizeof(uint16_t);
  return cols * dense_panel * element_bytes(form);
}

void put_number(DenseForm form, uint8_t* memory, int64_t index, float number) {
  if (form == DenseForm::f32) {
    std::memcpy(memory + index * 4, &number, 4);
    return;
  }
  const uint16_t bits = form == DenseForm::f16 ? f32_to_f16(number) : f32_to_bf16(number);
  std::memcpy(memory + index * 2, &bits, 2);
}

void pack_numbers(DenseForm form, int64_t cols, int outputs, const float* numbers, uint8_t* panel) {
  for (int64_t i = 0; i < cols; ++i) {
    for (int lane = 0; lane < dense_panel; ++lane) {
      put_number(form, panel, i * dense_panel + lane,
                 lane < outputs ? numbers[lane * cols + i] : 0.0f);
    }
  }
}

void pack_words(int64_t cols, int outputs, const float* numbers, uint8_t* panel) {
  for (int64_t step = 0; step < steps_of(cols); ++step) {
    auto* words = reinterpret_cast<int16_t*>(panel + step * step_bytes);
    auto* scales = reinterpret_cast<float*>(panel + step * step_bytes + step_words_bytes);
    std::memset(words, 0, step_bytes);
    const int depth = static_cast<int>(std::min<int64_t>(dense_step, cols - step * dense_step));
    for (int lane = 0; lane < outputs; ++lane) {
      int16_t rounded[dense_step];
      dense_kernels_scalar().round_step(numbers + lane * cols + step * dense_step, depth,
                                        panel_limit, rounded, &scales[lane]);
      for (int i = 0; i < dense_step; ++i) {
        words[(i / 2 * dense_panel + lane) * 2 + i % 2] = rounded[i];
      }
    }
  }
}

void pack_tiles(int64_t cols, int outputs, const float* numbers, uint8_t* panel) {
  std::memset(panel, 0, panel_bytes(DenseForm::tiles, cols));
  auto* to = reinterpret_cast<uint16_t*>(panel);
  for (int lane = 0; lane < outputs; ++lane) {
    for (int64_t i = 0; i < cols; ++i) {
      to[(i / 2 * dense_panel + lane) * 2 + i % 2] = f32_to_bf16(numbers[lane * cols + i]);
    }
  }
}

// One block of a product: rows x panels, on one thread.
struct Block {
  const DenseMatrix& w;
  const DenseRows& x;
  const DenseOut& out;
  const DenseKernels& kernels;
  int first_row, rows, first_panel, panels;
};

// acc[panel] = the sums of the block, (rows, 16).
void multiply(const Block& b, float (*acc)[block_rows * dense_panel]) {
  const bool words = b.w.form == DenseForm::words;
  const int64_t cols = b.w.cols;
  alignas(64) float widened[dense_step * dense_panel];
  for (int step = 0; step < steps_of(cols); ++step) {
    const int depth = static_cast<int>(std::min<int64_t>(dense_step, cols - step * dense_step));
    for (int p = 0; p < b.panels; ++p) {
      const uint8_t* panel = b.w.data + (b.first_panel + p) * panel_bytes(b.w.form, cols);
      if (words) {
        const uint8_t* place = panel + step * step_bytes;
        b.kernels.word_product({b.x.words(step, b.first_row), b.x.scales(step, b.first_row), b.rows,
                                reinterpret_cast<const int16_t*>(place),
                                reinterpret_cast<const float*>(place + step_words_bytes), acc[p]});
        continue;
      }
      const uint8_t* place =
          panel + int64_t{step} * dense_step * dense_panel * element_bytes(b.w.form);
      const auto* numbers = reinterpret_cast<const float*>(place);
      if (b.w.form != DenseForm::f32) {
        b.kernels.widen(dtype_of(b.w.form), place, widened, depth * dense_panel);
        numbers = widened;
      }
      b.kernels.product(b.x.numbers(step, b.first_row), dense_step, b.rows, numbers, depth, acc[p],
                        dense_panel, step > 0);
    }
  }
}

// The last panel of a matrix whose outputs do not fill it.
void finish_part(const Block& b, const Finish& whole, int outputs) {
  alignas(64) float padded[tile_block_rows * dense_panel] = {};
  Finish part = whole;
  part.y = padded;
  part.add = whole.add ? padded : nullptr;
  part.stride = dense_panel;
  for (int r = 0; whole.add && r < whole.rows; ++r) {
    std::copy_n(whole.add + r * whole.stride, outputs, padded + r * dense_panel);
  }
  b.kernels.finish(part);
  for (int r = 0; r < whole.rows; ++r) {
    std::copy_n(padded + r * dense_panel, outputs, whole.y + r * whole.stride);
  }
}

// The end of a product whose results are the rows of the next one: acc is one panel's sums.
void finish_rows(const Block& b, const float* acc, const float* bias, int64_t output) {
  const DenseRows& rows = *b.out.rows;
  const int64_t next_rows = tile_padded(rows.cols()) * tile_side;
  uint16_t* to = rows.tiles(b.first_row) + output / tile_depth * tile_numbers + output % tile_depth;
  b.kernels.tiles->finish({acc, b.rows, bias, b.out.gelu, to, next_rows});
  if (output % tile_depth != 0 || output + dense_panel < rows.cols()) return;
  for (int r = 0; r < b.rows; ++r) {  // no panel fills the other half of the last tile
    uint16_t* row = to + r / tile_side * next_rows + r % tile_side * tile_depth;
    std::fill_n(row + dense_panel, dense_panel, uint16_t{0});
  }
}

// acc: the sums of the block, those of a panel `stride` floats after the one before.
void finish(const Block& b, const float* acc, int64_t stride) {
  for (int p = 0; p < b.panels; ++p, acc += stride) {
    const int64_t first = int64_t{b.first_panel + p} * dense_panel;
    const int outputs = static_cast<int>(std::min<int64_t>(dense_panel, b.w.rows - first));
    float bias[dense_panel] = {};
    if (b.out.bias) std::copy_n(b.out.bias + first, outputs, bias);
    if (b.out.rows) {
      finish_rows(b, acc, bias, first);
      continue;
    }
    const int64_t at = b.first_row * b.out.stride + first;
    const Finish finish{acc,        b.rows,       bias,        b.out.add ? b.out.add + at : nullptr,
                        b.out.gelu, b.out.y + at, b.out.stride};
    if (outputs == dense_panel) {
      b.kernels.finish(finish);
    } else {
      finish_part(b, finish, outputs);
    }
  }
}

void run(const Block& b) {
  alignas(64) float acc[block_panels][block_rows * dense_panel];
  if (b.w.form == DenseForm::words) std::memset(acc, 0, sizeof acc);
  multiply(b, acc);
  finish(b, acc[0], block_rows * dense_panel);
}

void run_tiles(const Block& b) {
  constexpr int64_t stride = tile_block_rows * dense_panel;
  alignas(64) float acc[tile_block_panels * stride];
  const int64_t depth = tile_padded(b.w.cols), panel = depth * dense_panel;
  TileProduct product{};
  product.a.high = b.x.tiles(b.first_row), product.next_a_rows = depth * tile_side;
  product.rows = (b.rows + tile_side - 1) / tile_side * tile_side;
  product.b.high = reinterpret_cast<const uint16_t*>(b.w.data) + b.first_panel * panel;
  product.panels = b.panels, product.next_b_panel = panel;
  product.y = acc, product.next_y_panel = stride, product.next_y_row = dense_panel;
  product.count = 1;
  for (int64_t first = 0; first < depth; first += tile_block_depth) {
    product.depth = static_cast<int>(std::min<int64_t>(tile_block_depth, depth - first));
    product.accumulate = first > 0;
    b.kernels.tiles->product(product);
    product.a.high += tile_block_depth * tile_side;
    product.b.high += tile_block_depth * dense_panel;
  }
  finish(b, acc, stride);
}

}  // namespace

const DenseKernels& dense_kernels(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return dense_kernels_scalar();
    case Isa::avx2:
      return dense_kernels_avx2();
    case Isa::avx512_vnni:
      return dense_kernels_avx512();
    case Isa::amx:
      return dense_kernels_amx();
  }
  return dense_kernels_scalar();
}

uint64_t dense_bytes(DenseForm form, int64_t rows, int64_t cols) {
  return (rows + dense_panel - 1) / dense_panel * panel_bytes(form, cols);
}

void pack_dense(const DenseMatrix& w, uint8_t* memory, int64_t first, int64_t count,
                const float* numbers) {
  CHECK(first % dense_panel == 0, "panels are packed whole");
  for (int64_t done = 0; done < count; done += dense_panel) {
    uint8_t* panel = memory + (first + done) / dense_panel * panel_bytes(w.form, w.cols);
    const int outputs = static_cast<int>(std::min<int64_t>(dense_panel, count - done));
    const float* rows = numbers + done * w.cols;
    if (w.form == DenseForm::words) {
      pack_words(w.cols, outputs, rows, panel);
    } else if (w.form == DenseForm::tiles) {
      pack_tiles(w.cols, outputs, rows, panel);
    } else {
      pack_numbers(w.form, w.cols, outputs, rows, panel);
    }
  }
}

uint64_t DenseRows::bytes(DenseForm form, int rows, int64_t cols) {
  const uint64_t steps = steps_of(cols), count = rows;
  switch (kind_of(form)) {
    case Kind::tiles:
      return (count + tile_side - 1) / tile_side * tile_side * tile_padded(cols) * sizeof(uint16_t);
    case Kind::words:
      return steps * count * (dense_step * sizeof(int16_t) + sizeof(float));
    case Kind::numbers:
      break;
  }
  return steps * count * dense_step * sizeof(float);
}

DenseRows::DenseRows(DenseForm form, int rows, int64_t cols, uint8_t* memory,
                     const DenseKernels& kernels)
    : kernels_(kernels), kind_(kind_of(form)), rows_(rows), cols_(cols) {
  switch (kind_) {
    case Kind::tiles:
      CHECK(kernels.tiles, "kernels that have tiles");
      tiles_ = reinterpret_cast<uint16_t*>(memory);
      break;
    case Kind::words:
      whole_ = reinterpret_cast<int16_t*>(memory);
      scales_ = reinterpret_cast<float*>(whole_ + steps_of(cols) * rows * dense_step);
      break;
    case Kind::numbers:
      numbers_ = reinterpret_cast<float*>(memory);
      break;
  }
}

void DenseRows::set(int row, const float* x) const {
  if (kind_ == Kind::tiles) {
    return kernels_.tiles->put_row(x, static_cast<int>(cols_), {tiles(row), nullptr});
  }
  for (int step = 0; step < steps_of(cols_); ++step) {
    const int depth = static_cast<int>(std::min<int64_t>(dense_step, cols_ - step * dense_step));
    const int64_t at = int64_t{step} * rows_ + row;
    if (kind_ == Kind::words) {
      kernels_.round_step(x + step * dense_step, depth, row_limit, whole_ + at * dense_step,
                          scales_ + at);
    } else {
      std::copy_n(x + step * dense_step, depth, numbers_ + at * dense_step);
    }
  }
}

void dense(const DenseMatrix& w, const DenseRows& x, PanelRange panels, const DenseOut& out,
           Isa isa, base::Pool& pool) {
  const DenseKernels& kernels = dense_kernels(isa);
  CHECK(x.cols() == w.cols && x.fits(w.form) && &x.kernels() == &kernels,
        "rows in the matrix's form, for this Isa");
  CHECK(!out.rows || (w.form == DenseForm::tiles && out.rows->fits(w.form) && !out.add &&
                      out.rows->cols() == w.rows && out.rows->rows() == x.rows()),
        "results that are the rows of a next product on tiles");
  const bool tiles = w.form == DenseForm::tiles;
  const int rows_at_once = tiles ? tile_block_rows : block_rows;
  const int row_blocks = (x.rows() + rows_at_once - 1) / rows_at_once;
  int panels_at_once = block_panels;
  if (tiles) {
    // Each thread gets a block, and no block an odd panel but the last.
    const int shares = (pool.threads() + row_blocks - 1) / row_blocks;
    panels_at_once =
        std::clamp((panels.count + 2 * shares - 1) / (2 * shares) * 2, 2, tile_block_panels);
  }
  const int panel_blocks = (panels.count + panels_at_once - 1) / panels_at_once;
  // Neighbouring blocks share their panels.
  pool.run(int64_t{row_blocks} * panel_blocks, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int row = static_cast<int>(i / panel_blocks) * rows_at_once;
      const int panel = static_cast<int>(i % panel_blocks) * panels_at_once;
      const Block block{w,
                        x,
                        out,
                        kernels,
                        row,
                        std::min(rows_at_once, x.rows() - row),
                        panels.first + panel,
                        std::min(panels_at_once, panels.count - panel)};
      tiles ? run_tiles(block) : run(block);
    }
  });
}

}  // namespace tensor
