// What linear() reaches beside what the machine can: for each weight type and shape, GOP/s of
// prefill and batches and GB/s of decoding, next to an int8 peak and a stream-read probe taken
// in the same run (the median of several; machines swing by a third from minute to minute).
//
//   ninja -C build/release linear_bench && build/release/linear_bench [THREADS] [ISA] [TYPE]
//
// Weights are random blocks, more of them than any cache holds; each pass reads all of them.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <immintrin.h>
#include <string>
#include <thread>

#include "tensor/activations.h"
#include "tensor/linear.h"
#include "tensor/linear_test_util.h"
#include "tensor/workspace.h"

namespace {

using tensor::Dtype;

// With one thread, its CPU time: what other programs take of the machine does not count (their
// memory traffic still does).
clockid_t clock_used = CLOCK_MONOTONIC;
double now_s() {
  timespec time{};
  clock_gettime(clock_used, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Median seconds of fn, run for about `budget_s`, at least 5 times.
double median_s(double budget_s, const std::function<void()>& fn) {
  fn();
  std::vector<double> times;
  const double begin = now_s();
  while (times.size() < 5 || now_s() - begin < budget_s) {
    const double start = now_s();
    fn();
    times.push_back(now_s() - start);
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

// The int8 multiply-add of the ISA on registers only; the sums are pinned, or the compiler would
// keep them in memory.
__attribute__((target("avx2"), noinline)) void avx2_peak(int64_t rounds) {
  __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5), product;
  __m256i s[8] = {};
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      asm volatile("vpmaddubsw %3, %2, %1\n vpaddw %1, %0, %0"
                   : "+x"(s[j]), "=&x"(product)
                   : "x"(a), "x"(b));
    }
  }
}
__attribute__((target("avx512f,avx512vnni"), noinline)) void vnni_peak(int64_t rounds) {
  __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
  __m512i s[16] = {};
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) asm volatile("vpdpbusd %2, %1, %0" : "+v"(s[j]) : "v"(a), "v"(b));
  }
}

double peak_gops(tensor::Isa isa, base::Pool& pool) {
  constexpr int64_t rounds = 1000000;
  const bool vnni = isa >= tensor::Isa::avx512_vnni;
  const double seconds = median_s(0.1, [&] {
    pool.run(pool.threads(), 1,
             [&](int64_t, int64_t, int) { vnni ? vnni_peak(rounds) : avx2_peak(rounds); });
  });
  return static_cast<double>(rounds * pool.threads()) * (vnni ? 16 * 128 : 8 * 64) / seconds / 1e9;
}

__attribute__((target("avx2"), noinline)) void read_all(const uint8_t* p, int64_t bytes) {
  __m256i s0 = _mm256_setzero_si256(), s1 = s0;
  for (int64_t i = 0; i < bytes; i += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(p + i + 4096), _MM_HINT_T0);
    s0 = _mm256_xor_si256(s0, _mm256_load_si256(reinterpret_cast<const __m256i*>(p + i)));
    s1 = _mm256_xor_si256(s1, _mm256_load_si256(reinterpret_cast<const __m256i*>(p + i + 32)));
  }
  s0 = _mm256_xor_si256(s0, s1);
  asm volatile("" ::"x"(s0));
}

struct Weights {
  tensor::WeightArena arena;
  std::vector<tensor::PackedMatrix> copies;  // together more than the caches hold
  uint64_t bytes = 0;                        // of one
};

Weights make_weights(Dtype dtype, int64_t rows, int64_t cols) {
  constexpr uint64_t total_bytes = 320 << 20;
  Weights weights;
  const auto file = tensor::random_rows(dtype, rows, cols, 1);
  weights.bytes = tensor::packed_bytes(dtype, rows, cols);
  const uint64_t copies = std::max<uint64_t>(1, total_bytes / weights.bytes);
  weights.arena = std::move(*tensor::WeightArena::create(copies * weights.bytes));
  for (uint64_t i = 0; i < copies; ++i) {
    uint8_t* memory = *weights.arena.allocate(weights.bytes);
    weights.copies.push_back({dtype, rows, cols, memory});
    if (i == 0) {
      tensor::pack_rows(weights.copies[0], memory, 0, file.data(), rows);
    } else {
      std::memcpy(memory, weights.copies[0].data, weights.bytes);
    }
  }
  return weights;
}

double stream_gbps(const Weights& weights, base::Pool& pool) {
  const uint8_t* p = weights.copies[0].data;
  const auto bytes = static_cast<int64_t>(weights.bytes * weights.copies.size());
  const double seconds = median_s(0.1, [&] {
    pool.run(bytes / 64, 4096, [&](int64_t begin, int64_t end, int) {
      read_all(p + begin * 64, (end - begin) * 64);
    });
  });
  return static_cast<double>(bytes) / seconds / 1e9;
}

struct Shape {
  Dtype dtype;
  int64_t rows, cols;
};

void measure(const Shape& shape, tensor::Isa isa, base::Pool& pool) {
  const Weights weights = make_weights(shape.dtype, shape.rows, shape.cols);
  const int k = static_cast<int>(shape.cols);
  constexpr int columns[] = {1, 2, 4, 8, 16, 64, 256};
  constexpr int columns_most = 256;
  const auto x = tensor::random_activations(int64_t{columns_most} * k, 3);
  std::vector<float> y(static_cast<size_t>(columns_most * shape.rows));
  auto workspace = std::move(*tensor::Workspace::create(tensor::quant_rows_bytes(columns_most, k)));
  const double peak = peak_gops(isa, pool);
  const double stream = stream_gbps(weights, pool);
  std::printf("%-5s %6ldx%-5ld peak %5.0f GOP/s stream %5.1f GB/s |",
              std::string(tensor::info(shape.dtype).name).c_str(), shape.rows, shape.cols, peak,
              stream);
  for (const int n : columns) {
    const tensor::Workspace::Mark mark(workspace);
    const tensor::PackedMatrix* matrices[] = {weights.copies.data()};
    const auto rows = tensor::quantize_rows(x.data(), n, k, matrices, tensor::Precision::int8, isa,
                                            workspace, pool);
    // One pass over all copies, or over as many as take about 30 ms.
    const size_t copies = n <= 16 ? weights.copies.size() : 1;
    const double seconds = median_s(n <= 16 ? 0.15 : 0.3, [&] {
      for (size_t i = 0; i < copies; ++i) {
        tensor::linear(weights.copies[i], rows, {y.data(), shape.rows}, isa, pool);
      }
    });
    const double per = seconds / static_cast<double>(copies);
    const double gops = 2.0 * static_cast<double>(shape.rows * shape.cols) * n / per / 1e9;
    if (n <= 4) {
      std::printf(" n%d %.1f GB/s", n, static_cast<double>(weights.bytes) / per / 1e9);
    } else {
      std::printf(" n%d %.0f", n, gops);
    }
  }
  const double seconds = median_s(0.05, [&] {
    const tensor::Workspace::Mark mark(workspace);
    const tensor::PackedMatrix* matrices[] = {weights.copies.data()};
    (void)tensor::quantize_rows(x.data(), columns_most, k, matrices, tensor::Precision::int8, isa,
                                workspace, pool);
  });
  std::printf(" GOP/s | quantise %.2f Gelem/s\n", columns_most * k / seconds / 1e9);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const auto isa = tensor::choose_isa(argc > 2 ? argv[2] : "");
  if (!isa || threads < 1 || threads > 256) {
    std::fprintf(stderr, "linear_bench [THREADS] [scalar|avx2|avx512|amx] [TYPE]\n");
    return 2;
  }
  if (threads == 1) clock_used = CLOCK_THREAD_CPUTIME_ID;
  base::Pool pool(threads);
  std::printf("%d threads, %s\n", threads, std::string(tensor::isa_name(*isa)).c_str());
  const Shape shapes[] = {
      {Dtype::q4_0, 8960, 1536},     {Dtype::q4_0, 1536, 8960},   {Dtype::q4_k, 8960, 1536},
      {Dtype::q4_k, 1536, 8960},     {Dtype::q6_k, 1536, 8960},   {Dtype::q8_0, 8960, 1536},
      {Dtype::q4_1, 1536, 576},      {Dtype::q4_1, 576, 1536},    {Dtype::q5_0, 8960, 1536},
      {Dtype::q5_k, 8960, 1536},     {Dtype::f16, 2048, 1536},    {Dtype::q2_k, 8960, 1536},
      {Dtype::q3_k, 8960, 1536},     {Dtype::iq4_nl, 8960, 1536}, {Dtype::iq4_xs, 8960, 1536},
      {Dtype::mxfp4, 8960, 1536},    {Dtype::iq1_s, 8960, 1536},  {Dtype::iq1_m, 8960, 1536},
      {Dtype::iq2_xxs, 8960, 1536},  {Dtype::iq2_xs, 8960, 1536}, {Dtype::iq2_s, 8960, 1536},
      {Dtype::iq3_xxs, 8960, 1536},  {Dtype::iq3_s, 8960, 1536},  {Dtype::tq1_0, 8960, 1536},
      {Dtype::tq2_0, 8960, 1536},    {Dtype::nvfp4, 8960, 1536},  {Dtype::f32, 8960, 1536},
      {Dtype::f8_scaled, 8960, 1536}};
  for (const Shape& shape : shapes) {
    if (argc > 3 && tensor::info(shape.dtype).name != argv[3]) continue;
    measure(shape, *isa, pool);
  }
  return 0;
}
