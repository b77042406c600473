// Generations: the answers that the site's pages are waiting for. Each is made once however often
// it is asked for, goes on when nobody watches, and leaves numbered frames that a page can read
// from any place on. Frames are kept until 60 s after the end.
//
//   engine events ──> pending text ──(at most 30 times a second)──> frame n ──> on_frames()
//                          └──> the conversation's node, at the same moment
//
// Threads: loop thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/context.h"
#include "chat/conversations.h"
#include "chat/pictures.h"

namespace api {

struct Generation {
  std::string id, conversation, answer;
  uint64_t engine_id = 0;
  std::vector<std::string> frames;  // frames[n - 1] is frame n, a JSON text
  bool ended = false;

  // What has come in since the last frame.
  engine::Part part = engine::Part::answer;
  std::string pending;
  std::optional<engine::Reading> reading;
  int64_t last_frame_ms = -1'000'000;
  bool timer_armed = false;
  int64_t thinking_since_ms = -1, thinking_ms = 0, arrived_ms = 0, first_token_ms = -1;
  std::string model;
  int tokens_max = -1;
};

class Generations {
 public:
  static constexpr int64_t frame_interval_ms = 34;
  static constexpr int64_t kept_ms = 60'000;
  static constexpr int running_max = 32;
  static constexpr size_t keys_max = 1'000;

  Generations(Context& context, chat::Conversations& conversations, chat::Pictures& pictures)
      : context_(context), conversations_(conversations), pictures_(pictures) {}

  // Called when a generation has new frames.
  void on_frames(std::function<void(const Generation&)> callback) {
    on_frames_ = std::move(callback);
  }

  // The generation that an idempotency key stands for, if it was used before: its id and its
  // conversation, also when its frames are gone.
  struct Made {
    std::string id, conversation;
  };
  const Made* find_key(const std::string& key) const;
  std::string start(const std::string& key, const std::string& conversation,
                    const std::string& answer, engine::Request request);
  std::shared_ptr<const Generation> find(const std::string& id) const;
  void stop(const std::string& id);
  void answer_now(const std::string& id);
  std::vector<std::shared_ptr<const Generation>> running() const;
  // Stops what is written into this conversation, or below this node of it.
  void stop_conversation(const std::string& conversation);

 private:
  using Shared = std::shared_ptr<Generation>;
  void on_event(const Shared& generation, const engine::Event& event);
  void on_delta(const Shared& generation, const engine::Delta& delta);
  void on_row(Generation& generation, const engine::SketchRow& row);
  void on_drawn(Generation& generation, const engine::Drawn& drawn);
  void on_end(const Shared& generation, const engine::End& end);
  void flush_soon(const Shared& generation);
  void flush(Generation& generation);
  void add_frame(Generation& generation, base::Json frame);
  void forget_later(const std::string& id);

  Context& context_;
  chat::Conversations& conversations_;
  chat::Pictures& pictures_;
  std::function<void(const Generation&)> on_frames_;
  std::map<std::string, Shared> generations_;
  std::map<std::string, Made> keys_;
  std::vector<std::string> keys_in_order_;
};

std::string_view end_word(chat::AnswerEnd end);
base::Json site_usage_json(const engine::Usage& usage);

}  // namespace api
