#include "base/random.h"

#include <cerrno>
#include <cstring>
#include <sys/random.h>

#include "base/check.h"

namespace base {

uint64_t Random::u64() {
  uint8_t bytes[8];
  fill(bytes);
  uint64_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

uint64_t Random::below(uint64_t bound) {
  CHECK(bound > 0, "a range must not be empty");
  // Values under the threshold would make small results likelier: draw again.
  const uint64_t threshold = -bound % bound;
  for (;;) {
    const uint64_t value = u64();
    if (value >= threshold) return value % bound;
  }
}

void SystemRandom::fill(std::span<uint8_t> out) {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t got = getrandom(out.data() + done, out.size() - done, 0);
    CHECK(got > 0 || errno == EINTR, "the kernel's generator always answers");
    if (got > 0) done += static_cast<size_t>(got);
  }
}

void SeededRandom::fill(std::span<uint8_t> out) {
  // splitmix64 (Steele, Lea, Flood 2014).
  size_t done = 0;
  while (done < out.size()) {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    const size_t count = std::min<size_t>(8, out.size() - done);
    std::memcpy(out.data() + done, &z, count);
    done += count;
  }
}

std::string random_hex(Random& random, int bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (int i = 0; i < bytes; ++i) {
    uint8_t byte;
    random.fill({&byte, 1});
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
  return out;
}

}  // namespace base
