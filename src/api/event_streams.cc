#include "api/event_streams.h"

#include <algorithm>
#include <charconv>

namespace api {
namespace {

using base::Json;

net::Headers stream_headers() {
  return {{"content-type", "text/event-stream; charset=utf-8"},
          {"cache-control", "no-store"},
          {"x-accel-buffering", "no"}};
}

bool is_hex_id(std::string_view id) {
  return !id.empty() && id.size() <= 64 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
}

}  // namespace

Parsed<std::vector<Follow>> parse_follows(std::string_view text) {
  std::vector<Follow> out;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view one = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const size_t colon = one.find(':');
    Follow follow;
    follow.generation = one.substr(0, colon);
    bool ok = is_hex_id(follow.generation) && colon != std::string_view::npos;
    if (ok) {
      const char* end = one.data() + one.size();
      const auto read = std::from_chars(one.data() + colon + 1, end, follow.after);
      ok = read.ec == std::errc() && read.ptr == end && follow.after >= 0;
    }
    if (!ok || out.size() >= EventStreams::follows_max) {
      return refuse(400, "invalid_value",
                    fmt::format("follow must be at most {} pairs ID:n", EventStreams::follows_max),
                    "follow");
    }
    out.push_back(std::move(follow));
  }
  return out;
}

EventStreams::EventStreams(Context& context, Generations& generations)
    : context_(context), generations_(generations) {
  generations_.on_frames([this](const Generation& generation) {
    // A copy: pumping may close streams.
    const std::vector<Shared> streams(streams_.begin(), streams_.end());
    for (const Shared& stream : streams) {
      const bool follows =
          std::any_of(stream->follows.begin(), stream->follows.end(),
                      [&](const Follow& follow) { return follow.generation == generation.id; });
      if (follows) pump(stream);
    }
  });
}

void EventStreams::open(const Call& call, std::vector<Follow> follows, bool once) {
  int of_session = 0;
  for (const Shared& stream : streams_) of_session += stream->session == call.session;
  for (auto at = streams_.begin(); of_session >= streams_per_session_max && at != streams_.end();
       ++at) {
    if ((*at)->session != call.session || (*at)->closed) continue;
    close(**at);
    --of_session;
  }
  sweep();
  auto stream = std::make_shared<Stream>();
  stream->exchange = call.exchange;
  stream->session = call.session;
  stream->follows = std::move(follows);
  stream->once = once;
  streams_.push_back(stream);
  call.exchange->on_disconnect([this, weak = std::weak_ptr(stream)] {
    if (const Shared gone = weak.lock()) gone->closed = true;
    sweep();
  });
  call.exchange->begin_stream(200, stream_headers());
  send(*stream, R"({"kind":"ping"})");
  if (models_seen_.empty()) models_seen_ = models_fingerprint();
  if (greeting_ && !once) send(*stream, greeting_());
  pump(stream);
  ping_later(stream);
}

bool EventStreams::send(Stream& stream, std::string_view data, const std::string& id) {
  if (stream.closed) return false;
  std::string frame;
  frame.reserve(data.size() + id.size() + 16);
  if (!id.empty()) frame.append("id: ").append(id).append("\n");
  frame.append("data: ").append(data).append("\n\n");
  if (!stream.exchange->write(frame)) stream.closed = true;
  return !stream.closed;
}

void EventStreams::close(Stream& stream) {
  if (stream.closed) return;
  stream.closed = true;
  stream.exchange->end_stream();
}

void EventStreams::sweep() {
  std::erase_if(streams_, [](const Shared& stream) { return stream->closed; });
}

// True when this generation has nothing more to say, now or ever.
bool EventStreams::pump_one(Stream& stream, Follow& follow, size_t& budget) {
  const auto generation = generations_.find(follow.generation);
  if (generation == nullptr) {
    send(stream,
         Json::object({{"generation", follow.generation}, {"n", 0}, {"kind", "gone"}}).dump());
    return true;
  }
  const auto count = static_cast<int64_t>(generation->frames.size());
  while (follow.after < count && budget > 0) {
    const std::string& frame = generation->frames[static_cast<size_t>(follow.after)];
    ++follow.after;
    if (!send(stream, frame, generation->id + ":" + std::to_string(follow.after))) return true;
    budget -= std::min(budget, frame.size());
  }
  return generation->ended && follow.after >= count;
}

void EventStreams::pump(const Shared& stream) {
  if (stream->closed || stream->pumping) return;
  size_t budget = portion_bytes;
  bool behind = false;
  std::erase_if(stream->follows, [&](Follow& follow) {
    const bool done = pump_one(*stream, follow, budget);
    if (!done && budget == 0) behind = true;
    return done;
  });
  if (stream->once && stream->follows.empty()) close(*stream);
  if (stream->closed || !behind) return sweep();
  stream->pumping = true;
  context_.after_ms(catch_up_ms, [this, weak = std::weak_ptr(stream)] {
    const Shared held = weak.lock();
    if (held == nullptr) return;
    held->pumping = false;
    pump(held);
  });
}

void EventStreams::state(std::string_view what) {
  tell_all(Json::object({{"kind", "state"}, {"what", what}}).dump());
}

void EventStreams::tell_all(std::string_view frame) {
  for (const Shared& stream : streams_) {
    if (!stream->once) send(*stream, frame);
  }
  sweep();
}

void EventStreams::close_session(uint64_t session) {
  for (const Shared& stream : streams_) {
    if (stream->session != session) continue;
    send(*stream, R"({"kind":"state","what":"signed_out"})");
    close(*stream);
  }
  sweep();
}

void EventStreams::close_all() {
  for (const Shared& stream : streams_) close(*stream);
  sweep();
}

std::string EventStreams::models_fingerprint() {
  std::string out = context_.engine.stats().ready ? "+" : "-";
  for (const engine::ModelStatus& model : context_.engine.models()) {
    out += model.id + (model.loaded ? "+" : "-");
  }
  return out;
}

void EventStreams::look_at_models() {
  std::string seen = models_fingerprint();
  if (seen == models_seen_) return;
  models_seen_ = std::move(seen);
  state("models");
}

void EventStreams::ping_later(const Shared& stream) {
  context_.after_ms(ping_ms, [this, weak = std::weak_ptr(stream)] {
    const Shared held = weak.lock();
    if (held == nullptr || held->closed) return;
    send(*held, R"({"kind":"ping"})");
    // Models come and go without a word from anybody: this beat notices.
    look_at_models();
    ping_later(held);
  });
}

}  // namespace api
