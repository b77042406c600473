#include "engine/core.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "base/check.h"
#include "engine/picture_checks.h"

namespace engine {
namespace {

constexpr int64_t loading_interval_ms = 250;
constexpr size_t stop_strings_max = 16;
constexpr int logprobs_top_max = 20;

base::Error shutting_down() {
  return {base::ErrorKind::interrupted, "the engine is shutting down", "", ""};
}

}  // namespace

Engine::Engine(EngineOptions options, Parts parts)
    : options_(std::move(options)), parts_(std::move(parts)), canvases_(*parts_.random) {
  for (auto& source : parts_.sources) {
    Slot slot;
    slot.source = std::move(source);
    slots_.push_back(std::move(slot));
  }
  if (options_.preload_first && !slots_.empty()) slots_[0].state = State::wanted;
  publish_models();
  publish();
  thread_ = std::thread([this] { run(); });
}

Engine::~Engine() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  load_cancel_ = true;
  mailed_.notify_all();
  thread_.join();
  if (loader_.joinable()) loader_.join();
}

// ---- callers' threads ------------------------------------------------------------------------

base::Result<size_t> Engine::slot_of(const std::string& model) const {
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].source->status().id == model) return i;
  }
  return base::fail(base::ErrorKind::not_found,
                    "there is no model called " + base::shown_name(model), "",
                    "ask for one of the models that the server lists");
}

base::Result<void> Engine::check(const Request& r, const ModelSource& source) const {
  auto bad = [](std::string what) {
    return base::fail(base::ErrorKind::invalid_input, std::move(what));
  };
  TRY(check_sampling(r.sampling));
  if (r.tokens_max < -1) return bad("tokens_max must be 0 or more");
  if (r.thinking_tokens_max < -1) return bad("thinking_tokens_max must be 0 or more");
  if (r.logprobs_top < -1 || r.logprobs_top > logprobs_top_max) {
    return bad(fmt::format("logprobs must be between 0 and {}", logprobs_top_max));
  }
  if (r.stop_strings.size() > stop_strings_max) {
    return bad(fmt::format("at most {} stop strings are possible", stop_strings_max));
  }
  if (r.exact && !source.exact()) {
    return base::fail(base::ErrorKind::unsupported,
                      "exact arithmetic is not available on a running server", "",
                      "use `nautile run --exact`");
  }
  TRY(check_abilities(r, source));
  const ModelStatus& status = source.status();
  if (parts_.memory_bytes_max > 0 && status.memory_bytes > parts_.memory_bytes_max) {
    return base::fail(base::ErrorKind::out_of_memory,
                      "the model does not fit into this machine's memory",
                      fmt::format("it needs {} MiB, {} MiB are available",
                                  status.memory_bytes >> 20, parts_.memory_bytes_max >> 20),
                      "choose a smaller model or quantization");
  }
  return {};
}

// Names a model that could, if there is one.
base::Error Engine::lacks(const char* what, bool (*able)(const ModelStatus&)) const {
  base::Error error{base::ErrorKind::unsupported, what, "",
                    "add a model of the Janus-Pro family to the server"};
  for (const Slot& slot : slots_) {
    if (!able(slot.source->status())) continue;
    error.next = fmt::format("choose {}, which can", slot.source->status().id);
    break;
  }
  return error;
}

base::Result<void> Engine::check_abilities(const Request& r, const ModelSource& source) const {
  const auto* chat = std::get_if<ChatPrompt>(&r.prompt);
  if (chat && has_pictures(*chat)) {
    if (!source.status().sees) {
      return base::fail(lacks("this model cannot see pictures",
                              [](const ModelStatus& other) { return other.sees; }));
    }
    if (!options_.pictures) {
      return base::fail(base::ErrorKind::unavailable, "pictures cannot be read here",
                        "the process that reads them was not started", "restart the server");
    }
  }
  if (std::holds_alternative<DrawPrompt>(r.prompt) && source.status().drawn_side == 0) {
    return base::fail(lacks("this model cannot draw",
                            [](const ModelStatus& other) { return other.drawn_side > 0; }));
  }
  return {};
}

base::Result<void> Engine::check_length(const Request& r, const ModelSource& source,
                                        int tokens) const {
  int context = source.status().context_tokens;
  if (std::holds_alternative<DrawPrompt>(r.prompt)) {
    if (tokens == 0) return {};  // codes alone
    const int grid = source.prompts().janus()->shape().grid;
    // Two rows, each in pages of its own; the last code is not computed.
    const int row =
        std::min(context, source.cache_tokens() / model::page_tokens / 2 * model::page_tokens);
    if (tokens + grid * grid - 1 <= row) return {};
    return base::fail(base::ErrorKind::limit_exceeded,
                      "the description is longer than the model can read",
                      fmt::format("it has {} tokens, the picture {}, and there is room for {}",
                                  tokens, grid * grid, row),
                      "describe the picture in fewer words");
  }
  if (r.tokens_max == 0 ? tokens <= context : tokens < context) return {};
  return base::fail(
      base::ErrorKind::limit_exceeded, "the conversation is longer than the model can read",
      fmt::format("it has {} tokens, the context holds {} with the answer", tokens, context),
      "leave out the oldest messages, or ask in a new conversation");
}

// In the order of the messages. The request's own copies of the files are of no use afterwards.
base::Result<std::vector<std::shared_ptr<const Canvas>>> Engine::read_pictures(
    const Request& r, const ModelSource& source) const {
  std::vector<std::shared_ptr<const Canvas>> canvases;
  const auto* chat = std::get_if<ChatPrompt>(&r.prompt);
  if (!chat || !has_pictures(*chat)) return canvases;
  CHECK(source.fit(), "a model that sees says how");
  for (const Message& message : chat->messages) {
    for (const Picture& picture : message.pictures) {
      const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(picture.bytes.data()),
                                           picture.bytes.size());
      auto pixels = options_.pictures->fit(bytes, *source.fit());
      if (!pixels) {
        base::Error error = pixels.error();
        // A limit of start() is the context's: clients shorten the conversation then.
        if (error.kind == base::ErrorKind::limit_exceeded) {
          error.kind = base::ErrorKind::invalid_input;
        }
        return base::fail(std::move(error));
      }
      canvases.push_back(canvases_.make(std::move(*pixels)));
      if (canvases.back()) continue;
      return base::fail(base::ErrorKind::unavailable, "too many pictures are looked at",
                        fmt::format("those in use take {} MiB", CanvasMaker::bytes_max >> 20),
                        "try again in a minute");
    }
  }
  return canvases;
}

base::Result<void> Engine::register_request(uint64_t id) {
  std::lock_guard lock(mutex_);
  if (stopping_) return base::fail(shutting_down());
  auto limit = static_cast<size_t>(options_.running_max) + options_.waiting_max;
  if (active_.size() >= limit) {
    return base::fail(base::ErrorKind::unavailable, "the queue is full",
                      fmt::format("{} requests wait; the last of them for about {} s",
                                  options_.waiting_max, longest_wait_ms_ / 1000 + 1),
                      fmt::format("try again in {} s", longest_wait_ms_ / 2000 + 1));
  }
  if (!active_.insert(id).second) {
    return base::fail(base::ErrorKind::invalid_input, "a request of this id is running");
  }
  starting_[id] = false;
  return {};
}

void Engine::forget_request(uint64_t id) {
  std::lock_guard lock(mutex_);
  active_.erase(id);
  starting_.erase(id);
}

// The caller's sink, and the end of the bookkeeping.
EventSink Engine::watched(EventSink sink) {
  return [this, sink = std::move(sink)](uint64_t id, const Event& event) {
    if (std::holds_alternative<End>(event)) {
      std::lock_guard lock(mutex_);
      active_.erase(id);
    }
    sink(id, event);
  };
}

base::Result<void> Engine::start(Request request, EventSink sink) {
  ASSIGN(size_t index, slot_of(request.model));
  const ModelSource& source = *slots_[index].source;
  TRY(check(request, source));
  ASSIGN(PreparedPrompt prompt,
         source.prompts().build(request.prompt, parts_.clock->wall_unix_ms() / 1000));
  TRY(check_length(request, source, static_cast<int>(prompt.ids.size())));
  TRY(register_request(request.id));
  const uint64_t id = request.id;
  auto started = start_registered(request, prompt, sink, index);
  if (!started) forget_request(id);
  return started;
}

base::Result<void> Engine::start_registered(Request& request, PreparedPrompt& prompt,
                                            EventSink& sink, size_t slot) {
  const ModelSource& source = *slots_[slot].source;
  ASSIGN(auto canvases, read_pictures(request, source));
  CHECK(canvases.size() == prompt.pictures.size(), "each has its place in the prompt");
  const uint64_t id = request.id;
  std::optional<Drawing> drawing;
  if (auto* draw = std::get_if<DrawPrompt>(&request.prompt)) {
    drawing.emplace();
    drawing->order = std::make_shared<DrawingOrder>();
    drawing->order->prompt = std::move(*draw);
    drawing->without_text.ids = std::move(prompt.without_text);
  }
  request.prompt = IdsPrompt{};
  uint64_t seed = 0;
  {
    std::lock_guard lock(mutex_);  // the generator is shared
    seed = request.sampling.seed ? *request.sampling.seed : parts_.random->u64();
  }
  const std::vector<int> places = std::move(prompt.pictures);
  Mail mail;
  mail.kind = Mail::Kind::add;
  mail.slot = slot;
  mail.sequence = std::make_unique<Sequence>(std::move(request), watched(std::move(sink)),
                                             std::move(prompt), seed, source.prompts());
  Sequence& s = *mail.sequence;
  s.arrived_ns = parts_.clock->monotonic_ns();
  s.drawing = std::move(drawing);
  for (size_t i = 0; i < places.size(); ++i) {
    const int rows = source.prompts().janus()->shape().tokens;
    s.seen.push_back({places[i], rows, std::move(canvases[i])});
  }
  post(std::move(mail));
  bool cancelled = false;
  {
    std::lock_guard lock(mutex_);
    cancelled = starting_[id];
    starting_.erase(id);
  }
  if (cancelled) cancel(id);
  return {};
}

void Engine::post(Mail mail) {
  {
    std::lock_guard lock(mutex_);
    mailbox_.push_back(std::move(mail));
  }
  mailed_.notify_all();
}

void Engine::cancel(uint64_t request_id) {
  {
    std::lock_guard lock(mutex_);
    auto found = starting_.find(request_id);
    if (found != starting_.end()) found->second = true;  // and again when it has started
  }
  Mail mail;
  mail.kind = Mail::Kind::cancel;
  mail.request_id = request_id;
  post(std::move(mail));
}

void Engine::answer_now(uint64_t request_id) {
  Mail mail;
  mail.kind = Mail::Kind::answer_now;
  mail.request_id = request_id;
  post(std::move(mail));
}

std::vector<ModelStatus> Engine::models() {
  std::lock_guard lock(mutex_);
  return statuses_;
}

EngineStats Engine::stats() {
  std::lock_guard lock(mutex_);
  return published_;
}

base::Result<std::vector<int32_t>> Engine::tokenize(const std::string& model,
                                                    const std::string& text, bool parse_special,
                                                    bool add_bos) {
  ASSIGN(size_t index, slot_of(model));
  return slots_[index].source->prompts().tokenizer().encode(
      text, {.parse_special = parse_special, .add_bos = add_bos});
}

base::Result<std::string> Engine::detokenize(const std::string& model,
                                             const std::vector<int32_t>& ids) {
  ASSIGN(size_t index, slot_of(model));
  return slots_[index].source->prompts().tokenizer().decode(ids);
}

base::Result<PromptSize> Engine::prompt_size(const std::string& model, const ChatPrompt& prompt) {
  ASSIGN(size_t index, slot_of(model));
  const ModelSource& source = *slots_[index].source;
  return source.prompts().measure(prompt, source.status().context_tokens,
                                  parts_.clock->wall_unix_ms() / 1000);
}

// ---- the model thread ------------------------------------------------------------------------

void Engine::run() {
  for (;;) {
    std::vector<Mail> mails = wait_for_mail();
    bool stopping = false;
    {
      std::lock_guard lock(mutex_);
      stopping = stopping_;
    }
    for (Mail& mail : mails) handle(mail);
    if (stopping) break;
    arrange_residency();
    announce_loading();
    step_lanes();
    unload_idle();
    publish();
  }
  for (Slot& slot : slots_) {
    fail_held(slot, EndReason::cancelled, {});
    if (slot.lane) slot.lane->end_all(EndReason::cancelled, {});
    slot.lane.reset();
  }
}

// How long the thread may sleep: nothing (0) with work, forever (absent) without anything to watch.
std::optional<int64_t> Engine::nap_ms() const {
  std::optional<int64_t> nap;
  auto sooner = [&](int64_t ms) { nap = std::min(nap.value_or(ms), std::max<int64_t>(ms, 0)); };
  int64_t now = parts_.clock->monotonic_ns();
  for (const Slot& slot : slots_) {
    if (slot.lane && slot.lane->has_work()) return 0;
    if (slot.state == State::wanted && !loading_) return 0;
    if (slot.state == State::loading && !slot.held.empty()) sooner(loading_interval_ms);
    if (slot.lane && options_.unload_after_idle_ms >= 0) {
      sooner(options_.unload_after_idle_ms - (now - slot.used_ns) / 1'000'000 + 1);
    }
  }
  return nap;
}

std::vector<Engine::Mail> Engine::wait_for_mail() {
  std::optional<int64_t> nap = nap_ms();
  std::unique_lock lock(mutex_);
  auto ready = [&] { return stopping_ || !mailbox_.empty(); };
  if (!nap) {
    mailed_.wait(lock, ready);
  } else if (*nap > 0) {
    mailed_.wait_for(lock, std::chrono::milliseconds(*nap), ready);
  }
  return std::exchange(mailbox_, {});
}

void Engine::handle(Mail& mail) {
  switch (mail.kind) {
    case Mail::Kind::add: {
      Slot& slot = slots_[mail.slot];
      slot.used_ns = parts_.clock->monotonic_ns();
      slot.held.push_back(std::move(mail.sequence));
      release_held(slot);
      if (slot.state == State::unloaded) slot.state = State::wanted;
      slot.load_announced_ns = 0;
      break;
    }
    case Mail::Kind::cancel:
      for (Slot& slot : slots_) {
        cancel_held(slot, mail.request_id);
        if (slot.lane) slot.lane->cancel(mail.request_id);
      }
      break;
    case Mail::Kind::answer_now:
      for (Slot& slot : slots_) {
        for (auto& s : slot.held) s->answer_now |= s->request.id == mail.request_id;
        if (slot.lane) slot.lane->answer_now(mail.request_id);
      }
      break;
    case Mail::Kind::load_ended:
      handle_loaded(mail);
      break;
  }
}

void Engine::handle_loaded(Mail& mail) {
  loader_.join();
  loading_ = false;
  Slot& slot = slots_[mail.slot];
  if (!mail.loaded) {
    log(fmt::format("model {} was not loaded: {}", slot.source->status().id,
                    mail.loaded.error().message()));
    slot.state = State::unloaded;
    fail_held(slot, EndReason::failed, mail.loaded.error());
    return;
  }
  slot.state = State::loaded;
  slot.used_ns = parts_.clock->monotonic_ns();
  log(fmt::format("model {} loaded in {} ms", slot.source->status().id,
                  (slot.used_ns - slot.load_began_ns) / 1'000'000));
  model::ModelRunner& runner = (*mail.loaded)->runner();
  LaneOptions lane{options_.running_max, options_.prompt_chunk_tokens, options_.prefix_cache,
                   options_.speculation};
  // Nearly every expert is read for each chunk of a prompt: as few chunks as possible.
  if (runner.info().expert_places > 0 && lane.prompt_chunk_tokens == 0) {
    lane.prompt_chunk_tokens = runner.batch_tokens_max();
  }
  slot.lane =
      std::make_unique<Lane>(*slot.source, std::move(*mail.loaded), lane, *parts_.clock, stats_);
  publish_models();
  release_held(slot);
}

void Engine::release_held(Slot& slot) {
  if (!slot.lane || slot.draining) return;
  for (auto& s : std::exchange(slot.held, {})) slot.lane->add(std::move(s));
}

void Engine::end_held(Sequence& s, EndReason reason, const base::Error& error, int64_t now_ns) {
  End end;
  end.reason = reason;
  end.error = error;
  end.usage.prompt_tokens = s.prompt_length;
  end.usage.seed = s.seed;
  end.usage.queue_ms = (now_ns - s.arrived_ns) / 1'000'000;
  s.sink(s.request.id, end);
}

void Engine::fail_held(Slot& slot, EndReason reason, const base::Error& error) {
  for (auto& s : std::exchange(slot.held, {})) {
    end_held(*s, reason, error, parts_.clock->monotonic_ns());
  }
}

void Engine::cancel_held(Slot& slot, uint64_t request_id) {
  auto found = std::find_if(slot.held.begin(), slot.held.end(),
                            [&](const auto& s) { return s->request.id == request_id; });
  if (found == slot.held.end()) return;
  std::unique_ptr<Sequence> s = std::move(*found);
  slot.held.erase(found);
  end_held(*s, EndReason::cancelled, {}, parts_.clock->monotonic_ns());
}

// ---- residency -------------------------------------------------------------------------------

uint64_t Engine::resident_bytes() const {
  uint64_t bytes = 0;
  for (const Slot& slot : slots_) {
    if (slot.lane || slot.state == State::loading) bytes += slot.source->status().memory_bytes;
  }
  return bytes;
}

// True once the model fits beside the others.
bool Engine::make_room(const Slot& wanted) {
  uint64_t needed = wanted.source->status().memory_bytes;
  while (parts_.memory_bytes_max > 0 && resident_bytes() + needed > parts_.memory_bytes_max) {
    Slot* oldest = nullptr;
    Slot* oldest_idle = nullptr;
    for (Slot& slot : slots_) {
      if (!slot.lane) continue;
      auto older = [&](const Slot* than) { return !than || slot.used_ns < than->used_ns; };
      if (older(oldest)) oldest = &slot;
      if (slot.lane->idle() && older(oldest_idle)) oldest_idle = &slot;
    }
    if (!oldest) return true;  // nothing left to unload: load() says what is missing
    if (!oldest_idle) {
      oldest->draining = true;
      return false;
    }
    unload(*oldest_idle);
  }
  return true;
}

void Engine::arrange_residency() {
  if (loading_) return;
  // The one that waits longest comes first, so that two models that exclude each other alternate.
  std::optional<size_t> next;
  auto asked_ns = [](const Slot& slot) {
    return slot.held.empty() ? std::numeric_limits<int64_t>::max() : slot.held[0]->arrived_ns;
  };
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].state != State::wanted) continue;
    if (!next || asked_ns(slots_[i]) < asked_ns(slots_[*next])) next = i;
  }
  if (next && make_room(slots_[*next])) begin_load(*next);
}

void Engine::begin_load(size_t index) {
  Slot& slot = slots_[index];
  slot.state = State::loading;
  slot.load_began_ns = parts_.clock->monotonic_ns();
  slot.load_announced_ns = 0;
  loading_ = true;
  load_fraction_ = 0;
  loader_ = std::thread([this, index] {
    LoadProgress progress{[this](double fraction) { load_fraction_ = fraction; }, &load_cancel_};
    Mail mail;
    mail.kind = Mail::Kind::load_ended;
    mail.slot = index;
    mail.loaded = slots_[index].source->load(progress);
    post(std::move(mail));
  });
}

void Engine::announce_loading() {
  int64_t now = parts_.clock->monotonic_ns();
  for (Slot& slot : slots_) {
    bool due = now - slot.load_announced_ns >= loading_interval_ms * 1'000'000;
    if ((slot.lane && !slot.draining) || slot.held.empty() || !due) continue;
    slot.load_announced_ns = now;
    double fraction = slot.state == State::loading ? std::clamp(load_fraction_.load(), 0., 1.) : 0;
    double spent_ms = static_cast<double>(now - slot.load_began_ns) / 1e6;
    double remaining_ms = fraction > 0.01 ? spent_ms * (1 - fraction) / fraction : 0;
    Loading event{slot.source->status().id, static_cast<int64_t>(remaining_ms), fraction};
    for (auto& s : slot.held) s->sink(s->request.id, event);
  }
}

void Engine::unload(Slot& slot) {
  log(fmt::format("model {} unloaded", slot.source->status().id));
  slot.lane.reset();
  slot.draining = false;
  slot.state = slot.held.empty() ? State::unloaded : State::wanted;
  publish_models();
}

void Engine::unload_idle() {
  if (options_.unload_after_idle_ms < 0) return;
  int64_t now = parts_.clock->monotonic_ns();
  for (Slot& slot : slots_) {
    if (!slot.lane || !slot.lane->idle()) continue;
    if (now - slot.used_ns >= options_.unload_after_idle_ms * 1'000'000) unload(slot);
  }
}

// ---- steps and what is shown -----------------------------------------------------------------

bool Engine::step_lanes() {
  const auto busy = std::count_if(slots_.begin(), slots_.end(),
                                  [](const Slot& slot) { return slot.lane && !slot.lane->idle(); });
  bool worked = false;
  for (Slot& slot : slots_) {
    if (!slot.lane || !slot.lane->has_work()) continue;
    const bool idle = slot.lane->idle();
    if (idle && busy > 0) continue;  // what nobody asked for waits until the machine is free
    slot.lane->step(busy <= 1);
    if (!idle) slot.used_ns = parts_.clock->monotonic_ns();
    worked = true;
  }
  return worked;
}

void Engine::publish() {
  stats_.running = stats_.waiting = 0;
  stats_.kv_pages_total = stats_.kv_pages_used = 0;
  int64_t longest_wait_ms = 0;
  for (const Slot& slot : slots_) {
    stats_.waiting += static_cast<int>(slot.held.size());
    if (!slot.lane) continue;
    stats_.running += slot.lane->running();
    stats_.waiting += slot.lane->waiting();
    stats_.kv_pages_total += slot.lane->pages_total();
    stats_.kv_pages_used += slot.lane->pages_used();
    longest_wait_ms = std::max(longest_wait_ms, slot.lane->longest_wait_ms());
  }
  stats_.ready = true;
  {
    std::lock_guard lock(mutex_);
    published_ = stats_;
    longest_wait_ms_ = longest_wait_ms;
  }
  if (parts_.hooks.stats_changed) parts_.hooks.stats_changed(stats_);
}

void Engine::publish_models() {
  std::vector<ModelStatus> statuses;
  for (const Slot& slot : slots_) {
    statuses.push_back(slot.source->status());
    statuses.back().loaded = slot.state == State::loaded && slot.lane != nullptr;
  }
  {
    std::lock_guard lock(mutex_);
    statuses_ = std::move(statuses);
  }
  if (parts_.hooks.models_changed) parts_.hooks.models_changed();
}

void Engine::log(const std::string& line) const {
  if (options_.log) options_.log(line);
}

}  // namespace engine
