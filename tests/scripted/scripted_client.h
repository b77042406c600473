// An engine that follows a script (script.h) instead of a model: for what must happen at a known
// time. Everything around it is the real program. One thread plays all requests.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <queue>
#include <thread>
#include <unordered_map>

#include "base/clock.h"
#include "base/random.h"
#include "engine/engine.h"
#include "scripted/script.h"

namespace scripted {

struct ScriptedOptions {
  int context_tokens = 4096;
  bool models = true;     // false: nothing is installed
  bool unusable = false;  // there is a file, but it is no model
  bool opening = false;   // which models there are is not known yet, and stays so
  bool starter = false;
  bool janus = false;  // there is a model besides that sees and draws
  engine::ThinkingSupport thinking = engine::ThinkingSupport::optional;
};

class ScriptedClient final : public engine::EngineClient {
 public:
  explicit ScriptedClient(ScriptedOptions options);
  ~ScriptedClient() override;

  base::Result<void> start(engine::Request request, engine::EventSink sink) override;
  void cancel(uint64_t request_id) override;
  void answer_now(uint64_t request_id) override;
  std::vector<engine::ModelStatus> models() override;
  engine::EngineStats stats() override;
  std::vector<engine::UnusableModel> unusable_models() override;
  // As when the next engine has one model more.
  void add_model(const std::string& id);
  // As when the engine's process is taken down with the server.
  void lose_all();
  base::Result<std::vector<int32_t>> tokenize(const std::string& model, const std::string& text,
                                              bool parse_special, bool add_bos) override;
  base::Result<std::string> detokenize(const std::string& model,
                                       const std::vector<int32_t>& ids) override;
  base::Result<engine::PromptSize> prompt_size(const std::string& model,
                                               const engine::ChatPrompt& prompt) override;

 private:
  struct Playing {
    engine::Request request;
    engine::EventSink sink;
    Script script;
    size_t next = 0;
    int64_t due_us = 0;
    bool answer_now = false, cancelled = false, read_shown = false, at_gate = false;
    std::vector<std::string> prompt_pieces;
    std::string answer;
    engine::Usage usage;
    int64_t started_us = 0, reading_us = -1, first_us = -1;
  };

  void play();
  int64_t advance(Playing& playing, int64_t now_us, bool& ended);
  bool emit_delta(Playing& playing, engine::Delta delta);
  void emit_prompt(Playing& playing);
  void note_drawing(Playing& playing, const engine::Event& event);
  void end(Playing& playing, engine::End event);
  void die();
  int32_t id_of(const std::string& piece);
  engine::Token token_of(const std::string& piece, int top);
  int context_of(const std::string& model) const;
  int64_t now_us() const { return clock_.monotonic_ns() / 1000; }

  ScriptedOptions options_;
  base::SystemClock clock_;
  base::SystemRandom random_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::unordered_map<uint64_t, Playing> playing_;
  engine::EngineStats stats_;
  int64_t dead_until_us_ = 0;
  std::vector<std::string> added_;  // ids
  std::map<std::string, int32_t> ids_;
  std::vector<std::string> pieces_;
  std::thread thread_;
};

}  // namespace scripted
