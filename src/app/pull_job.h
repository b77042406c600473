// What `nautile pull` and the page's download have in common: from the settings, the environment
// and a wish to a running pull. The only place of the program, besides net and pull, that makes
// clients of the network; the gate and the engine never come here.
//
// Threads: run_pull() is called by one thread, once in a process: it takes the signals.
#pragma once

#include <deque>
#include <functional>
#include <string>

#include "app/verb.h"
#include "pull/pull.h"

namespace app {

struct PullWish {
  std::string reference, from, model;
  int connections = 4, retries = 6, stall_timeout_s = 30;
  bool plan_only = false;
};

// Stops in order at SIGINT, SIGTERM or SIGHUP (error interrupted); a second one ends at once.
base::Result<pull::PullResult> run_pull(const Session& session, const PullWish& wish,
                                        const std::function<void(const pull::Progress&)>& progress);

std::string_view phase_name(pull::Progress::Phase phase);

// How fast it comes just now, over the last few seconds, and how long it will take.
class PullSpeed {
 public:
  static constexpr int64_t window_ms = 5'000;

  void note(int64_t now_ms, uint64_t bytes_fetched);
  int64_t bytes_per_s() const;
  int64_t left_ms(uint64_t bytes_left) const;  // -1: not known yet

 private:
  struct Seen {
    int64_t at_ms;
    uint64_t bytes;
  };
  std::deque<Seen> seen_;  // the oldest is at least window_ms ago, once there is such a one
};

}  // namespace app
