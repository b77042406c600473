// Downloads: what the supervisor knows of the download that the page asked for. It decides whether
// a wish is admitted, follows the puller's process from its start to its end, however it ends, and
// then follows the new model into the engine. One download at a time.
//
//   none --start--> planning -> fetching -> checking --end--> opening --engine--> done
//                       '----------'----------'--pause--> paused    '--left out--> failed
//                       '----------'----------'--error, death--> failed (resumable)
//   paused, failed, done --dismiss--> none
//
// What is on the disk is the puller's ledger; nothing here can lose a byte of it. Processes,
// messages and files are the world's, passed in. One thread.
#pragma once

#include <deque>
#include <functional>
#include <string>

#include "api/pulls.h"
#include "app/serve_plan.h"
#include "base/clock.h"
#include "base/log.h"

namespace app {

// A gate that was taken over must not be able to write what it knows into names that are asked of
// the network, so what is not in the catalogue is asked for so often at most, and each time said on
// the terminal.
inline constexpr int new_references_per_hour_max = 20;
inline constexpr int64_t keep_every_ms = 5'000;  // how stale the kept status may be
// An engine that dies so often over a new model is given back the old list.
inline constexpr int opening_deaths_max = 2;

// A wish in full, or why it is none: a name of the catalogue that this program runs, hf:…,
// ollama:….
struct AdmittedWish {
  std::string reference;  // "hf:…"
  std::string name;
  bool in_catalogue = false;
};
base::Result<AdmittedWish> admit_wish(std::string_view text);

class Downloads {
 public:
  struct TakenUp {
    std::string model;  // its id
    bool served = false;
  };
  struct World {
    const base::Clock& clock;
    base::Log& log;
    std::function<base::Result<void>(const std::string& reference)> start_puller;
    std::function<void()> stop_puller;                 // in order
    std::function<void(const api::PullStatus&)> tell;  // the gate, and whoever else
    std::function<void(const api::PullStatus&)> keep;  // beyond our end; state none: forget it
    std::function<base::Result<TakenUp>(const std::string& path)> take_up;  // into the plan
    std::function<void(const std::string& model)> give_up;                  // out of the plan again
    std::function<void()> want_engine;  // a new one is to be started
  };

  Downloads(World world, api::PullPolicy policy) : world_(std::move(world)), policy_(policy) {}

  // What was kept by an earlier server: it can be resumed.
  void remember(api::PullStatus kept);
  api::PullAnswer start(uint64_t call, std::string_view wish);
  void pause();
  // Forgets one that is paused, has failed or is done: nobody is told of it any more, and what is
  // on the disk stays there for the next start.
  void dismiss();
  void take_message(const base::Json& message);  // the puller's
  void puller_ended(int wait_status);            // after its last message
  void engine_started();
  void engine_reported(const ModelReport& report);
  void engine_died();

  const api::PullStatus& status() const { return status_; }
  bool running() const { return running_; }
  // The list of models has grown, and the engine that runs does not know it yet.
  bool wants_engine() const { return opening() && !engine_is_new_; }

 private:
  bool opening() const { return status_.state == api::PullStatus::State::opening; }
  std::optional<api::PullAnswer> refuse(const base::Result<AdmittedWish>& wish);
  int64_t rate_wait_ms();
  void progress(const base::Json& message);
  void arrived(const base::Json& message);
  void fail(base::Error error, bool resumable);
  void change(api::PullStatus::State state);
  void log_end(bool good);

  World world_;
  api::PullPolicy policy_;
  api::PullStatus status_;
  bool running_ = false, pausing_ = false, concluded_ = false;
  bool engine_is_new_ = false;
  int opening_deaths_ = 0;
  int64_t kept_ms_ = 0, started_ms_ = 0;
  std::deque<int64_t> new_references_ms_;
};

}  // namespace app
