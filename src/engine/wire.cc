#include "engine/wire.h"

#include <cmath>
#include <concepts>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/bytes.h"
#include "engine/picture_checks.h"

namespace engine::wire {
namespace {

// Every struct has one list of fields, fields(archive, value), that the writer and the reader walk;
// so the two cannot disagree.

class Writer {
 public:
  template <class T>
  requires std::is_arithmetic_v<T> &&(!std::same_as<T, bool>)void number(T& value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  void boolean(bool& value) { out_.push_back(value ? 1 : 0); }
  template <class E>
  void enumeration(E& value, E /*last*/) {
    out_.push_back(static_cast<char>(value));
  }
  void bytes(std::string& value) {
    auto size = static_cast<uint32_t>(value.size());
    number(size);
    out_.append(value);
  }
  void text(std::string& value) { bytes(value); }
  void json(base::Json& value) {
    std::string compact = value.dump();
    bytes(compact);
  }
  template <class T, class F>
  void list(std::vector<T>& values, F each) {
    auto size = static_cast<uint32_t>(values.size());
    number(size);
    for (T& value : values) each(value);
  }
  template <class T, class F>
  void optional(std::optional<T>& value, F each) {
    bool has = value.has_value();
    boolean(has);
    if (has) each(*value);
  }
  template <class V, class F>
  void alternative(V& value, F each) {
    out_.push_back(static_cast<char>(value.index()));
    std::visit(each, value);
  }
  void require(bool /*condition*/) {}  // what is sent was made by us
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : in_(bytes) {}

  template <class T>
  requires std::is_arithmetic_v<T> &&(!std::same_as<T, bool>)void number(T& value) {
    auto read = in_.read<T>();
    require(read.has_value());
    if (ok_) value = *read;
  }
  void boolean(bool& value) {
    uint8_t byte = 0;
    number(byte);
    require(byte <= 1);
    value = byte == 1;
  }
  template <class E>
  void enumeration(E& value, E last) {
    uint8_t byte = 0;
    number(byte);
    require(byte <= static_cast<uint8_t>(last));
    if (ok_) value = static_cast<E>(byte);
  }
  void bytes(std::string& value) {
    uint32_t size = 0;
    number(size);
    auto taken = ok_ ? in_.take_text(size) : std::nullopt;
    require(taken.has_value());
    if (ok_) value = *taken;
  }
  void text(std::string& value) {
    bytes(value);
    require(base::is_utf8(value));
  }
  void json(base::Json& value) {
    std::string compact;
    bytes(compact);
    if (!ok_) return;
    base::JsonLimits limits;
    limits.depth_max = json_depth_max;
    auto parsed = base::parse_json(compact, "a field of the engine's wire", limits);
    require(parsed.has_value());
    if (ok_) value = std::move(*parsed);
  }
  template <class T, class F>
  void list(std::vector<T>& values, F each) {
    uint32_t count = 0;
    number(count);
    // Every element takes a byte at least; memory grows with what is really there.
    require(in_.fits(count, 1));
    for (uint32_t i = 0; ok_ && i < count; ++i) {
      T value{};
      each(value);
      if (ok_) values.push_back(std::move(value));
    }
  }
  template <class T, class F>
  void optional(std::optional<T>& value, F each) {
    bool has = false;
    boolean(has);
    if (!ok_ || !has) return;
    value.emplace();
    each(*value);
  }
  template <class V, class F>
  void alternative(V& value, F each) {
    uint8_t index = 0;
    number(index);
    require(index < std::variant_size_v<V>);
    if (!ok_) return;
    emplace(value, index, std::make_index_sequence<std::variant_size_v<V>>{});
    std::visit(each, value);
  }
  void require(bool condition) { ok_ = ok_ && condition; }
  bool complete() const { return ok_ && in_.remaining() == 0; }

 private:
  template <class V, size_t... I>
  static void emplace(V& value, uint8_t index, std::index_sequence<I...>) {
    ((index == I ? (void)value.template emplace<I>() : (void)0), ...);
  }
  base::ByteReader in_;
  bool ok_ = true;
};

template <class A>
void count_of(A& a, int& value) {
  auto wide = static_cast<int32_t>(value);
  a.number(wide);
  a.require(wide >= 0);
  value = wide;
}
template <class A>
void duration(A& a, int64_t& value) {
  a.number(value);
  a.require(value >= 0);
}
template <class A>
void ids(A& a, std::vector<int32_t>& values) {
  a.list(values, [&](int32_t& id) { a.number(id); });
}

template <class A>
void fields(A& a, Message& m) {
  a.text(m.role);
  a.text(m.content);
  a.text(m.name);
  a.text(m.reasoning_content);
  a.boolean(m.prefix);
  a.list(m.tool_calls, [&](ToolCall& call) {
    a.text(call.id);
    a.text(call.name);
    a.text(call.arguments);
  });
  a.text(m.tool_call_id);
  a.list(m.pictures, [&](Picture& picture) {
    a.number(picture.at);
    a.bytes(picture.bytes);
  });
}
template <class A>
void fields(A& a, ChatPrompt& p) {
  a.list(p.messages, [&](Message& m) { fields(a, m); });
  a.enumeration(p.thinking, Thinking::off);
  a.json(p.template_arguments);
  a.list(p.tools, [&](Tool& tool) {
    a.text(tool.name);
    a.json(tool.definition);
  });
  a.enumeration(p.tool_choice, ToolChoice::named);
  a.text(p.tool_name);
  a.boolean(p.parallel_calls);
  a.require(check_pictures(p).has_value());
}
template <class A>
void fields(A& a, TextPrompt& p) {
  a.text(p.text);
  a.boolean(p.add_bos);
}
template <class A>
void fields(A& a, IdsPrompt& p) {
  ids(a, p.ids);
}
template <class A>
void fields(A& a, DrawPrompt& p) {
  a.text(p.text);
  a.number(p.pictures);
  a.number(p.guidance);
  ids(a, p.codes);
}
template <class A>
void fields(A& a, SamplingParams& p) {
  a.number(p.temperature);
  a.number(p.top_k);
  a.number(p.top_p);
  a.number(p.min_p);
  a.number(p.repetition_penalty);
  a.number(p.frequency_penalty);
  a.number(p.presence_penalty);
  a.optional(p.seed, [&](uint64_t& seed) { a.number(seed); });
}
template <class A>
void fields(A& a, Request& r) {
  a.number(r.id);
  a.text(r.model);
  a.alternative(r.prompt, [&](auto& prompt) { fields(a, prompt); });
  fields(a, r.sampling);
  a.number(r.tokens_max);
  a.list(r.stop_strings, [&](std::string& stop) { a.text(stop); });
  ids(a, r.stop_ids);
  a.boolean(r.ignore_end_tokens);
  a.number(r.logprobs_top);
  a.boolean(r.prompt_logprobs);
  a.boolean(r.exact);
  a.number(r.thinking_tokens_max);
  a.number(r.account);
}

template <class A>
void fields(A& a, TokenLogprob& t) {
  a.number(t.id);
  a.bytes(t.text);
  a.number(t.logprob);
  a.require(!std::isnan(t.logprob));
}
template <class A>
void fields(A& a, Token& t) {
  fields(a, t.chosen);
  a.list(t.top, [&](TokenLogprob& top) { fields(a, top); });
}
template <class A>
void fields(A& a, Queued& e) {
  count_of(a, e.position);
  duration(a, e.wait_ms_low);
  duration(a, e.wait_ms_high);
}
template <class A>
void fields(A& a, Loading& e) {
  a.text(e.model);
  duration(a, e.remaining_ms);
  a.number(e.fraction);
  a.require(e.fraction >= 0 && e.fraction <= 1);
}
template <class A>
void fields(A& a, Reading& e) {
  count_of(a, e.done);
  count_of(a, e.total);
  count_of(a, e.cached);
}
template <class A>
void fields(A& a, PromptToken& e) {
  fields(a, e.token);
  a.boolean(e.has_logprob);
}
template <class A>
void fields(A& a, Delta& e) {
  a.enumeration(e.part, Part::answer);
  a.text(e.text);
  ids(a, e.ids);
  a.list(e.logprobs, [&](Token& token) { fields(a, token); });
  a.list(e.calls, [&](CalledTool& call) {
    count_of(a, call.index);
    a.text(call.name);
    a.text(call.arguments);
  });
}
template <class A>
void fields(A& a, SketchRow& e) {
  count_of(a, e.picture);
  count_of(a, e.row);
  count_of(a, e.rows);
  a.require(e.picture < pictures_drawn_max && e.row < e.rows && e.rows <= sketch_side_max);
  a.bytes(e.colours);
  a.require(e.colours.size() % 3 == 0 && e.colours.size() <= 3 * sketch_side_max);
}
template <class A>
void fields(A& a, Drawn& e) {
  count_of(a, e.picture);
  a.require(e.picture < pictures_drawn_max);
  a.number(e.seed);
  a.bytes(e.png);
  a.list(e.codes, [&](int32_t& code) {
    a.number(code);
    a.require(code >= 0);
  });
}
template <class A>
void fields(A& a, Usage& u) {
  count_of(a, u.prompt_tokens);
  count_of(a, u.cached_tokens);
  count_of(a, u.completion_tokens);
  count_of(a, u.reasoning_tokens);
  a.number(u.seed);
  duration(a, u.queue_ms);
  duration(a, u.prompt_ms);
  duration(a, u.decode_ms);
  duration(a, u.thinking_ms);
}
template <class A>
void fields(A& a, base::Error& e) {
  a.enumeration(e.kind, base::ErrorKind::internal);
  a.text(e.what);
  a.text(e.why);
  a.text(e.next);
}
template <class A>
void fields(A& a, End& e) {
  a.enumeration(e.reason, EndReason::failed);
  a.boolean(e.context_full);
  fields(a, e.usage);
  fields(a, e.error);
}

template <class A>
void fields(A& a, ModelStatus& s) {
  a.text(s.id);
  a.text(s.architecture);
  a.text(s.quantization);
  a.text(s.license);
  a.number(s.parameters);
  a.number(s.weight_bytes);
  a.number(s.memory_bytes);
  count_of(a, s.context_tokens);
  a.boolean(s.loaded);
  a.enumeration(s.thinking, ThinkingSupport::always);
  a.boolean(s.has_template);
  a.boolean(s.starter);
  a.json(s.defaults);
  a.require(s.defaults.is_null() || s.defaults.is_object());
  a.number(s.created_unix);
  a.boolean(s.tools);
  a.boolean(s.sees);
  count_of(a, s.picture_tokens);
  count_of(a, s.drawn_side);
}
template <class A>
void fields(A& a, EngineStats& s) {
  a.boolean(s.ready);
  a.number(s.restarts);
  a.number(s.steps);
  a.number(s.prompt_tokens);
  a.number(s.cached_tokens);
  a.number(s.generated_tokens);
  a.number(s.preemptions);
  count_of(a, s.running);
  count_of(a, s.waiting);
  count_of(a, s.kv_pages_total);
  count_of(a, s.kv_pages_used);
}

template <class A>
void fields(A& a, Hello& f) {
  a.number(f.version);
}
template <class A>
void fields(A& a, Start& f) {
  a.number(f.call);
  fields(a, f.request);
}
template <class A>
void fields(A& a, Cancel& f) {
  a.number(f.request_id);
}
template <class A>
void fields(A& a, AnswerNow& f) {
  a.number(f.request_id);
}
template <class A>
void fields(A& a, Tokenize& f) {
  a.number(f.call);
  a.text(f.model);
  a.text(f.text);
  a.boolean(f.parse_special);
  a.boolean(f.add_bos);
}
template <class A>
void fields(A& a, Detokenize& f) {
  a.number(f.call);
  a.text(f.model);
  ids(a, f.ids);
}
template <class A>
void fields(A& a, MeasurePrompt& f) {
  a.number(f.call);
  a.text(f.model);
  fields(a, f.prompt);
}
template <class A>
void fields(A& a, Welcome& f) {
  a.number(f.version);
  a.list(f.models, [&](ModelStatus& s) { fields(a, s); });
  a.list(f.unusable, [&](UnusableModel& u) {
    a.text(u.id);
    fields(a, u.error);
  });
}
template <class A>
void fields(A& a, Models& f) {
  a.list(f.models, [&](ModelStatus& s) { fields(a, s); });
}
template <class A>
void fields(A& a, Stats& f) {
  fields(a, f.stats);
}
template <class A>
void fields(A& a, RequestEvent& f) {
  a.number(f.request_id);
  a.alternative(f.event, [&](auto& event) { fields(a, event); });
}
template <class A>
void fields(A& a, Refused& f) {
  a.number(f.call);
  fields(a, f.error);
}
template <class A>
void fields(A& a, Started& f) {
  a.number(f.call);
}
template <class A>
void fields(A& a, Ids& f) {
  a.number(f.call);
  ids(a, f.ids);
}
template <class A>
void fields(A& a, Text& f) {
  a.number(f.call);
  a.bytes(f.text);
}
template <class A>
void fields(A& a, Size& f) {
  a.number(f.call);
  count_of(a, f.size.tokens);
  count_of(a, f.size.context_tokens);
  a.number(f.size.drop_exchanges);
  a.require(f.size.drop_exchanges >= -1);
}

template <size_t... I>
void emplace_frame(Frame& frame, uint8_t kind, std::index_sequence<I...>) {
  ((kind == I ? (void)frame.template emplace<I>() : (void)0), ...);
}

}  // namespace

base::Result<std::string> encode(const Frame& frame, uint32_t bytes_max) {
  Writer writer;
  // The field lists take references that can be written to, for the reader; the writer only reads.
  std::visit([&](auto& f) { fields(writer, f); }, const_cast<Frame&>(frame));
  std::string payload = writer.take();
  if (payload.size() > bytes_max) {
    return base::fail(base::ErrorKind::limit_exceeded, "the request is too large for the engine",
                      fmt::format("it takes {} bytes, the limit is {}", payload.size(), bytes_max));
  }
  auto size = static_cast<uint32_t>(payload.size());
  std::string out(reinterpret_cast<const char*>(&size), sizeof(size));
  out.push_back(static_cast<char>(frame.index()));
  out += payload;
  return out;
}

base::Result<Frame> decode(uint8_t kind, std::span<const uint8_t> payload) {
  auto refused = [] {
    return base::fail(base::ErrorKind::invalid_input, "a frame broke the rules of the wire");
  };
  if (kind >= std::variant_size_v<Frame>) return refused();
  Frame frame;
  emplace_frame(frame, kind, std::make_index_sequence<std::variant_size_v<Frame>>{});
  Reader reader(payload);
  std::visit([&](auto& f) { fields(reader, f); }, frame);
  if (!reader.complete()) return refused();
  return frame;
}

}  // namespace engine::wire
