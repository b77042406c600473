#include "tensor/conv.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "tensor/dense_kernels.h"

namespace tensor {
namespace {

constexpr int points = 36;  // numbers of a transformed tile
constexpr int block_tiles =
    24;  // tiles that meet a panel together; a multiple of every tile of rows
static_assert(block_tiles % tile_rows_multiple == 0);
constexpr int group_panels = 4;  // panels that meet a block together
constexpr uint64_t band_bytes = 8 << 20;
// Between the numbers of a tile: not a power of two, or they would share one set of the L1.
constexpr int64_t spread_gap = 16;
constexpr int64_t product_spread = block_tiles * dense_panel + spread_gap;

int padded(int channels) { return (channels + dense_panel - 1) / dense_panel * dense_panel; }
int64_t tile_spread(const ConvShape& s) { return int64_t{block_tiles} * padded(s.in) + spread_gap; }
int64_t block_floats(const ConvShape& s) { return points * tile_spread(s); }
int64_t weight_panel_floats(const ConvShape& s) { return int64_t{s.in} * dense_panel; }

int blocks_of(const ConvShape& s, int rows) {
  return (rows * s.tile_columns() + block_tiles - 1) / block_tiles;
}
int panels_of(int out) { return (out + dense_panel - 1) / dense_panel; }

// The transformed weights stand in groups of panels, [group][36][panel of the group][in][16].
struct WeightPlace {
  float* first;    // of a panel
  int64_t spread;  // from one of the 36 to the next
};
WeightPlace weight_place(const ConvShape& s, float* weights, int panel) {
  const int group = panel / group_panels * group_panels;
  const int members = std::min(group_panels, panels_of(s.out) - group);
  const int64_t one = weight_panel_floats(s);
  return {weights + group * points * one + (panel - group) * one, members * one};
}

// One row of the bordered picture, y rows from its top (-1: the border).
void border_row(const ConvShape& s, const ConvInput& input, int y, float* to,
                const DenseKernels& kernels) {
  const int channels = padded(s.in);
  const int64_t end = int64_t{s.tile_columns() * 4 + 2} * channels;
  if (y < 0 || y >= s.height) {
    std::fill(to, to + end, 0.0f);
    return;
  }
  std::fill(to, to + channels, 0.0f);
  float* pixel = to + channels;
  if (input.scale) {
    kernels.affine(input.x + int64_t{y} * s.width * s.in, input.scale, input.shift, s.width, s.in,
                   true, pixel);
  } else {
    const int halving = input.doubled ? 2 : 1;
    const float* row = input.x + int64_t{y / halving} * (s.width / halving) * s.in;
    for (int x = 0; x < s.width; ++x) {
      float* at = pixel + int64_t{x} * channels;
      std::copy_n(row + int64_t{x / halving} * s.in, s.in, at);
      std::fill(at + s.in, at + channels, 0.0f);
    }
  }
  std::fill(pixel + int64_t{s.width} * channels, to + end, 0.0f);
}

// The products of one block of tiles with one group of panels: m[panel][36][tile][16].
void multiply_block(const ConvShape& s, const float* v, int tiles, int first_panel, int panels,
                    float* weights, float* m, const DenseKernels& kernels) {
  const int64_t channels = padded(s.in);
  for (int point = 0; point < points; ++point) {
    for (int p = 0; p < panels; ++p) {
      const WeightPlace place = weight_place(s, weights, first_panel + p);
      const float* u = place.first + point * place.spread;
      float* y = m + (int64_t{p} * points + point) * product_spread;
      for (int first = 0; first < s.in; first += dense_step) {
        kernels.product(v + point * tile_spread(s) + first, channels, tiles,
                        u + int64_t{first} * dense_panel, std::min(dense_step, s.in - first), y,
                        dense_panel, first > 0);
      }
    }
  }
}

// 4 x 4 pixels of up to 16 channels, of which `rows` x `columns` x `outputs` are in the picture.
struct Corner {
  int rows, columns, outputs;
};
void put_part(const float* m, const ConvTileOutput& whole, Corner corner,
              const DenseKernels& kernels) {
  alignas(64) float tile[16 * dense_panel];
  kernels.conv_output(m, product_spread, {whole.bias, nullptr, tile, 4 * dense_panel, dense_panel});
  for (int i = 0; i < corner.rows; ++i) {
    for (int j = 0; j < corner.columns; ++j) {
      const int64_t at = i * whole.row_stride + j * whole.pixel_stride;
      const float* from = tile + (4 * i + j) * dense_panel;
      for (int c = 0; c < corner.outputs; ++c) {
        whole.y[at + c] = whole.add ? from[c] + whole.add[at + c] : from[c];
      }
    }
  }
}

// One panel of a block, from m[36][tile][16] to the picture.
void put_panel(const ConvShape& s, const ConvOutput& output, int first_tile, int tiles, int panel,
               const float* m, const DenseKernels& kernels) {
  const int channel = panel * dense_panel;
  const int outputs = std::min(dense_panel, s.out - channel);
  float bias[dense_panel] = {};
  std::copy_n(output.bias + channel, outputs, bias);
  const int64_t row_stride = int64_t{s.width} * s.out;
  for (int t = 0; t < tiles; ++t) {
    const int y = (first_tile + t) / s.tile_columns() * 4;
    const int x = (first_tile + t) % s.tile_columns() * 4;
    const int64_t at = y * row_stride + int64_t{x} * s.out + channel;
    const ConvTileOutput whole{bias, output.add ? output.add + at : nullptr, output.y + at,
                               row_stride, s.out};
    const Corner corner{std::min(4, s.height - y), std::min(4, s.width - x), outputs};
    if (corner.rows == 4 && corner.columns == 4 && outputs == dense_panel) {
      kernels.conv_output(m + t * dense_panel, product_spread, whole);
    } else {
      put_part(m + t * dense_panel, whole, corner, kernels);
    }
  }
}

int element_bytes(Dtype dtype) { return dtype == Dtype::f32 ? 4 : 2; }
void put_number(Dtype dtype, uint8_t* memory, int64_t index, float number) {
  if (dtype == Dtype::f32) {
    std::memcpy(memory + index * 4, &number, 4);
    return;
  }
  const uint16_t bits = dtype == Dtype::f16 ? f32_to_f16(number) : f32_to_bf16(number);
  std::memcpy(memory + index * 2, &bits, 2);
}

}  // namespace

uint64_t conv_bytes(Dtype dtype, int in, int out) {
  return uint64_t(panels_of(out)) * 9 * uint64_t(in) * dense_panel * element_bytes(dtype);
}

void pack_conv(const ConvMatrix& w, uint8_t* memory, int first, int count, const float* numbers) {
  const int64_t panel_numbers = int64_t{9} * w.in * dense_panel;
  for (int panel = first; panel < first + count; ++panel) {
    uint8_t* to = memory + panel * panel_numbers * element_bytes(w.dtype);
    const float* from = numbers + (panel - first) * panel_numbers;
    const int outputs = std::min(dense_panel, w.out - panel * dense_panel);
    for (int64_t i = 0; i < panel_numbers; ++i) {
      const int64_t lane = i % dense_panel, in = i / dense_panel % w.in;
      const int64_t point = i / dense_panel / w.in;
      put_number(w.dtype, to, i, lane < outputs ? from[(lane * w.in + in) * 9 + point] : 0.0f);
    }
  }
}

int ConvShape::band_rows() const {
  const uint64_t row = uint64_t(tile_columns()) * points * padded(in) * sizeof(float);
  return static_cast<int>(std::clamp<uint64_t>(band_bytes / row, 1, tile_rows()));
}

uint64_t ConvShape::operations(int rows, int panels) const {
  return uint64_t(rows) * tile_columns() * points * uint64_t(in) * uint64_t(panels) * dense_panel;
}

ConvSizes conv_sizes(const ConvShape& s, int rows, int threads) {
  return {uint64_t(panels_of(s.out)) * points * weight_panel_floats(s),
          uint64_t(4 * rows + 2) * (4 * s.tile_columns() + 2) * padded(s.in),
          uint64_t(blocks_of(s, rows)) * block_floats(s),
          uint64_t(threads) * group_panels * points * product_spread};
}

void conv_weights(const ConvShape& s, const ConvMatrix& w, const ConvMemory& memory, Isa isa,
                  base::Pool& pool) {
  const DenseKernels& kernels = dense_kernels(isa);
  const int64_t bytes = int64_t{9} * w.in * dense_panel * element_bytes(w.dtype);
  pool.run(w.panels(), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t panel = begin; panel < end; ++panel) {
      const WeightPlace place = weight_place(s, memory.weights, static_cast<int>(panel));
      kernels.conv_weights(w.dtype, w.data + panel * bytes, w.in, place.first, place.spread);
    }
  });
}

void conv_input(const ConvShape& s, const ConvInput& input, ConvBand band, const ConvMemory& memory,
                Isa isa, base::Pool& pool) {
  CHECK(!input.scale || (s.in % dense_panel == 0 && !input.doubled), "the norm stands alone");
  const DenseKernels& kernels = dense_kernels(isa);
  const int channels = padded(s.in);
  const int64_t row = int64_t{s.tile_columns() * 4 + 2} * channels;
  pool.run(4 * band.count + 2, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t y = begin; y < end; ++y) {
      border_row(s, input, 4 * band.first - 1 + static_cast<int>(y), memory.pixels + y * row,
                 kernels);
    }
  });
  const int tiles = band.count * s.tile_columns();
  pool.run(tiles, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t y = tile / s.tile_columns() * 4, x = tile % s.tile_columns() * 4;
      float* block = memory.tiles + tile / block_tiles * block_floats(s);
      kernels.conv_input(memory.pixels + y * row + x * channels, row, channels,
                         block + tile % block_tiles * channels, tile_spread(s));
    }
  });
}

void conv_output(const ConvShape& s, const ConvOutput& output, ConvBand band, int first_panel,
                 int panels, const ConvMemory& memory, Isa isa, base::Pool& pool) {
  CHECK(first_panel % group_panels == 0, "groups of panels are not cut");
  const DenseKernels& kernels = dense_kernels(isa);
  const int band_tiles = band.count * s.tile_columns();
  const int groups = (panels + group_panels - 1) / group_panels;
  pool.run(int64_t{blocks_of(s, band.count)} * groups, 1,
           [&](int64_t begin, int64_t end, int thread) {
             float* m = memory.products + int64_t{thread} * group_panels * points * product_spread;
             for (int64_t i = begin; i < end; ++i) {
               const int block = static_cast<int>(i / groups), group = static_cast<int>(i % groups);
               const int first = first_panel + group * group_panels;
               const int count = std::min(group_panels, first_panel + panels - first);
               const int tiles = std::min(block_tiles, band_tiles - block * block_tiles);
               multiply_block(s, memory.tiles + block * block_floats(s), tiles, first, count,
                              memory.weights, m, kernels);
               for (int p = 0; p < count; ++p) {
                 put_panel(s, output, band.first * s.tile_columns() + block * block_tiles, tiles,
                           first + p, m + int64_t{p} * points * product_spread, kernels);
               }
             }
           });
}

}  // namespace tensor
