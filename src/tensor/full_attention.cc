#include "tensor/full_attention.h"

#include <algorithm>

#include "tensor/dense_kernels.h"

namespace tensor {
namespace {

constexpr int piece_rows = 48;

int64_t panels_of(int64_t n) { return (n + dense_panel - 1) / dense_panel; }

// Where things stand in the memory: by head the keys, panels of 16 tokens [head_dim][16], and the
// values, panels of 16 dimensions [tokens][16]; by thread scores (48, tokens) and a panel of
// results (48, 16).
struct Places {
  explicit Places(const FullAttention& x)
      : scores_stride(panels_of(x.tokens) * dense_panel),
        keys(panels_of(x.tokens) * dense_panel * x.head_dim),
        values(panels_of(x.head_dim) * dense_panel * x.tokens),
        thread((scores_stride + dense_panel) * piece_rows) {}
  int64_t scores_stride, keys, values, thread;  // floats
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

void full_attention_pack(const FullAttention& x, uint8_t* memory, base::Pool& pool) {
  const Places places(x);
  auto* keys = reinterpret_cast<float*>(memory);
  float* values = keys + x.heads * places.keys;
  pool.run(2 * x.heads, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t head = i / 2;
      if (i % 2 == 0) {
        pack_keys(x, x.k + head * x.head_dim, keys + head * places.keys);
      } else {
        pack_values(x, x.v + head * x.head_dim, values + head * places.values);
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
      run_piece(x, places, keys + head * places.keys, values + head * places.values, head, row,
                kernels, threads + thread * places.thread);
    }
  });
}

}  // namespace tensor
