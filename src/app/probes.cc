#include "app/probes.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <immintrin.h>
#include <sys/mman.h>
#include <vector>

#include "base/clock.h"

namespace app {
namespace {

constexpr size_t bytes_per_thread = 128ull << 20;  // well beyond a shared third-level cache
constexpr size_t huge_page = 2ull << 20;
constexpr int64_t int8_rounds = 2'000'000;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

__attribute__((target("avx2"))) void read_all(const uint8_t* bytes, size_t count) {
  __m256i sum[4] = {};
  for (size_t i = 0; i < count; i += 128) {
    for (int j = 0; j < 4; ++j) {
      sum[j] = _mm256_xor_si256(
          sum[j], _mm256_load_si256(reinterpret_cast<const __m256i*>(bytes + i + 32 * j)));
    }
  }
  const __m256i all =
      _mm256_xor_si256(_mm256_xor_si256(sum[0], sum[1]), _mm256_xor_si256(sum[2], sum[3]));
  // The compiler must believe that the sum is used.
  asm volatile("" ::"x"(all));
}

// Twelve independent chains of the three instructions that AVX2 needs for 4 int8 products a lane;
// the registers are pinned, or the probe would time store forwarding.
__attribute__((target("avx2"), noinline)) double avx2_operations(int64_t rounds) {
  __m256i acc[6], w = _mm256_set1_epi8(3), x = _mm256_set1_epi8(5), one = _mm256_set1_epi16(1);
  for (auto& a : acc) a = _mm256_setzero_si256();
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 6
    for (auto& a : acc) {
      __m256i t;
      asm volatile(
          "vpmaddubsw %[x], %[w], %[t]\n\tvpmaddwd %[one], %[t], %[t]\n\tvpaddd %[t], %[a], %[a]"
          : [t] "=&x"(t), [a] "+x"(a)
          : [x] "x"(x), [w] "x"(w), [one] "x"(one));
    }
  }
  return static_cast<double>(rounds) * 6 * 64;
}

__attribute__((target("avx512f,avx512vnni"), noinline)) double avx512_operations(int64_t rounds) {
  __m512i acc[16], w = _mm512_set1_epi8(3), x = _mm512_set1_epi8(5);
  for (auto& a : acc) a = _mm512_setzero_si512();
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (auto& a : acc) asm volatile("vpdpbusd %2, %1, %0" : "+v"(a) : "v"(w), "v"(x));
  }
  return static_cast<double>(rounds) * 16 * 128;
}

}  // namespace

double stream_read_gb_per_s(base::Pool& pool, int repeat) {
  const auto threads = static_cast<size_t>(pool.threads());
  const size_t bytes = threads * bytes_per_thread + huge_page;
  void* mapping = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return 0;
  madvise(mapping, bytes, MADV_HUGEPAGE);
  auto* start = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(mapping) + huge_page - 1) &
                                           ~(huge_page - 1));
  std::fill(start, start + threads * bytes_per_thread, uint8_t{1});
  const base::SystemClock clock;
  std::vector<double> rates;
  for (int i = 0; i < repeat; ++i) {
    const int64_t begin_ns = clock.monotonic_ns();
    pool.run(static_cast<int64_t>(threads) * 8, 1, [&](int64_t begin, int64_t end, int) {
      const size_t part = bytes_per_thread / 8;
      read_all(start + static_cast<size_t>(begin) * part, static_cast<size_t>(end - begin) * part);
    });
    const double ns = static_cast<double>(clock.monotonic_ns() - begin_ns);
    rates.push_back(static_cast<double>(threads * bytes_per_thread) / ns);
  }
  munmap(mapping, bytes);
  return median(rates);
}

double int8_peak_gop_per_s(base::Pool& pool, tensor::Isa isa, int repeat) {
  if (isa == tensor::Isa::scalar) return 0;
  const base::SystemClock clock;
  std::vector<double> rates;
  for (int i = 0; i < repeat; ++i) {
    std::atomic<int64_t> operations{0};
    const int64_t begin_ns = clock.monotonic_ns();
    pool.run(pool.threads(), 1, [&](int64_t begin, int64_t end, int) {
      for (; begin < end; ++begin) {
        operations += static_cast<int64_t>(isa != tensor::Isa::avx2 ? avx512_operations(int8_rounds)
                                                                    : avx2_operations(int8_rounds));
      }
    });
    rates.push_back(static_cast<double>(operations.load()) /
                    static_cast<double>(clock.monotonic_ns() - begin_ns));
  }
  return median(rates);
}

}  // namespace app
