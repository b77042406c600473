// Randomness as a dependency. SystemRandom is the kernel's (getrandom); SeededRandom repeats itself
// and is for tests. Neither is the sampler's generator, which is a function of (seed, position).
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace base {

class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(std::span<uint8_t> out) = 0;
  uint64_t u64();
  uint64_t below(uint64_t bound);  // uniform in [0, bound), bound > 0
};

class SystemRandom final : public Random {
 public:
  void fill(std::span<uint8_t> out) override;
};

class SeededRandom final : public Random {
 public:
  explicit SeededRandom(uint64_t seed) : state_(seed) {}
  void fill(std::span<uint8_t> out) override;

 private:
  uint64_t state_;
};

// `bytes` random bytes as lower-case hex, twice as many characters.
std::string random_hex(Random& random, int bytes);

}  // namespace base
