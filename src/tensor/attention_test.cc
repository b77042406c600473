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
    const int width = shape.kv.kv_heads * shape.kv.head_dim;
    const int v_width = shape.kv.kv_heads * shape.kv.dim();
    fill(v, v_width);
    for (int i = 0; shape.kv.shared && i < n; ++i) {
      std::copy_n(&k[int64_t{i} * width], v_width, &v[int64_t{i} * v_width]);
    }
    for (int i = 0; i < n; ++i) {
      if (i % kv_block_keys == 0) memory.emplace_back(2 * shape.kv.bytes());
      kv_write(isa, shape.kv, memory.back().data() + shape.kv.bytes(), i % kv_block_keys,
               &k[int64_t{i} * width], &v[int64_t{i} * v_width]);
    }
    for (const auto& block : memory) blocks.push_back(block.data());
  }

  AttentionRows rows(int first, int count, std::vector<float>& out) const {
    const int64_t stride = shape.heads * shape.kv.head_dim, to = shape.heads * shape.kv.dim();
    return {blocks.data(), first, count, &q[first * stride], stride, &out[first * to], to};
  }

  float stored(Dtype dtype, float x) const {
    if (dtype == Dtype::f16) return f16_to_f32(f32_to_f16(x));
    return dtype == Dtype::bf16 ? bf16_to_f32(f32_to_bf16(x)) : x;
  }

  // The definition, in double.
  std::vector<double> expected(int position, int head, int first_key = 0) const {
    const int dim = shape.kv.head_dim, width = shape.kv.kv_heads * dim;
    const int v_dim = shape.kv.dim(), v_width = shape.kv.kv_heads * v_dim;
    const int kv_head = head / (shape.heads / shape.kv.kv_heads);
    std::vector<double> weight(position + 1), out(v_dim);
    double top = -1e300, sum = 0;
    for (int t = first_key; t <= position; ++t) {
      for (int d = 0; d < dim; ++d) {
        weight[t] += static_cast<double>(q[(int64_t{position} * shape.heads + head) * dim + d]) *
                     stored(shape.kv.k, k[int64_t{t} * width + kv_head * dim + d]);
      }
      weight[t] *= shape.scale;
      top = std::max(top, weight[t]);
    }
    for (int t = first_key; t <= position; ++t) sum += weight[t] = std::exp(weight[t] - top);
    for (int t = first_key; t <= position; ++t) {
      for (int d = 0; d < v_dim; ++d) {
        out[d] +=
            weight[t] / sum * stored(shape.kv.v, v[int64_t{t} * v_width + kv_head * v_dim + d]);
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

// Latent attention: one key row for all heads, whose beginning is the value.
AttentionShape latent_shape(int heads, int dim, int value_dim, Dtype dtype) {
  return {
      {dtype, dtype, 1, dim, value_dim, true}, heads, 1.0f / std::sqrt(static_cast<float>(dim))};
}

TEST(Attention, ValuesThatAreTheBeginningOfTheirKeys) {
  for (const Isa isa : isas()) {
    for (const Dtype dtype : {Dtype::f32, Dtype::f16, Dtype::bf16}) {
      for (const auto& [heads, dim, value_dim] :
           {std::tuple{3, 64, 48}, {4, 56, 40}, {16, 144, 128}, {5, 46, 44}, {60, 80, 64}}) {
        const Sequence s(latent_shape(heads, dim, value_dim, dtype), 600, 7, isa);
        std::vector<float> out(int64_t{600} * heads * value_dim);
        for (const int position : {0, 15, 63, 64, 200, 511, 512, 599}) {
          run(s, position, 1, isa, 2, out);
          for (int head = 0; head < heads; ++head) {
            const auto expected = s.expected(position, head);
            for (int d = 0; d < value_dim; ++d) {
              ASSERT_NEAR(out[(int64_t{position} * heads + head) * value_dim + d], expected[d],
                          bound)
                  << isa_name(isa) << " head " << head << " position " << position;
            }
          }
        }
      }
    }
  }
}

TEST(Attention, LatentRowIsTheSameAloneAndInAChunk) {
  for (const Isa isa : isas()) {
    const Sequence s(latent_shape(16, 80, 64, Dtype::f16), 600, 3, isa);
    const int64_t width = 16 * 64;
    std::vector<float> whole(600 * width), out(600 * width);
    run(s, 0, 600, isa, 1, whole);
    for (const int threads : {1, 2, 3}) {
      for (const int first : {0, 500, 511, 590}) {
        run(s, first, 7, isa, threads, out);
        EXPECT_EQ(std::memcmp(&out[first * width], &whole[first * width], 7 * width * 4), 0)
            << isa_name(isa) << " at " << first << " threads " << threads;
      }
    }
  }
}

TEST(Attention, FirstKeysCanBeHidden) {
  const Isa isa = isas().back();
  const Sequence s(shape_of(4, 2, 16, Dtype::f32), 130, 7, isa);
  std::vector<float> out(s.q.size());
  base::Pool pool(1);
  AttentionScratch scratch(s.shape, 1, 4096);
  for (const int position : {1, 2, 63, 64, 129}) {
    AttentionRows rows = s.rows(position, 1, out);
    rows.first_key = 1;
    attention(s.shape, {&rows, 1}, s.shape.kv.bytes(), isa, scratch, pool);
    for (int head = 0; head < 4; ++head) {
      const auto expected = s.expected(position, head, 1);
      for (int d = 0; d < 16; ++d) {
        EXPECT_NEAR(out[(position * 4 + head) * 16 + d], expected[d], bound) << position;
      }
    }
  }
}

// Keys wider than values, given span by span as latent attention expands them; and the heads' rows
// of the result apart from each other.
TEST(Attention, SpanBySpanEqualsTheDefinition) {
  for (const Isa isa : isas()) {
    for (const Dtype dtype : {Dtype::f32, Dtype::f16}) {
      const AttentionShape shape{{dtype, dtype, 3, 48, 24}, 3, 0.2f};
      const Sequence s(shape, 1100, 5, isa);
      for (const auto& [first, count] : {std::pair{0, 1100}, {505, 20}, {1099, 1}}) {
        base::Pool pool(2);
        AttentionScratch scratch(shape, 2, 0);
        std::vector<float> out(int64_t{1100} * 3 * 24);
        const int64_t places = int64_t{count} * 3;
        std::vector<float> o(places * shape.kv.dim_padded()), maximum(places), sum(places);
        const SpanState state{o.data(), maximum.data(), sum.data()};
        AttentionRows rows = s.rows(first, count, out);
        for (int span = 0; span * span_keys < first + count; ++span) {
          std::vector<const uint8_t*> blocks;
          for (size_t i = span * span_blocks; i < s.blocks.size(); ++i) {
            blocks.push_back(s.blocks[i] + shape.kv.bytes());
          }
          rows.blocks = blocks.data();
          attention_span(shape, rows, span, state, isa, scratch, pool);
        }
        attention_finish(shape, rows, state, isa, scratch, pool);
        for (int position = first; position < first + count; position += 1 + count / 40) {
          for (int head = 0; head < 3; ++head) {
            const auto expected = s.expected(position, head);
            for (int d = 0; d < 24; ++d) {
              ASSERT_NEAR(out[(int64_t{position} * 3 + head) * 24 + d], expected[d], bound)
                  << isa_name(isa) << " position " << position;
            }
          }
        }
      }
    }
  }
}

TEST(Attention, WholeBlocksAreFilledAsPositionsAreWritten) {
  for (const Isa isa : isas()) {
    for (const Dtype dtype : {Dtype::f32, Dtype::f16, Dtype::bf16}) {
      const KvBlockLayout layout{dtype, dtype, 2, 40, 24};
      constexpr int slots = 37;
      std::vector<float> k(slots * 2 * 40), v(slots * 2 * 24);
      for (size_t i = 0; i < k.size(); ++i) k[i] = std::sin(static_cast<float>(i));
      for (size_t i = 0; i < v.size(); ++i) v[i] = std::cos(static_cast<float>(i));
      std::vector<uint8_t> one(layout.bytes()), whole(layout.bytes());
      for (int slot = 0; slot < slots; ++slot) {
        kv_write(isa, layout, one.data(), slot, &k[slot * 80], &v[slot * 48]);
      }
      for (int h = 0; h < 2; ++h) {
        kv_fill_keys(isa, layout, whole.data(), h, {0, 30}, slots, &k[h * 40], 80);
        kv_fill_keys(isa, layout, whole.data(), h, {30, 10}, slots, &k[h * 40 + 30], 80);
        kv_fill_values(isa, layout, whole.data(), h, slots, &v[h * 24], 48);
      }
      EXPECT_EQ(whole, one);
      std::vector<float> read(slots * 7);
      kv_read_keys(layout, one.data(), slots, {20, 7}, read.data());
      for (int i = 0; i < slots * 7; ++i) {
        EXPECT_NEAR(read[i], k[i / 7 * 80 + 20 + i % 7], 1e-2f) << i;
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
