#include "scripted/scripted_client.h"

#include <algorithm>
#include <chrono>
#include <limits>

namespace scripted {
namespace {

constexpr int64_t restart_us = 1'500'000;  // after "die"
constexpr size_t pieces_max = 1'000'000;
constexpr int picture_tokens = 576;
constexpr int64_t never_us = std::numeric_limits<int64_t>::max();

base::Error restarting() {
  return {base::ErrorKind::unavailable, "the engine is restarting", "", "try again in two seconds"};
}

const std::string& last_question(const engine::ChatPrompt& prompt) {
  static const std::string none;
  for (auto at = prompt.messages.rbegin(); at != prompt.messages.rend(); ++at) {
    if (at->role == "user") return at->content;
  }
  return none;
}

int exchanges_of(const engine::ChatPrompt& prompt) {
  return static_cast<int>(
      std::count_if(prompt.messages.begin(), prompt.messages.end(),
                    [](const engine::Message& message) { return message.role == "user"; }));
}

// What is said about pictures in the last question, unless that is a script: how many there are,
// and of each its size and what stands before it.
std::string seen_in(const engine::ChatPrompt& prompt) {
  if (prompt.messages.empty()) return "";
  const engine::Message& last = prompt.messages.back();
  if (last.pictures.empty() || last.content.starts_with("/script")) return "";
  std::string out = fmt::format("I see {} pictures:", last.pictures.size());
  for (const engine::Picture& picture : last.pictures) {
    out += fmt::format(" {} bytes after {} of text,", picture.bytes.size(), picture.at);
  }
  return out + " and nothing more.";
}

std::string text_of(const engine::ChatPrompt& prompt) {
  std::string out;
  for (const engine::Message& message : prompt.messages) {
    out += " " + message.role + " " + message.content;
  }
  return out;
}

}  // namespace

ScriptedClient::ScriptedClient(ScriptedOptions options) : options_(options) {
  stats_.ready = true;
  stats_.kv_pages_total = 64;
  thread_ = std::thread([this] { play(); });
}

ScriptedClient::~ScriptedClient() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

int ScriptedClient::context_of(const std::string& model) const {
  return model == "scripted-long" ? options_.context_tokens * 32 : options_.context_tokens;
}

base::Result<void> ScriptedClient::start(engine::Request request, engine::EventSink sink) {
  std::lock_guard lock(mutex_);
  if (now_us() < dead_until_us_) return base::fail(restarting());
  Playing playing;
  playing.usage.seed = request.sampling.seed ? *request.sampling.seed : random_.u64();
  const uint64_t seed = request.sampling.temperature == 0 ? 1 : playing.usage.seed;
  std::string prompt;
  if (const auto* chat = std::get_if<engine::ChatPrompt>(&request.prompt)) {
    const std::string seen = seen_in(*chat);
    playing.script = script_of(seen.empty() ? last_question(*chat) : "/script say " + seen, seed);
    playing.prompt_pieces = pieces_of(text_of(*chat));
  } else if (const auto* text = std::get_if<engine::TextPrompt>(&request.prompt)) {
    playing.script = script_of(text->text, seed);
    playing.prompt_pieces = pieces_of(text->text);
  } else if (const auto* draw = std::get_if<engine::DrawPrompt>(&request.prompt)) {
    playing.script = drawing_of(*draw, playing.usage.seed);
    playing.prompt_pieces = pieces_of(draw->text);
  } else {
    for (int32_t id : std::get<engine::IdsPrompt>(request.prompt).ids) {
      if (static_cast<size_t>(id) >= pieces_.size()) {
        return base::fail(base::ErrorKind::invalid_input, "a token id is not in the vocabulary");
      }
      playing.prompt_pieces.push_back(pieces_[static_cast<size_t>(id)]);
    }
    playing.script = script_of("", seed);
  }
  if (playing.script.refused) return base::fail(restarting());
  playing.usage.prompt_tokens = static_cast<int>(playing.prompt_pieces.size());
  if (playing.usage.prompt_tokens >= context_of(request.model)) {
    return base::fail(base::ErrorKind::limit_exceeded, "the prompt is too long",
                      fmt::format("it has {} tokens, the context {}", playing.usage.prompt_tokens,
                                  context_of(request.model)));
  }
  playing.started_us = playing.due_us = now_us();
  if (!playing.script.steps.empty()) playing.due_us += playing.script.steps.front().delay_us;
  playing.sink = std::move(sink);
  const uint64_t id = request.id;
  playing.request = std::move(request);
  ++stats_.running;
  playing_.emplace(id, std::move(playing));
  changed_.notify_all();
  return {};
}

void ScriptedClient::cancel(uint64_t request_id) {
  std::lock_guard lock(mutex_);
  const auto at = playing_.find(request_id);
  if (at == playing_.end()) return;
  at->second.cancelled = true;
  at->second.due_us = 0;
  changed_.notify_all();
}

void ScriptedClient::answer_now(uint64_t request_id) {
  std::lock_guard lock(mutex_);
  const auto at = playing_.find(request_id);
  if (at == playing_.end()) return;
  Playing& playing = at->second;
  if (playing.at_gate) {
    playing.at_gate = false;
    playing.due_us = now_us();
    const std::vector<Step>& steps = playing.script.steps;
    if (playing.next < steps.size()) playing.due_us += steps[playing.next].delay_us;
  } else {
    playing.answer_now = true;
    playing.due_us = 0;
  }
  changed_.notify_all();
}

void ScriptedClient::play() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const int64_t now = now_us();
    stats_.ready = now >= dead_until_us_;
    int64_t next = stats_.ready ? never_us : dead_until_us_;
    std::vector<uint64_t> ended;
    for (auto& [id, playing] : playing_) {
      bool over = false;
      next = std::min(next, advance(playing, now, over));
      if (over) ended.push_back(id);
    }
    for (uint64_t id : ended) {
      playing_.erase(id);
      --stats_.running;
    }
    if (!ended.empty()) continue;
    if (next == never_us) {
      changed_.wait(lock);
    } else {
      changed_.wait_for(lock, std::chrono::microseconds(std::max<int64_t>(0, next - now_us())));
    }
  }
}

// Plays what is due; returns when the next step is.
int64_t ScriptedClient::advance(Playing& playing, int64_t now_us, bool& ended) {
  while (playing.due_us <= now_us) {
    engine::End over;
    if (playing.cancelled) over.reason = engine::EndReason::cancelled;
    if (playing.cancelled || playing.next >= playing.script.steps.size()) {
      end(playing, over);
      ended = true;
      return never_us;
    }
    Step& step = playing.script.steps[playing.next++];
    if (step.kind == Step::Kind::die) {
      die();
      return now_us;
    }
    if (step.kind == Step::Kind::hold && !playing.answer_now) {
      playing.due_us = never_us;
      return never_us;
    }
    if (step.kind == Step::Kind::gate) {
      playing.at_gate = true;
      playing.due_us = never_us;
      return never_us;
    }
    if (auto* given = std::get_if<engine::End>(&step.event); given != nullptr) {
      end(playing, *given);
      ended = true;
      return never_us;
    }
    const bool skipped = step.kind == Step::Kind::hold || (playing.answer_now && step.reasoning);
    if (auto* delta = std::get_if<engine::Delta>(&step.event); delta != nullptr && !skipped) {
      if (!emit_delta(playing, std::move(*delta))) {
        ended = true;
        return never_us;
      }
    } else if (!skipped) {
      note_drawing(playing, step.event);
      playing.read_shown |= std::holds_alternative<engine::Reading>(step.event);
      playing.sink(playing.request.id, step.event);
    }
    if (skipped) playing.due_us = now_us;
    if (playing.next < playing.script.steps.size() && !skipped) {
      playing.due_us += playing.script.steps[playing.next].delay_us;
    }
  }
  return playing.due_us;
}

void ScriptedClient::emit_prompt(Playing& playing) {
  const int total = playing.usage.prompt_tokens;
  if (!playing.read_shown) playing.sink(playing.request.id, engine::Reading{total, total, 0});
  playing.reading_us = now_us();
  stats_.prompt_tokens += static_cast<uint64_t>(total);
  if (!playing.request.prompt_logprobs) return;
  for (size_t i = 0; i < playing.prompt_pieces.size(); ++i) {
    engine::PromptToken token;
    token.token = token_of(playing.prompt_pieces[i], playing.request.logprobs_top);
    token.has_logprob = i > 0;
    playing.sink(playing.request.id, token);
  }
}

// Rows and pictures are counted as what they are made of.
void ScriptedClient::note_drawing(Playing& playing, const engine::Event& event) {
  const bool row = std::holds_alternative<engine::SketchRow>(event);
  const auto* drawn = std::get_if<engine::Drawn>(&event);
  if (!row && drawn == nullptr) return;
  if (playing.reading_us < 0) emit_prompt(playing);
  if (playing.first_us < 0) playing.first_us = now_us();
  if (row) ++stats_.steps;
  if (drawn != nullptr) {
    playing.usage.completion_tokens += static_cast<int>(drawn->codes.size());
    stats_.generated_tokens += drawn->codes.size();
  }
}

// False: the request ended, by its number of tokens or by a stop string.
bool ScriptedClient::emit_delta(Playing& playing, engine::Delta delta) {
  if (playing.reading_us < 0) emit_prompt(playing);
  const int most = playing.request.tokens_max;
  if (most >= 0 && playing.usage.completion_tokens >= most) {
    end(playing, {engine::EndReason::length, false, {}, {}});
    return false;
  }
  if (playing.first_us < 0) playing.first_us = now_us();
  ++stats_.steps;
  ++stats_.generated_tokens;
  ++playing.usage.completion_tokens;
  if (delta.part == engine::Part::reasoning) {
    ++playing.usage.reasoning_tokens;
    playing.usage.thinking_ms = (now_us() - playing.first_us) / 1000;
  }
  delta.ids = {id_of(delta.text)};
  if (playing.request.logprobs_top >= 0) {
    delta.logprobs = {token_of(delta.text, playing.request.logprobs_top)};
  }
  bool stopped = false;
  if (delta.part == engine::Part::answer) {
    const size_t before = playing.answer.size();
    playing.answer += delta.text;
    for (const std::string& stop : playing.request.stop_strings) {
      const size_t at = playing.answer.find(stop);
      if (at == std::string::npos) continue;
      stopped = true;
      delta.text = at > before ? playing.answer.substr(before, at - before) : "";
    }
  }
  playing.sink(playing.request.id, delta);
  const bool full = most >= 0 && playing.usage.completion_tokens >= most;
  if (!stopped && !full) return true;
  end(playing, {stopped ? engine::EndReason::stop : engine::EndReason::length, false, {}, {}});
  return false;
}

void ScriptedClient::end(Playing& playing, engine::End event) {
  if (playing.reading_us < 0 && event.reason != engine::EndReason::failed) emit_prompt(playing);
  const int64_t now = now_us();
  event.usage = playing.usage;
  const int64_t read = playing.reading_us < 0 ? now : playing.reading_us;
  const int64_t first = playing.first_us < 0 ? now : playing.first_us;
  event.usage.queue_ms = (read - playing.started_us) / 1000;
  event.usage.prompt_ms = std::max<int64_t>(0, first - read) / 1000;
  event.usage.decode_ms = (now - first) / 1000;
  playing.sink(playing.request.id, event);
}

void ScriptedClient::die() {
  dead_until_us_ = now_us() + restart_us;
  ++stats_.restarts;
  for (auto& [id, playing] : playing_) {
    engine::End event;
    event.reason = engine::EndReason::failed;
    event.error = restarting();
    playing.script.steps = {{Step::Kind::event, 0, std::move(event), false}};
    playing.next = 0;
    playing.due_us = 0;
  }
}

void ScriptedClient::lose_all() {
  std::lock_guard lock(mutex_);
  for (auto& [id, playing] : playing_) {
    engine::End event;
    event.reason = engine::EndReason::failed;
    event.error = restarting();
    playing.sink(id, event);
  }
  playing_.clear();
  stats_.running = 0;
}

std::vector<engine::UnusableModel> ScriptedClient::unusable_models() {
  if (!options_.unusable) return {};
  return {{"notes",
           {base::ErrorKind::invalid_input, "notes.gguf is no GGUF file",
            "it begins with \"# My\" and not with \"GGUF\"", "download the model again"}}};
}

int32_t ScriptedClient::id_of(const std::string& piece) {
  const auto at = ids_.find(piece);
  if (at != ids_.end()) return at->second;
  if (pieces_.size() >= pieces_max) return 0;
  pieces_.push_back(piece);
  const auto id = static_cast<int32_t>(pieces_.size() - 1);
  ids_.emplace(piece, id);
  return id;
}

engine::Token ScriptedClient::token_of(const std::string& piece, int top) {
  engine::Token token;
  token.chosen = {id_of(piece), piece, -0.25f};
  for (int i = 0; i < top; ++i) {
    const std::string other = i == 0 ? piece : "other" + std::to_string(i);
    token.top.push_back({id_of(other), other, -0.25f - static_cast<float>(i)});
  }
  return token;
}

std::vector<engine::ModelStatus> ScriptedClient::models() {
  std::lock_guard lock(mutex_);
  if (!options_.models) return {};
  engine::ModelStatus small;
  small.id = "scripted";
  small.architecture = "script";
  small.quantization = "none";
  small.license = "MIT";
  small.parameters = 1'500'000'000;
  small.weight_bytes = 1'000'000'000;
  small.memory_bytes = 1'200'000'000;
  small.context_tokens = options_.context_tokens;
  small.loaded = true;
  small.thinking = options_.thinking;
  small.has_template = true;
  small.starter = options_.starter;
  small.defaults = base::Json::object({{"temperature", 0.6}, {"top_p", 0.95}});
  small.created_unix = 1'700'000'000;
  engine::ModelStatus large = small;
  large.id = "scripted-long";
  large.context_tokens = context_of(large.id);
  large.loaded = false;
  large.starter = false;
  std::vector<engine::ModelStatus> out = {small, large};
  for (const std::string& id : added_) {
    out.push_back(large);
    out.back().id = id;
  }
  if (!options_.janus) return out;
  engine::ModelStatus janus = small;
  janus.id = "Janus-Pro-1B";
  janus.starter = false;
  janus.thinking = engine::ThinkingSupport::never;
  janus.sees = true;
  janus.picture_tokens = picture_tokens;
  janus.drawn_side = drawn_side;
  out.push_back(std::move(janus));
  return out;
}

void ScriptedClient::add_model(const std::string& id) {
  std::lock_guard lock(mutex_);
  added_.push_back(id);
}

engine::EngineStats ScriptedClient::stats() {
  std::lock_guard lock(mutex_);
  stats_.ready = !options_.opening && now_us() >= dead_until_us_;
  return stats_;
}

base::Result<std::vector<int32_t>> ScriptedClient::tokenize(const std::string&,
                                                            const std::string& text, bool, bool) {
  std::lock_guard lock(mutex_);
  std::vector<int32_t> ids;
  for (const std::string& piece : pieces_of(text)) ids.push_back(id_of(piece));
  return ids;
}

base::Result<std::string> ScriptedClient::detokenize(const std::string&,
                                                     const std::vector<int32_t>& ids) {
  std::lock_guard lock(mutex_);
  std::string text;
  for (int32_t id : ids) {
    if (static_cast<size_t>(id) >= pieces_.size()) {
      return base::fail(base::ErrorKind::invalid_input, "a token id is not in the vocabulary");
    }
    text += pieces_[static_cast<size_t>(id)];
  }
  return text;
}

base::Result<engine::PromptSize> ScriptedClient::prompt_size(const std::string& model,
                                                             const engine::ChatPrompt& prompt) {
  engine::PromptSize size;
  size.context_tokens = context_of(model);
  const int exchanges = std::max(1, exchanges_of(prompt));
  const int forced = script_of(last_question(prompt), 1).tokens_per_exchange;
  size.tokens =
      forced >= 0 ? forced * exchanges : static_cast<int>(pieces_of(text_of(prompt)).size());
  for (const engine::Message& message : prompt.messages) {
    size.tokens += picture_tokens * static_cast<int>(message.pictures.size());
  }
  if (size.tokens < size.context_tokens) return size;
  // As if all exchanges were of one length.
  const int fitting = (size.context_tokens - 1) * exchanges / size.tokens;
  size.drop_exchanges = fitting > 0 ? exchanges - fitting : -1;
  return size;
}

}  // namespace scripted
