#include "api/generations.h"

#include <algorithm>

#include "base/base64.h"

namespace api {
namespace {

using base::Json;

chat::AnswerEnd answer_end(const engine::End& end, bool stopping) {
  switch (end.reason) {
    case engine::EndReason::stop:
      return chat::AnswerEnd::stop;
    case engine::EndReason::length:
      return chat::AnswerEnd::length;
    case engine::EndReason::cancelled:
      return chat::AnswerEnd::cancelled;
    case engine::EndReason::failed:
      break;
  }
  if (end.error.kind != base::ErrorKind::unavailable) return chat::AnswerEnd::failed;
  return stopping ? chat::AnswerEnd::server_stopped : chat::AnswerEnd::engine_died;
}

}  // namespace

std::string_view end_word(chat::AnswerEnd end) {
  switch (end) {
    case chat::AnswerEnd::stop:
      return "stop";
    case chat::AnswerEnd::length:
      return "length";
    case chat::AnswerEnd::cancelled:
      return "cancelled";
    case chat::AnswerEnd::engine_died:
      return "engine_died";
    case chat::AnswerEnd::server_stopped:
      return "server_stopped";
    case chat::AnswerEnd::failed:
      break;
  }
  return "failed";
}

Json site_usage_json(const engine::Usage& usage) {
  return Json::object({{"prompt_tokens", usage.prompt_tokens},
                       {"cached_tokens", usage.cached_tokens},
                       {"completion_tokens", usage.completion_tokens},
                       {"reasoning_tokens", usage.reasoning_tokens},
                       {"queue_ms", usage.queue_ms},
                       {"prompt_ms", usage.prompt_ms},
                       {"decode_ms", usage.decode_ms},
                       {"thinking_ms", usage.thinking_ms}});
}

const Generations::Made* Generations::find_key(const std::string& key) const {
  const auto at = keys_.find(key);
  return at == keys_.end() ? nullptr : &at->second;
}

std::shared_ptr<const Generation> Generations::find(const std::string& id) const {
  const auto at = generations_.find(id);
  return at == generations_.end() ? nullptr : at->second;
}

std::vector<std::shared_ptr<const Generation>> Generations::running() const {
  std::vector<std::shared_ptr<const Generation>> out;
  for (const auto& [id, generation] : generations_) {
    if (!generation->ended) out.push_back(generation);
  }
  return out;
}

std::string Generations::start(const std::string& key, const std::string& conversation,
                               const std::string& answer, engine::Request request) {
  auto generation = std::make_shared<Generation>();
  generation->id = base::random_hex(*context_.options.random, 16);
  generation->conversation = conversation;
  generation->answer = answer;
  generation->arrived_ms = context_.now_ms();
  generation->model = request.model;
  generation->tokens_max = request.tokens_max;
  generations_.emplace(generation->id, generation);
  keys_[key] = {generation->id, conversation};
  keys_in_order_.push_back(key);
  if (keys_in_order_.size() > keys_max) {
    keys_.erase(keys_in_order_.front());
    keys_in_order_.erase(keys_in_order_.begin());
  }
  if (chat::Conversation* into = conversations_.find(conversation)) into->busy = true;
  generation->engine_id = context_.engine.start(
      std::move(request),
      [this, generation](const engine::Event& event) { on_event(generation, event); });
  return generation->id;
}

void Generations::stop(const std::string& id) {
  const auto at = generations_.find(id);
  if (at != generations_.end() && !at->second->ended) {
    context_.engine.cancel(at->second->engine_id);
  }
}

void Generations::answer_now(const std::string& id) {
  const auto at = generations_.find(id);
  if (at != generations_.end() && !at->second->ended) {
    context_.engine.answer_now(at->second->engine_id);
  }
}

void Generations::stop_conversation(const std::string& conversation) {
  for (const auto& generation : running()) {
    if (generation->conversation == conversation) stop(generation->id);
  }
}

void Generations::on_event(const Shared& generation, const engine::Event& event) {
  if (const auto* queued = std::get_if<engine::Queued>(&event)) {
    add_frame(*generation, Json::object({{"kind", "queue"},
                                         {"position", queued->position},
                                         {"wait_ms_low", queued->wait_ms_low},
                                         {"wait_ms_high", queued->wait_ms_high}}));
  } else if (const auto* loading = std::get_if<engine::Loading>(&event)) {
    add_frame(*generation, Json::object({{"kind", "load"},
                                         {"model", loading->model},
                                         {"remaining_ms", loading->remaining_ms},
                                         {"fraction", loading->fraction}}));
  } else if (const auto* reading = std::get_if<engine::Reading>(&event)) {
    generation->reading = *reading;
    flush_soon(generation);
  } else if (const auto* delta = std::get_if<engine::Delta>(&event)) {
    on_delta(generation, *delta);
  } else if (const auto* row = std::get_if<engine::SketchRow>(&event)) {
    on_row(*generation, *row);
  } else if (const auto* drawn = std::get_if<engine::Drawn>(&event)) {
    on_drawn(*generation, *drawn);
  } else if (const auto* end = std::get_if<engine::End>(&event)) {
    on_end(generation, *end);
  }
}

void Generations::on_delta(const Shared& generation, const engine::Delta& delta) {
  const int64_t now = context_.now_ms();
  if (generation->first_token_ms < 0) generation->first_token_ms = now;
  if (delta.part != generation->part) flush(*generation);
  generation->part = delta.part;
  if (delta.part == engine::Part::reasoning) {
    if (generation->thinking_since_ms < 0) generation->thinking_since_ms = now;
    generation->thinking_ms = now - generation->thinking_since_ms;
  }
  generation->pending += delta.text;
  if (!generation->pending.empty()) flush_soon(generation);
}

void Generations::on_row(Generation& generation, const engine::SketchRow& row) {
  if (generation.first_token_ms < 0) generation.first_token_ms = context_.now_ms();
  add_frame(generation, Json::object({{"kind", "sketch"},
                                      {"picture", row.picture},
                                      {"row", row.row},
                                      {"rows", row.rows},
                                      {"colours", base::base64(row.colours)}}));
}

void Generations::on_drawn(Generation& generation, const engine::Drawn& drawn) {
  const auto picture = pictures_.put(base::random_hex(*context_.options.random, 16), drawn.png);
  if (chat::Conversation* into = conversations_.find(generation.conversation)) {
    conversations_.put_drawn(*into, generation.answer, static_cast<size_t>(drawn.picture), picture);
  }
  pictures_.taken(picture->id);
  add_frame(generation, Json::object({{"kind", "drawn"},
                                      {"picture", drawn.picture},
                                      {"id", picture->id},
                                      {"seed", static_cast<int64_t>(drawn.seed)}}));
}

// A frame now if the last one is old enough, else one timer that takes all that comes until then.
void Generations::flush_soon(const Shared& generation) {
  const int64_t since = context_.now_ms() - generation->last_frame_ms;
  if (since >= frame_interval_ms) {
    flush(*generation);
    return;
  }
  if (generation->timer_armed) return;
  generation->timer_armed = true;
  context_.after_ms(frame_interval_ms - since, [this, weak = std::weak_ptr(generation)] {
    const Shared held = weak.lock();
    if (held == nullptr) return;
    held->timer_armed = false;
    flush(*held);
  });
}

void Generations::flush(Generation& generation) {
  if (generation.reading) {
    const engine::Reading reading = *generation.reading;
    generation.reading.reset();
    add_frame(generation,
              Json::object({{"kind", "read"}, {"done", reading.done}, {"total", reading.total}}));
  }
  if (generation.pending.empty()) return;
  const bool reasoning = generation.part == engine::Part::reasoning;
  const std::string text = std::move(generation.pending);
  generation.pending.clear();
  if (chat::Conversation* into = conversations_.find(generation.conversation)) {
    conversations_.append(*into, generation.answer, reasoning ? text : "", reasoning ? "" : text);
  }
  Json frame = Json::object({{"kind", reasoning ? "reasoning" : "answer"}, {"text", text}});
  if (reasoning) frame.set("ms", generation.thinking_ms);
  add_frame(generation, std::move(frame));
}

void Generations::add_frame(Generation& generation, Json frame) {
  if (generation.ended) return;
  Json out = Json::object(
      {{"generation", generation.id}, {"n", static_cast<int64_t>(generation.frames.size()) + 1}});
  for (auto& [key, value] : frame.as_object()) out.set(key, std::move(value));
  generation.frames.push_back(out.dump());
  generation.last_frame_ms = context_.now_ms();
  if (on_frames_) on_frames_(generation);
}

void Generations::on_end(const Shared& generation, const engine::End& end) {
  flush(*generation);
  const chat::AnswerEnd reason = answer_end(end, context_.stopping);
  if (chat::Conversation* into = conversations_.find(generation->conversation)) {
    if (chat::Node* node = chat::Conversations::find_node(*into, generation->answer)) {
      node->end = reason;
      node->usage = end.usage;
    }
    conversations_.touch(*into);
    into->busy = false;
    for (const auto& other : running()) {
      if (other->id != generation->id && other->conversation == into->id) into->busy = true;
    }
  }
  Json frame = Json::object({{"kind", "end"},
                             {"reason", end_word(reason)},
                             {"context_full", end.context_full},
                             {"usage", site_usage_json(end.usage)}});
  if (end.reason == engine::EndReason::failed) {
    const ApiError error = context_.engine_failure(end.error);
    Json said = Json::object({{"message", sentence_of(error)}, {"code", error.code}});
    // The page has words of its own for an engine or a server that ended.
    if (reason == chat::AnswerEnd::failed) said.set("parts", error_parts(end.error));
    frame.set("error", std::move(said));
  }
  add_frame(*generation, std::move(frame));
  generation->ended = true;
  if (on_frames_) on_frames_(*generation);
  FinishedSequence finished;
  finished.model = generation->model;
  finished.reason = end.reason;
  finished.usage = end.usage;
  finished.tokens_max = generation->tokens_max;
  finished.whole_s = static_cast<double>(context_.now_ms() - generation->arrived_ms) / 1e3;
  if (generation->first_token_ms >= 0) {
    finished.first_token_s =
        static_cast<double>(generation->first_token_ms - generation->arrived_ms) / 1e3;
  }
  context_.metrics.finished(finished);
  forget_later(generation->id);
}

void Generations::forget_later(const std::string& id) {
  context_.after_ms(kept_ms, [this, id] { generations_.erase(id); });
}

}  // namespace api
