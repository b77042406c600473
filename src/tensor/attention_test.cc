#include "tensor/attention.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <vector>

namespace tensor {
namespace {

std::vector<Isa> isas() {
  std::vector<Isa> all{Isa::scalar};
  if (__builtin_cpu_supports("avx2")) all.push_back(Isa::avx2);
  if (__builtin_cpu_supports("avx512bw")) all.push_back(Isa::avx512_vnni);
  return all;
}

// A sequence with random keys and values in blocks of its own, two layers deep: the second is used.
struct Sequence {
  AttentionShape shape;
  int length;
  std::vector<float> q, k, v;  // (length, heads * dim), (length, kv_heads * dim)
  std::vector<std::vector<uint8_t>> memory;
  std::vector<const uint8_t*> blocks;

  Sequence(const AttentionShape& s, int n, unsigned seed, Isa isa) : shape(s), length(n) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, 1.5f);
    const auto fill = [&](std::vector<float>& x, int width) {
      x.resize(int64_t{n} * width);
      for (float& value : x) value = normal(random);
    };
    fill(q, shape.heads * shape.kv.head_dim);
    fill(k, shape.kv.kv_heads * shape.kv.head_dim);
    fill(v, shape.kv.kv_heads * shape.kv.head_dim);
    const int width = shape.kv.kv_heads * shape.kv.head_dim;
    for (int i = 0; i < n; ++i) {
      if (i % kv_block_keys == 0) memory.emplace_back(2 * shape.kv.bytes());
      kv_write(isa, shape.kv, memory.back().data() + shape.kv.bytes(), i % kv_block_keys,
               &k[int64_t{i} * width], &v[int64_t{i} * width]);
    }
    for (const auto& block : memory) blocks.push_back(block.data());
  }

  AttentionRows rows(int first, int count, std::vector<float>& out) const {
    const int64_t stride = shape.heads * shape.kv.head_dim;
    return {blocks.data(), first, count, &q[first * stride], stride, &out[first * stride], stride};
  }

  float stored(Dtype dtype, float x) const {
    if (dtype == Dtype::f16) return f16_to_f32(f32_to_f16(x));
    return dtype == Dtype::bf16 ? bf16_to_f32(f32_to_bf16(x)) : x;
  }

  // The definition, in double.
  std::vector<double> expected(int position, int head) const {
    const int dim = shape.kv.head_dim, width = shape.kv.kv_heads * dim;
    const int kv_head = head / (shape.heads / shape.kv.kv_heads);
    std::vector<double> weight(position + 1), out(dim);
    double top = -1e300, sum = 0;
    for (int t = 0; t <= position; ++t) {
      for (int d = 0; d < dim; ++d) {
        weight[t] += static_cast<double>(q[(int64_t{position} * shape.heads + head) * dim + d]) *
                     stored(shape.kv.k, k[int64_t{t} * width + kv_head * dim + d]);
      }
      weight[t] *= shape.scale;
      top = std::max(top, weight[t]);
    }
    for (double& w : weight) sum += w = std::exp(w - top);
    for (int t = 0; t <= position; ++t) {
      for (int d = 0; d < dim; ++d) {
        out[d] += weight[t] / sum * stored(shape.kv.v, v[int64_t{t} * width + kv_head * dim + d]);
      }
    }
    return out;
  }
};

AttentionShape shape_of(int heads, int kv_heads, int dim, Dtype dtype) {
  return {{dtype, dtype, kv_heads, dim}, heads, 1.0f / std::sqrt(static_cast<float>(dim))};
}

void run(const Sequence& s, int first, int count, Isa isa, int threads, std::vector<float>& out) {
  base::Pool pool(threads);
  AttentionScratch scratch(s.shape, threads, 4096);
  const AttentionRows rows = s.rows(first, count, out);
  attention(s.shape, {&rows, 1}, s.shape.kv.bytes(), isa, scratch, pool);
}

// Scores reach 25 here: half a unit in their last place is 1e-6 of a weight, and two of 25 add up.
constexpr double bound = 1e-5;

TEST(Attention, EqualsTheDefinition) {
  for (const Isa isa : isas()) {
    for (const Dtype dtype : {Dtype::f32, Dtype::f16, Dtype::bf16}) {
      for (const auto& [heads, kv_heads, dim] :
           {std::tuple{4, 2, 16}, {6, 3, 12}, {12, 2, 64}, {9, 3, 24}, {5, 5, 32}, {14, 2, 128}}) {
        const Sequence s(shape_of(heads, kv_heads, dim, dtype), 700, 7, isa);
        std::vector<float> out(s.q.size());
        for (const int position : {0, 1, 15, 63, 64, 200, 511, 512, 699}) {
          run(s, position, 1, isa, 2, out);
          for (int head = 0; head < heads; ++head) {
            const auto expected = s.expected(position, head);
            for (int d = 0; d < dim; ++d) {
              EXPECT_NEAR(out[(int64_t{position} * heads + head) * dim + d], expected[d], bound)
                  << isa_name(isa) << " head " << head << " position " << position;
            }
          }
        }
      }
    }
  }
}

TEST(Attention, RowIsTheSameAloneInAChunkAndAtAnyNumberOfThreads) {
  for (const Isa isa : isas()) {
    for (const Dtype dtype : {Dtype::f32, Dtype::f16}) {
      const Sequence s(shape_of(6, 2, 32, dtype), 1100, 3, isa);
      std::vector<float> whole(s.q.size());
      run(s, 0, s.length, isa, 1, whole);
      const int64_t width = 6 * 32;
      for (const int chunk : {1, 16, 61}) {
        for (const int threads : {1, 2, 3}) {
          std::vector<float> out(s.q.size());
          for (const int first : {0, 48, 500, 512, 1023}) {
            run(s, first, chunk, isa, threads, out);
            EXPECT_EQ(std::memcmp(&out[first * width], &whole[first * width],
                                  chunk * width * sizeof(float)),
                      0)
                << isa_name(isa) << " chunk " << chunk << " at " << first << " threads " << threads;
          }
        }
      }
    }
  }
}

TEST(Attention, SequencesOfABatchDoNotMix) {
  const Isa isa = isas().back();
  const AttentionShape shape = shape_of(6, 2, 64, Dtype::f16);
  const Sequence a(shape, 900, 1, isa), b(shape, 70, 2, isa);
  std::vector<float> alone_a(a.q.size()), alone_b(b.q.size());
  run(a, 890, 10, isa, 1, alone_a);
  run(b, 69, 1, isa, 1, alone_b);
  std::vector<float> out_a(a.q.size()), out_b(b.q.size());
  base::Pool pool(2);
  AttentionScratch scratch(shape, 2, 4096);
  const AttentionRows rows[] = {b.rows(69, 1, out_b), a.rows(890, 10, out_a)};
  attention(shape, rows, shape.kv.bytes(), isa, scratch, pool);
  EXPECT_EQ(out_a, alone_a);
  EXPECT_EQ(out_b, alone_b);
}

TEST(Attention, HalfPrecisionSaturatesInsteadOfBecomingInfinite) {
  for (const Isa isa : isas()) {
    const AttentionShape shape = shape_of(1, 1, 16, Dtype::f16);
    std::vector<uint8_t> block(shape.kv.bytes());
    const std::vector<float> large(16, 1e6f), negative(16, -1e6f);
    kv_write(isa, shape.kv, block.data(), 5, large.data(), negative.data());
    const auto* k = reinterpret_cast<const uint16_t*>(block.data());
    const auto* v = reinterpret_cast<const uint16_t*>(block.data() + shape.kv.k_head_bytes());
    EXPECT_EQ(f16_to_f32(k[5]), 65504.0f);
    EXPECT_EQ(f16_to_f32(v[5 * 16]), -65504.0f);
  }
}

}  // namespace
}  // namespace tensor
