// Noise and references in double precision for the tests of dense.h and its neighbours.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <gtest/gtest.h>
#include <random>
#include <vector>

#include "tensor/arena.h"
#include "tensor/dense_kernels.h"
#include "tensor/linear.h"

namespace tensor {

inline std::vector<float> noise(int64_t n, unsigned seed, float deviation = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> x(n);
  for (float& value : x) value = normal(random);
  return x;
}

// Plain C++ and what this machine has besides.
inline std::vector<Isa> test_isas() {
  std::vector<Isa> all{Isa::scalar};
  for (const char* name : {"avx2", "avx512", "amx"}) {
    if (const auto isa = choose_isa(name)) all.push_back(*isa);
  }
  return all;
}

// Those of them whose kernels have tiles.
inline std::vector<Isa> tile_isas() {
  std::vector<Isa> all;
  for (const Isa isa : test_isas()) {
    if (dense_kernels(isa).tiles) all.push_back(isa);
  }
  return all;
}

// Memory of an arena, for as long as the object lives.
struct TestMemory {
  explicit TestMemory(uint64_t size) : arena(std::move(*WeightArena::create(size + 64))) {
    bytes = *arena.allocate(size);
  }
  float* floats() { return reinterpret_cast<float*>(bytes); }
  WeightArena arena;
  uint8_t* bytes;
};

inline double worst_difference(const std::vector<float>& got, const std::vector<double>& wanted) {
  EXPECT_EQ(got.size(), wanted.size());
  double worst = 0;
  for (size_t i = 0; i < got.size() && i < wanted.size(); ++i) {
    const double difference = std::abs(got[i] - wanted[i]);
    if (!(difference <= worst)) worst = difference;  // a NaN stays
  }
  return worst;
}

}  // namespace tensor
