// Time as a dependency: policies take a Clock&, so a test moves a FakeClock by hand.
#pragma once

#include <atomic>
#include <cstdint>

namespace base {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t monotonic_ns() const = 0;  // never goes back; for durations and deadlines
  virtual int64_t wall_unix_ms() const = 0;  // for showing to people and `created` fields
  int64_t monotonic_ms() const { return monotonic_ns() / 1'000'000; }
};

class SystemClock final : public Clock {
 public:
  int64_t monotonic_ns() const override;
  int64_t wall_unix_ms() const override;
};

class FakeClock final : public Clock {
 public:
  int64_t monotonic_ns() const override { return now_ns_.load(); }
  int64_t wall_unix_ms() const override { return wall_start_ms_ + now_ns_.load() / 1'000'000; }
  void advance_ms(int64_t ms) { now_ns_ += ms * 1'000'000; }

 private:
  std::atomic<int64_t> now_ns_{1};
  int64_t wall_start_ms_ = 1'700'000'000'000;
};

}  // namespace base
