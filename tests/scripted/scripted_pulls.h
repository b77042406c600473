// A supervisor that fetches nothing: its catalogue is fixed, and a download goes one step further
// each time that it is asked for again, so that a journey stands at each state as long as it likes.
//
//   asked for        planning, fetching 12 %, fetching 42 %, checking, opening (and, as soon as the
//                    engine is let go, done: its models have one more)
//   …Llama-8B        planning, fetching 42 %, failed: the checksum is another one
//   …Qwen-14B        planning, failed: no room on the disk
//   …V2-Lite-Chat    to the end, where the engine cannot open it
//   others           refused as no reference
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "api/pulls.h"

namespace scripted {

class ScriptedPulls final : public api::PullDoor {
 public:
  struct World {
    std::function<void(api::PullNews)> tell;
    std::function<void(const std::string& model)> add_model;
  };
  void attach(World world) { world_ = std::move(world); }

  bool start(uint64_t call, std::string_view reference) override;
  bool pause() override;
  bool dismiss() override;
  bool ask_catalogue(uint64_t call) override;
  void release_engine() override;

 private:
  void advance();
  void fail(base::Error error, bool resumable);
  void tell() { world_.tell(status_); }

  World world_;
  api::PullStatus status_;
  std::vector<std::string> installed_;
};

}  // namespace scripted
