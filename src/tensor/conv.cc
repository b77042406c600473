#include "tensor/conv.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "tensor/dense_kernels.h"

namespace tensor {
namespace {

constexpr int points = 36;  // numbers of a transformed tile
// Tiles that meet a panel together: a multiple of every tile of rows; on AMX three of its, which
// divide the rows of a picture of 384 or 192 pixels.
constexpr int block_tiles_f32 = 24, block_tiles_amx = 3 * tile_side;
static_assert(block_tiles_f32 % tile_rows_multiple == 0);
int block_tiles(const ConvShape& s) { return s.tiles ? block_tiles_amx : block_tiles_f32; }
constexpr int group_panels = 4;  // panels that meet a block together
constexpr uint64_t band_bytes = 8 << 20;
// Between the numbers of a tile: not a power of two, or they would share one set of the L1.
constexpr int64_t spread_gap = 16;
constexpr int64_t product_spread =
    std::max(block_tiles_f32, block_tiles_amx) * dense_panel + spread_gap;

int padded(int channels) { return (channels + dense_panel - 1) / dense_panel * dense_panel; }
// Inputs of a product. In halves of 16 bits a number takes as much as in f32.
int64_t depth_of(const ConvShape& s) { return s.tiles ? tile_padded(s.in) : padded(s.in); }
int64_t tile_spread(const ConvShape& s) { return block_tiles(s) * depth_of(s) + spread_gap; }
int64_t block_floats(const ConvShape& s) { return points * tile_spread(s); }
int64_t weight_panel_floats(const ConvShape& s) {
  return (s.tiles ? depth_of(s) : int64_t{s.in}) * dense_panel;
}

int blocks_of(const ConvShape& s, int rows) {
  return (rows * s.tile_columns() + block_tiles(s) - 1) / block_tiles(s);
}
int panels_of(int out) { return (out + dense_panel - 1) / dense_panel; }

// The transformed weights stand in groups of panels, [group][36][panel of the group][in][16], or in
// place of [in][16] both halves of a tile's panel. Transformed pixels: [block][36][tile][in], or
// both halves of tiles of rows.
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

uint16_t* halves_at(float* place) { return reinterpret_cast<uint16_t*>(place); }
const uint16_t* halves_at(const float* place) { return reinterpret_cast<const uint16_t*>(place); }

// multiply_block on tiles.
void multiply_halves(const ConvShape& s, const float* v, int tiles, int first_panel, int panels,
                     float* weights, float* m, const TileKernels& kernels) {
  constexpr int64_t halves = 2;  // numbers of 16 bits in a float's place
  const WeightPlace place = weight_place(s, weights, first_panel);
  TileProduct product{};
  product.a.high = halves_at(v);
  product.a.low = product.a.high + block_tiles(s) * depth_of(s);
  product.next_a_rows = depth_of(s) * tile_side;
  product.rows = (tiles + tile_side - 1) / tile_side * tile_side;
  product.depth = static_cast<int>(depth_of(s));
  product.b.high = halves_at(place.first);
  product.b.low = product.b.high + depth_of(s) * dense_panel;
  product.panels = panels, product.next_b_panel = halves * weight_panel_floats(s);
  product.y = m, product.next_y_panel = points * product_spread, product.next_y_row = dense_panel;
  product.count = points;
  product.next_a = halves * tile_spread(s), product.next_b = halves * place.spread;
  product.next_y = product_spread;
  kernels.product(product);
}

// The products of one block of tiles with one group of panels: m[panel][36][tile][16].
void multiply_block(const ConvShape& s, const float* v, int tiles, int first_panel, int panels,
                    float* weights, float* m, const DenseKernels& kernels) {
  if (s.tiles) {
    return multiply_halves(s, v, tiles, first_panel, panels, weights, m, *kernels.tiles);
  }
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

namespace {

// A thread's products, or a panel's transformed weights before they become halves.
int64_t thread_floats(const ConvShape& s) {
  const int64_t products = int64_t{group_panels} * points * product_spread;
  return s.tiles ? std::max(products, int64_t{points} * s.in * dense_panel) : products;
}

// Whether each thread transforms the pixels of its blocks itself, in the place of one block: they
// stay in its cache. Products on tiles are so fast that the way to the outer cache and back takes
// longer.
bool block_by_block(const ConvShape& s, ConvBand band, int threads) {
  constexpr int blocks_per_thread = 3;  // fewer would leave threads idle
  return s.tiles && blocks_of(s, band.count) >= blocks_per_thread * threads;
}

// Tile `tile` of a band, to its place in a block.
void transform_tile(const ConvShape& s, const float* bordered, int64_t tile, float* block,
                    const DenseKernels& kernels) {
  const int channels = padded(s.in);
  const int64_t row = int64_t{s.tile_columns() * 4 + 2} * channels;
  const int64_t y = tile / s.tile_columns() * 4, x = tile % s.tile_columns() * 4;
  const float* pixels = bordered + y * row + x * channels;
  const int64_t in_block = tile % block_tiles(s);
  if (!s.tiles) {
    kernels.conv_input(pixels, row, channels, block + in_block * channels, tile_spread(s));
    return;
  }
  uint16_t* high = halves_at(block) + in_block / tile_side * depth_of(s) * tile_side +
                   in_block % tile_side * tile_depth;
  kernels.tiles->conv_input(pixels, row, channels, {high, high + block_tiles(s) * depth_of(s)},
                            2 * tile_spread(s));
}

}  // namespace

ConvSizes conv_sizes(const ConvShape& s, int rows, int threads) {
  return {uint64_t(panels_of(s.out)) * points * weight_panel_floats(s),
          uint64_t(4 * rows + 2) * (4 * s.tile_columns() + 2) * padded(s.in),
          uint64_t(blocks_of(s, rows)) * block_floats(s), uint64_t(threads) * thread_floats(s)};
}

void conv_weights(const ConvShape& s, const ConvMatrix& w, const ConvMemory& memory, Isa isa,
                  base::Pool& pool) {
  const DenseKernels& kernels = dense_kernels(isa);
  const int64_t bytes = int64_t{9} * w.in * dense_panel * element_bytes(w.dtype);
  CHECK(!s.tiles || kernels.tiles, "an Isa that has tiles");
  pool.run(w.panels(), 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t panel = begin; panel < end; ++panel) {
      const WeightPlace place = weight_place(s, memory.weights, static_cast<int>(panel));
      if (!s.tiles) {
        kernels.conv_weights(w.dtype, w.data + panel * bytes, w.in, place.first, place.spread);
        continue;
      }
      const int64_t spread = int64_t{w.in} * dense_panel;
      float* u = memory.products + thread * thread_floats(s);
      kernels.conv_weights(w.dtype, w.data + panel * bytes, w.in, u, spread);
      for (int point = 0; point < points; ++point) {
        uint16_t* high = halves_at(place.first + point * place.spread);
        kernels.tiles->put_panel(u + point * spread, dense_panel, w.in,
                                 {high, high + depth_of(s) * dense_panel});
      }
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
  if (block_by_block(s, band, pool.threads())) return;
  pool.run(int64_t{band.count} * s.tile_columns(), 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t tile = begin; tile < end; ++tile) {
      transform_tile(s, memory.pixels, tile, memory.tiles + tile / block_tiles(s) * block_floats(s),
                     kernels);
    }
  });
}

void conv_output(const ConvShape& s, const ConvOutput& output, ConvBand band, int first_panel,
                 int panels, const ConvMemory& memory, Isa isa, base::Pool& pool) {
  CHECK(first_panel % group_panels == 0, "groups of panels are not cut");
  const DenseKernels& kernels = dense_kernels(isa);
  const int band_tiles = band.count * s.tile_columns();
  const int groups = (panels + group_panels - 1) / group_panels;
  const auto multiply = [&](const float* v, int block, int group, float* m) {
    const int first = first_panel + group * group_panels;
    const int count = std::min(group_panels, first_panel + panels - first);
    const int tiles = std::min(block_tiles(s), band_tiles - block * block_tiles(s));
    multiply_block(s, v, tiles, first, count, memory.weights, m, kernels);
    for (int p = 0; p < count; ++p) {
      put_panel(s, output, band.first * s.tile_columns() + block * block_tiles(s), tiles, first + p,
                m + int64_t{p} * points * product_spread, kernels);
    }
  };
  const int blocks = blocks_of(s, band.count);
  if (block_by_block(s, band, pool.threads())) {
    pool.run(blocks, 1, [&](int64_t begin, int64_t end, int thread) {
      float* m = memory.products + thread * thread_floats(s);
      float* v = memory.tiles + thread * block_floats(s);
      for (int64_t block = begin; block < end; ++block) {
        const int64_t first = block * block_tiles(s);
        const int64_t last = std::min<int64_t>(first + block_tiles(s), band_tiles);
        for (int64_t tile = first; tile < last; ++tile) {
          transform_tile(s, memory.pixels, tile, v, kernels);
        }
        for (int group = 0; group < groups; ++group) {
          multiply(v, static_cast<int>(block), group, m);
        }
      }
    });
    return;
  }
  pool.run(int64_t{blocks} * groups, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; ++i) {
      const int block = static_cast<int>(i / groups);
      multiply(memory.tiles + block * block_floats(s), block, static_cast<int>(i % groups),
               memory.products + thread * thread_floats(s));
    }
  });
}

}  // namespace tensor
