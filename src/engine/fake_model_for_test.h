// Test doubles: a model whose next id is a function of everything that its cache pages hold, so a
// page that is shared, lost or overwritten wrongly changes the answer; one that sees and draws
// besides (fake_pictures_for_test.h); and a collector of events.
// For the engine's own rules only; the end-to-end tests use the real runner.
#pragma once

#include <condition_variable>
#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/core.h"
#include "engine/fake_pictures_for_test.h"
#include "engine/fake_pool_for_test.h"
#include "engine/model_source.h"

namespace engine {

class FakeRunner : public model::ModelRunner {
 public:
  FakeRunner(int vocab, int pages, int batch_tokens_max)
      : pool_(pages), text_(static_cast<size_t>(pages) * model::page_tokens) {
    info_.vocab = vocab;
    info_.weight_bytes = 1'000'000;
    batch_tokens_max_ = batch_tokens_max;
  }
  const model::ModelInfo& info() const override { return info_; }
  model::KvLayout kv_layout() const override { return {}; }
  model::KvPool& kv_pool() override { return pool_; }
  int batch_tokens_max() const override { return batch_tokens_max_; }

  base::Result<void> forward(std::span<model::Segment> segments, model::Logits& logits) override {
    if (before_step) before_step();
    logits.vocab = info_.vocab;
    logits.values.clear();
    logits.image_vocab = info_.image_codes;
    logits.image_values.clear();
    int tokens = 0;
    for (model::Segment& segment : segments) {
      for (size_t i = 0; i < segment.ids.size(); ++i) {
        compute(segment, i, logits);
        ++tokens;
      }
    }
    EXPECT_LE(tokens, batch_tokens_max_);
    computed += tokens;
    if (broken) return base::fail(base::ErrorKind::internal, "a kernel failed");
    return {};
  }

  // Right at two positions of three, elsewhere it takes the least likely id for the best.
  base::Result<void> draft(std::span<model::Segment> segments, model::Logits& logits) override {
    logits.vocab = info_.vocab;
    logits.values.clear();
    for (model::Segment& segment : segments) {
      int position = segment.kv->length;
      EXPECT_EQ(segment.ids.size(), 1u);
      uint64_t hash = stir(hash_of(*segment.kv, position), sampled(segment.ids[0]));
      append_row(hash, position % 3 == 0 ? -1.0f : 1.0f, logits);
      ++drafted;
    }
    return {};
  }
  void drafts() { info_.mtp = true; }
  void draws() {
    info_.hidden = FakePictures::hidden;
    info_.image_codes = FakePictures::codes;
  }

  std::function<void()> before_step;
  std::atomic<int> drafted = 0;
  std::atomic<bool> broken = false;
  std::atomic<int> computed = 0;
  int32_t favourite = -1;  // always the most likely

 private:
  // What was written there: an id, its vocabulary and origin, or a row of embeddings.
  uint64_t& slot(const model::KvTable& kv, int position) {
    auto page = kv.pages.at(static_cast<size_t>(position / model::page_tokens));
    return text_.at(static_cast<size_t>(page * model::page_tokens + position % model::page_tokens));
  }
  void compute(model::Segment& segment, size_t i, model::Logits& logits) {
    model::KvTable& kv = *segment.kv;
    int position = kv.length;
    auto page = kv.pages.at(static_cast<size_t>(position / model::page_tokens));
    EXPECT_EQ(pool_.references(page), 1) << "a page is written only while it has one owner";
    const bool image = segment.vocab == model::Vocab::image;
    const bool sampled_id = segment.origin == model::Origin::sampled;
    EXPECT_LT(segment.ids[i], image ? info_.image_codes : info_.vocab);
    uint64_t written = static_cast<uint64_t>(segment.ids[i]) * 2 + sampled_id;
    if (image) written = stir(written, 77);
    if (segment.embeds) {
      written = 88;
      for (int h = 0; h < info_.hidden; ++h) {
        const float value = segment.embeds[i * static_cast<size_t>(info_.hidden) + h];
        written = stir(written, static_cast<uint64_t>(value));
      }
    }
    slot(kv, position) = written;
    ++kv.length;
    const bool wanted = segment.all_rows || i + 1 == segment.ids.size();
    if (!wanted || segment.want == model::Head::none) return;
    const uint64_t hash = hash_of(kv, position + 1);
    if (segment.want == model::Head::text) return append_row(hash, 1, logits);
    for (int code = 0; code < info_.image_codes; ++code) {
      logits.image_values.push_back(
          static_cast<float>(stir(hash, 1000 + static_cast<uint64_t>(code)) >> 40) / (1 << 22));
    }
  }
  static uint64_t sampled(int32_t id) { return static_cast<uint64_t>(id * 2 + 1); }
  uint64_t hash_of(const model::KvTable& kv, int positions) {
    uint64_t hash = 1;
    for (int p = 0; p < positions; ++p) hash = stir(hash, slot(kv, p));
    return hash;
  }
  void append_row(uint64_t hash, float sign, model::Logits& logits) {
    for (int id = 0; id < info_.vocab; ++id) {
      auto value = static_cast<double>(stir(hash, static_cast<uint64_t>(id)) >> 40) / (1 << 21);
      logits.values.push_back(id == favourite ? 100.0f : sign * static_cast<float>(value));
    }
  }

  model::ModelInfo info_;
  FakePool pool_;
  std::vector<uint64_t> text_;  // (pages, page_tokens)
  int batch_tokens_max_;
};

// Byte-level vocabulary of 256 bytes and a few marks; `more` ones on request.
inline text::TokenizerSpec byte_vocabulary(const std::vector<std::string>& more = {}) {
  text::TokenizerSpec spec;
  int extra = 256;
  for (int byte = 0; byte < 256; ++byte) {
    bool itself = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    int code = itself ? byte : extra++;
    std::string symbol;
    if (code < 0x80) {
      symbol = static_cast<char>(code);
    } else {
      symbol = {static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3f))};
    }
    spec.tokens.push_back(symbol);
    spec.kinds.push_back(text::TokenKind::normal);
  }
  std::vector<std::string> marks = {"<|bos|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"};
  marks.insert(marks.end(), more.begin(), more.end());
  for (const std::string& mark : marks) {
    auto id = static_cast<int32_t>(spec.tokens.size());
    spec.tokens.push_back(mark);
    spec.kinds.push_back(text::TokenKind::control);
    spec.added.push_back({.id = id, .content = mark, .special = true});
  }
  spec.pre_tokenizer_name = "gpt-2";
  spec.bos_id = 256;
  spec.eos_id = 258;
  spec.end_ids = {258};
  return spec;
}
inline constexpr int32_t fake_end_id = 258, fake_open_id = 259, fake_close_id = 260;
inline constexpr int fake_vocab = 261;

inline constexpr const char* plain_template =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
inline constexpr const char* always_thinking_template =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n"
    "{% endif %}";

inline const std::vector<std::string> janus_marks = {
    "<image_placeholder>", "<begin_of_image>", "<end_of_image>",
    "<｜▁pad▁｜>",         "<|User|>",         "<|Assistant|>"};
inline constexpr int janus_vocab = fake_vocab + 6;

struct FakeSettings {
  std::string id = "fake";
  bool janus = false;  // sees and draws
  std::string chat_template = plain_template;
  int context_tokens = 1024;
  int pages = 64;
  int batch_tokens_max = 256;
  uint64_t memory_bytes = 1000;
  std::function<base::Result<void>(const LoadProgress&)> on_load;
};

inline std::unique_ptr<const PromptBuilder> fake_prompts(const std::string& chat_template) {
  auto tokenizer = text::Tokenizer::make(byte_vocabulary());
  EXPECT_TRUE(tokenizer.has_value());
  auto compiled = text::ChatTemplate::compile(chat_template);
  EXPECT_TRUE(compiled.has_value());
  return PromptBuilder::make(std::move(*tokenizer), std::move(*compiled), chat_template,
                             fake_vocab);
}

inline std::unique_ptr<const PromptBuilder> fake_janus_prompts() {
  auto tokenizer = text::Tokenizer::make(byte_vocabulary(janus_marks));
  EXPECT_TRUE(tokenizer.has_value());
  auto janus = JanusPrompts::of(**tokenizer,
                                {FakePictures::tokens, FakePictures::codes, FakePictures::grid});
  EXPECT_TRUE(janus.has_value());
  return PromptBuilder::make(std::move(*tokenizer), nullptr, "", janus_vocab, std::move(*janus));
}

class FakeSource : public ModelSource {
 public:
  explicit FakeSource(FakeSettings settings)
      : settings_(std::move(settings)),
        prompts_(settings_.janus ? fake_janus_prompts() : fake_prompts(settings_.chat_template)) {
    status_.id = settings_.id;
    status_.context_tokens = settings_.context_tokens;
    status_.memory_bytes = settings_.memory_bytes;
    status_.thinking = prompts_->thinking();
    status_.sees = settings_.janus;
    status_.drawn_side = settings_.janus ? FakePictures::drawn_side : 0;
  }
  const ModelStatus& status() const override { return status_; }
  const PromptBuilder& prompts() const override { return *prompts_; }
  bool exact() const override { return false; }
  int cache_tokens() const override { return settings_.pages * model::page_tokens; }
  std::optional<media::Fit> fit() const override {
    if (!settings_.janus) return std::nullopt;
    return media::Fit{FakePictures::side, 14, 127};
  }
  base::Result<std::unique_ptr<LoadedModel>> load(const LoadProgress& progress) const override {
    if (settings_.on_load) TRY(settings_.on_load(progress));
    const int vocab = settings_.janus ? janus_vocab : fake_vocab;
    auto runner = std::make_shared<FakeRunner>(vocab, settings_.pages, settings_.batch_tokens_max);
    if (settings_.janus) runner->draws();
    if (prepare) prepare(*runner);
    auto loaded = std::make_unique<Loaded>(std::move(runner));
    if (settings_.janus) loaded->drawing.emplace();
    if (settings_.janus && prepare_pictures) prepare_pictures(*loaded->drawing);
    return loaded;
  }

  std::function<void(FakeRunner&)> prepare;
  std::function<void(FakePictures&)> prepare_pictures;

 private:
  struct Loaded : LoadedModel {
    explicit Loaded(std::shared_ptr<FakeRunner> r) : fake(std::move(r)) {}
    model::ModelRunner& runner() override { return *fake; }
    model::PictureModel* pictures() override { return drawing ? &*drawing : nullptr; }
    std::shared_ptr<FakeRunner> fake;
    std::optional<FakePictures> drawing;
  };
  FakeSettings settings_;
  std::unique_ptr<const PromptBuilder> prompts_;
  ModelStatus status_;
};

// The events of any number of requests, and waiting for what is to come.
class Collector {
 public:
  // The sink owns what it writes: a request may still be ending when a test returns.
  EventSink sink() {
    return [state = state_, react = on_event](uint64_t id, const Event& event) {
      {
        std::lock_guard lock(state->mutex);
        state->events[id].push_back(event);
        ++state->received;
        state->changed.notify_all();
      }
      if (react) react(id, event);
    };
  }
  // Every test is bounded: an End that never comes fails it. Only silence counts, since a machine
  // may be slow.
  End wait_end(uint64_t id) {
    bool came = wait_until([&](auto& events) {
      return !events[id].empty() && std::holds_alternative<End>(events[id].back());
    });
    EXPECT_TRUE(came) << "no End of request " << id;
    std::lock_guard lock(state_->mutex);
    return came ? std::get<End>(state_->events[id].back()) : End{};
  }
  bool wait_until(const std::function<bool(std::map<uint64_t, std::vector<Event>>&)>& holds) {
    std::unique_lock lock(state_->mutex);
    while (!holds(state_->events)) {
      uint64_t seen = state_->received;
      if (!state_->changed.wait_for(lock, std::chrono::seconds(120),
                                    [&] { return state_->received > seen; })) {
        return false;
      }
    }
    return true;
  }
  std::vector<Event> events(uint64_t id) {
    std::lock_guard lock(state_->mutex);
    return state_->events[id];
  }
  template <class E>
  std::vector<E> all(uint64_t id) {
    std::vector<E> found;
    for (const Event& event : events(id)) {
      if (auto* e = std::get_if<E>(&event)) found.push_back(*e);
    }
    return found;
  }
  std::vector<int32_t> ids(uint64_t id) {
    std::vector<int32_t> ids;
    for (const Delta& d : all<Delta>(id)) ids.insert(ids.end(), d.ids.begin(), d.ids.end());
    return ids;
  }
  std::vector<float> logprobs(uint64_t id) {
    std::vector<float> out;
    for (const Delta& d : all<Delta>(id)) {
      for (const Token& t : d.logprobs) {
        out.push_back(t.chosen.logprob);
        for (const TokenLogprob& top : t.top) out.push_back(top.logprob);
      }
    }
    return out;
  }
  std::string text(uint64_t id, Part part) {
    std::string text;
    for (const Delta& d : all<Delta>(id)) text += d.part == part ? d.text : "";
    return text;
  }

  std::function<void(uint64_t, const Event&)> on_event;  // set before sink()

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::map<uint64_t, std::vector<Event>> events;
    uint64_t received = 0;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace engine
