// Engine: the whole of it behind EngineClient, in this process. One model thread owns lanes (loaded
// models), caches and sequences; callers leave messages in its mailbox. Prompts are rendered and
// tokenised on the caller's thread, weights are read on a loading thread. Without work the model
// thread sleeps: no timer runs.
//
//   caller: start() -> render, tokenise, check, read pictures -> mailbox --+
//   caller: cancel() ------------------------------------------> mailbox --+-> model thread:
//   loading thread: weights -----------------------------------> mailbox --+   lanes -> sinks
//
// Residency: a model is loaded when somebody asks for it. If it does not fit beside the others, the
// least recently used idle one is unloaded; if all are busy, the one used longest ago takes no new
// requests until it is idle (they wait, and bring it back afterwards).
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "engine/canvas.h"
#include "engine/engine.h"
#include "engine/lane.h"
#include "engine/model_source.h"
#include "engine/options.h"

namespace engine {

class Engine final : public EngineClient {
 public:
  struct Hooks {  // called on the model thread; may be empty
    std::function<void()> models_changed;
    std::function<void(const EngineStats&)> stats_changed;
  };
  struct Parts {
    std::vector<std::unique_ptr<ModelSource>> sources;
    std::vector<UnusableModel> unusable;
    std::shared_ptr<const base::Clock> clock;
    std::unique_ptr<base::Random> random;  // seeds that nobody chose
    uint64_t memory_bytes_max = 0;
    Hooks hooks;
  };
  Engine(EngineOptions options, Parts parts);
  ~Engine() override;  // every request ends as cancelled

  base::Result<void> start(Request request, EventSink sink) override;
  void cancel(uint64_t request_id) override;
  void answer_now(uint64_t request_id) override;
  std::vector<ModelStatus> models() override;
  EngineStats stats() override;
  std::vector<UnusableModel> unusable_models() override { return parts_.unusable; }
  base::Result<std::vector<int32_t>> tokenize(const std::string& model, const std::string& text,
                                              bool parse_special, bool add_bos) override;
  base::Result<std::string> detokenize(const std::string& model,
                                       const std::vector<int32_t>& ids) override;
  base::Result<PromptSize> prompt_size(const std::string& model, const ChatPrompt& prompt) override;

 private:
  enum class State { unloaded, wanted, loading, loaded };
  struct Slot {
    std::unique_ptr<ModelSource> source;
    State state = State::unloaded;
    bool draining = false;  // takes nothing new until it is idle, then makes room
    std::unique_ptr<Lane> lane;
    std::vector<std::unique_ptr<Sequence>> held;  // until the model is there
    int64_t used_ns = 0;
    int64_t load_began_ns = 0, load_announced_ns = 0;
  };
  struct Mail {
    enum class Kind { add, cancel, answer_now, load_ended } kind;
    uint64_t request_id = 0;
    size_t slot = 0;
    std::unique_ptr<Sequence> sequence;
    base::Result<std::unique_ptr<LoadedModel>> loaded = std::unique_ptr<LoadedModel>();
  };

  base::Result<size_t> slot_of(const std::string& model) const;
  base::Result<void> check(const Request& request, const ModelSource& source) const;
  base::Result<void> check_length(const Request& request, const ModelSource& source,
                                  int tokens) const;
  base::Result<void> check_abilities(const Request& request, const ModelSource& source) const;
  base::Error lacks(const char* what, bool (*able)(const ModelStatus&)) const;
  base::Result<std::vector<std::shared_ptr<const Canvas>>> read_pictures(
      const Request& request, const ModelSource& source) const;
  base::Result<void> register_request(uint64_t id);
  void forget_request(uint64_t id);
  base::Result<void> start_registered(Request& request, PreparedPrompt& prompt, EventSink& sink,
                                      size_t slot);
  EventSink watched(EventSink sink);
  void post(Mail mail);

  // The model thread.
  void run();
  std::vector<Mail> wait_for_mail();
  std::optional<int64_t> nap_ms() const;
  void handle(Mail& mail);
  void handle_loaded(Mail& mail);
  void cancel_held(Slot& slot, uint64_t request_id);
  void release_held(Slot& slot);
  void fail_held(Slot& slot, EndReason reason, const base::Error& error);
  void arrange_residency();
  bool make_room(const Slot& wanted);
  uint64_t resident_bytes() const;
  void begin_load(size_t index);
  void announce_loading();
  void unload(Slot& slot);
  void unload_idle();
  bool step_lanes();
  void publish();
  void publish_models();
  void log(const std::string& line) const;
  static void end_held(Sequence& s, EndReason reason, const base::Error& error, int64_t now_ns);

  const EngineOptions options_;
  Parts parts_;
  const CanvasMaker canvases_;
  std::vector<Slot> slots_;  // sources fixed at start; the rest is the model thread's

  mutable std::mutex mutex_;
  std::condition_variable mailed_;
  std::vector<Mail> mailbox_;  // guarded, like all down to stopping_
  std::set<uint64_t> active_;  // request ids
  // Whose start() is not through (pictures take a moment to read) -> was cancelled meanwhile.
  std::map<uint64_t, bool> starting_;
  std::vector<ModelStatus> statuses_;
  EngineStats published_;
  int64_t longest_wait_ms_ = 0;
  bool stopping_ = false;

  EngineStats stats_;     // the model thread's
  bool loading_ = false;  // one at a time
  std::atomic<double> load_fraction_ = 0;
  std::atomic<bool> load_cancel_ = false;
  std::thread loader_;
  std::thread thread_;
};

}  // namespace engine
