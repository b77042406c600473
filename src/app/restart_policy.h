// When to start a child again: at once the first time, then after pauses that double, and at once
// again after it has lived for a while. Numbers in, numbers out.
#pragma once

#include <algorithm>
#include <cstdint>

namespace app {

class RestartPolicy {
 public:
  static constexpr int64_t healthy_after_ms = 60'000;
  static constexpr int64_t pause_ms_first = 250, pause_ms_max = 15'000;

  // It died at `now_ms` after living since `started_ms`: how long to wait before the next start.
  int64_t died(int64_t started_ms, int64_t now_ms) {
    if (now_ms - started_ms >= healthy_after_ms) deaths_ = 0;
    const int doublings = std::min(deaths_ - 1, 16);
    ++deaths_;
    return doublings < 0 ? 0 : std::min(pause_ms_first << doublings, pause_ms_max);
  }
  int deaths_in_a_row() const { return deaths_; }

 private:
  int deaths_ = 0;
};

}  // namespace app
