#include "tensor/full_attention.h"

#include <algorithm>

#include "base/check.h"
#include "tensor/dense_kernels.h"

namespace tensor {
namespace {

constexpr int piece_rows = 48;

int64_t panels_of(int64_t n) { return (n + dense_panel - 1) / dense_panel; }

int64_t padded(int64_t n) { return panels_of(n) * dense_panel; }

// Where things stand in the memory, in floats: by head the keys, panels of 16 tokens
// [head_dim][16], and the values, panels of 16 dimensions [tokens][16]; by thread scores
// (48, tokens) and a panel of results (48, 16). With tiles keys and values are panels of bf16, half
// as large, and each thread has besides scores its shares as tiles, and all results.
struct Places {
  explicit Places(const FullAttention& x)
      : scores_stride(padded(x.tokens)),
        keys(padded(x.tokens) * x.head_dim),
        values(padded(x.head_dim) * x.tokens),
        thread((scores_stride + dense_panel) * piece_rows) {
    if (!x.tiles) return;
    scores_stride = tile_padded(x.tokens);
    keys = padded(x.tokens) * x.head_dim / 2;
    values = x.head_dim * tile_padded(x.tokens) / 2;
    thread = (scores_stride + x.head_dim) * piece_rows + tile_padded(x.tokens) * piece_rows / 2;
  }
  int64_t scores_stride, keys, values, thread;
};

void pack_keys(const FullAttention& x, const float* k, float* out) {
  for (int64_t p = 0; p < panels_of(x.tokens); ++p) {
    for (int lane = 0; lane < dense_panel; ++lane) {
      const int64_t token = p * dense_panel + lane;
      float* to = out + p * dense_panel * x.head_dim + lane;
      for (int d = 0; d < x.head_dim; ++d) {
        to[int64_t{d} * dense_panel] = token < x.tokens ? k[token * x.stride + d] : 0.0f;
      }
    }
  }
}

void pack_values(const FullAttention& x, const float* v, float* out) {
  for (int64_t p = 0; p < panels_of(x.head_dim); ++p) {
    const int first = static_cast<int>(p) * dense_panel;
    const int count = std::min(dense_panel, x.head_dim - first);
    for (int64_t token = 0; token < x.tokens; ++token) {
      float* to = out + (p * x.tokens + token) * dense_panel;
      std::copy_n(v + token * x.stride + first, count, to);
      std::fill(to + count, to + dense_panel, 0.0f);
    }
  }
}

// Where a token's numbers of a head begin: of its query, key or value.
enum Part : uint8_t { query, key, value };
const uint16_t* place(const FullAttention& x, Part part, int head, int64_t token) {
  const int64_t first = (int64_t{part} * x.heads + head) * x.head_dim;
  return x.qkv_rows->tiles(static_cast<int>(token)) + first * tile_side;
}

// Panels of 16 keys: [head_dim / 2][16][2].
void pack_keys_as_tiles(const FullAttention& x, int head, uint16_t* out) {
  for (int64_t token = 0; token < padded(x.tokens); ++token) {
    uint16_t* to = out + token / dense_panel * dense_panel * x.head_dim + token % dense_panel * 2;
    if (token >= x.tokens) {
      for (int d = 0; d < x.head_dim; d += 2) std::fill_n(to + d * dense_panel, 2, uint16_t{0});
      continue;
    }
    const uint16_t* from = place(x, key, head, token);
    for (int d = 0; d < x.head_dim; d += 2) {
      std::copy_n(from + d / tile_depth * tile_numbers + d % tile_depth, 2, to + d * dense_panel);
    }
  }
}

// Panels of 16 dimensions: [tokens / 2][16][2].
void pack_values_as_tiles(const FullAttention& x, int head, uint16_t* out) {
  static constexpr uint16_t zeros[dense_panel] = {};
  for (int d = 0; d < x.head_dim; d += dense_panel) {
    const int64_t at = d / tile_depth * tile_numbers + d % tile_depth;
    for (int64_t token = 0; token < tile_padded(x.tokens); token += 2, out += 2 * dense_panel) {
      const uint16_t* even = token < x.tokens ? place(x, value, head, token) + at : zeros;
      const uint16_t* odd = token + 1 < x.tokens ? place(x, value, head, token + 1) + at : zeros;
      for (int i = 0; i < dense_panel; ++i) {
        out[2 * i] = even[i];
        out[2 * i + 1] = odd[i];
      }
    }
  }
}

// y (+)= rows times one panel, in steps.
void multiply(const DenseKernels& kernels, const float* a, int64_t a_stride, int rows,
              const float* panel, int depth, float* y, int64_t y_stride) {
  for (int first = 0; first < depth; first += dense_step) {
    kernels.product(a + first, a_stride, rows, panel + int64_t{first} * dense_panel,
                    std::min(dense_step, depth - first), y, y_stride, first > 0);
  }
}

void run_piece(const FullAttention& x, const Places& places, const float* keys, const float* values,
               int head, int first, const DenseKernels& kernels, float* scores) {
  const int rows = std::min(piece_rows, x.tokens - first);
  const float* q = x.q + first * x.stride + int64_t{head} * x.head_dim;
  for (int64_t p = 0; p < panels_of(x.tokens); ++p) {
    multiply(kernels, q, x.stride, rows, keys + p * dense_panel * x.head_dim, x.head_dim,
             scores + p * dense_panel, places.scores_stride);
  }
  float reciprocal[piece_rows];
  for (int r = 0; r < rows; ++r) {
    reciprocal[r] = 1.0f / kernels.softmax(scores + r * places.scores_stride, x.tokens, x.scale);
  }
  float* result = scores + piece_rows * places.scores_stride;
  for (int64_t p = 0; p < panels_of(x.head_dim); ++p) {
    multiply(kernels, scores, places.scores_stride, rows, values + p * dense_panel * x.tokens,
             x.tokens, result, dense_panel);
    const int dim = static_cast<int>(p) * dense_panel;
    const int count = std::min(dense_panel, x.head_dim - dim);
    for (int r = 0; r < rows; ++r) {
      float* out = x.out + (first + r) * x.out_stride + int64_t{head} * x.head_dim + dim;
      for (int i = 0; i < count; ++i) out[i] = result[r * dense_panel + i] * reciprocal[r];
    }
  }
}

// y (rows, stride) = rows of tiles, next_a numbers from 16 of them to the next, times panels.
void multiply_tiles(const TileKernels& kernels, const uint16_t* a, int64_t next_a, int rows,
                    int64_t depth, const uint16_t* panels, int64_t count, float* y,
                    int64_t stride) {
  TileProduct product{};
  product.a.high = a, product.b.high = panels;
  product.rows = (rows + tile_side - 1) / tile_side * tile_side;
  product.next_a_rows = next_a;
  product.depth = static_cast<int>(depth), product.panels = static_cast<int>(count);
  product.next_b_panel = depth * dense_panel;
  product.y = y, product.next_y_panel = dense_panel, product.next_y_row = stride;
  product.count = 1;
  kernels.product(product);
}

void run_piece_on_tiles(const FullAttention& x, const Places& places, const float* keys,
                        const float* values, int head, int first, const DenseKernels& kernels,
                        float* scores) {
  const int rows = std::min(piece_rows, x.tokens - first);
  const int64_t token_depth = tile_padded(x.tokens);
  float* results = scores + piece_rows * places.scores_stride;
  auto* shares = reinterpret_cast<uint16_t*>(results + int64_t{piece_rows} * x.head_dim);
  const TileKernels& tiles = *kernels.tiles;
  multiply_tiles(tiles, place(x, query, head, first), x.qkv_rows->cols() * tile_side, rows,
                 x.head_dim, reinterpret_cast<const uint16_t*>(keys), panels_of(x.tokens), scores,
                 places.scores_stride);
  float reciprocal[piece_rows];
  for (int r = 0; r < rows; ++r) {
    uint16_t* to =
        shares + r / tile_side * token_depth * tile_side + r % tile_side * int64_t{tile_depth};
    reciprocal[r] =
        1.0f / tiles.put_softmax(scores + r * places.scores_stride, x.tokens, x.scale, to);
  }
  multiply_tiles(tiles, shares, token_depth * tile_side, rows, token_depth,
                 reinterpret_cast<const uint16_t*>(values), panels_of(x.head_dim), results,
                 x.head_dim);
  for (int r = 0; r < rows; ++r) {
    float* result = results + int64_t{r} * x.head_dim;
    for (int i = 0; i < x.head_dim; ++i) result[i] *= reciprocal[r];
    uint16_t* to = x.out_rows->tiles(first + r) + int64_t{head} * x.head_dim * tile_side;
    tiles.put_row(result, x.head_dim, {to, nullptr});
  }
}

int head_pieces(const FullAttention& x) { return (x.tokens + piece_rows - 1) / piece_rows; }

}  // namespace

int FullAttention::pieces() const { return heads * head_pieces(*this); }
uint64_t FullAttention::piece_operations() const {
  return 2 * uint64_t(piece_rows) * uint64_t(tokens) * uint64_t(head_dim);
}

uint64_t full_attention_bytes(const FullAttention& shape, int threads) {
  const Places places(shape);
  return (shape.heads * (places.keys + places.values) + threads * places.thread) * sizeof(float);
}

void full_attention_pack(const FullAttention& x, uint8_t* memory, Isa isa, base::Pool& pool) {
  const Places places(x);
  const int64_t width = int64_t{x.heads} * x.head_dim;
  CHECK(!x.tiles || (dense_kernels(isa).tiles && x.head_dim % tile_depth == 0 &&
                     x.qkv_rows->fits(DenseForm::tiles) && x.out_rows->fits(DenseForm::tiles) &&
                     x.qkv_rows->cols() == 3 * width && x.out_rows->cols() == width),
        "rows of whole tiles");
  auto* keys = reinterpret_cast<float*>(memory);
  float* values = keys + x.heads * places.keys;
  pool.run(2 * x.heads, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int head = static_cast<int>(i / 2);
      float *head_keys = keys + head * places.keys, *head_values = values + head * places.values;
      if (x.tiles && i % 2 == 0) {
        pack_keys_as_tiles(x, head, reinterpret_cast<uint16_t*>(head_keys));
      } else if (x.tiles) {
        pack_values_as_tiles(x, head, reinterpret_cast<uint16_t*>(head_values));
      } else if (i % 2 == 0) {
        pack_keys(x, x.k + int64_t{head} * x.head_dim, head_keys);
      } else {
        pack_values(x, x.v + int64_t{head} * x.head_dim, head_values);
      }
    }
  });
}

void full_attention(const FullAttention& x, uint8_t* memory, int first, int count, Isa isa,
                    base::Pool& pool) {
  const Places places(x);
  const DenseKernels& kernels = dense_kernels(isa);
  const auto* keys = reinterpret_cast<const float*>(memory);
  const float* values = keys + x.heads * places.keys;
  float* threads = reinterpret_cast<float*>(memory) + x.heads * (places.keys + places.values);
  pool.run(count, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = first + begin; i < first + end; ++i) {
      const int head = static_cast<int>(i / head_pieces(x));
      const int row = static_cast<int>(i % head_pieces(x)) * piece_rows;
      const auto piece = x.tiles ? run_piece_on_tiles : run_piece;
      piece(x, places, keys + head * places.keys, values + head * places.values, head, row, kernels,
            threads + thread * places.thread);
    }
  });
}

}  // namespace tensor
