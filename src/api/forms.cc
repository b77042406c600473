// The two forms of a public answer: chat and text completion.
#include "api/answer.h"

namespace api {
namespace {

using base::Json;

class ChatForm final : public AnswerForm {
 public:
  ChatForm(AnswerIdentity identity, const CommonFields& common)
      : identity_(std::move(identity)),
        with_logprobs_(common.logprobs_top >= 0),
        usage_follows_(common.include_usage) {}

  std::string opening(int index) override {
    return chunk(index, Json::object({{"role", "assistant"}, {"content", ""}}), nullptr, nullptr);
  }
  std::string prompt(int, const engine::PromptToken&) override { return ""; }
  std::string delta(int index, const engine::Delta& delta) override {
    Json logprobs;
    if (with_logprobs_ && !delta.logprobs.empty()) {
      const bool reasoning = delta.part == engine::Part::reasoning;
      logprobs = chat_logprobs(reasoning ? std::vector<engine::Token>() : delta.logprobs,
                               reasoning ? delta.logprobs : std::vector<engine::Token>());
    }
    if (!delta.calls.empty()) {
      if (called_.size() <= static_cast<size_t>(index))
        called_.resize(static_cast<size_t>(index) + 1);
      called_[static_cast<size_t>(index)] = true;
      return chunk(index, chat_calls_delta(identity_, index, delta.calls), std::move(logprobs),
                   nullptr);
    }
    if (delta.text.empty() && logprobs.is_null()) return "";
    return chunk(index, chat_delta(delta), std::move(logprobs), nullptr);
  }
  std::string ending(int index, const engine::End& end) override {
    const auto place = static_cast<size_t>(index);
    const bool called = place < called_.size() && called_[place];
    return chunk(index, Json::object(), nullptr, finish_reason(end.reason, called));
  }
  std::string usage(const UsageTotals& usage) override {
    return server_sent_event(usage_chunk(identity_, "chat.completion.chunk", usage));
  }
  Json whole(const std::vector<SequenceResult>& sequences, const UsageTotals& usage) override {
    return chat_completion(identity_, sequences, with_logprobs_, usage);
  }

 private:
  std::string chunk(int index, Json delta, Json logprobs, Json finish) {
    return server_sent_event(chat_chunk(identity_, index, std::move(delta), std::move(logprobs),
                                        std::move(finish), usage_follows_));
  }

  AnswerIdentity identity_;
  bool with_logprobs_, usage_follows_;
  std::vector<bool> called_;  // by choice
};

class CompletionForm final : public AnswerForm {
 public:
  CompletionForm(AnswerIdentity identity, const CompletionRequest& request)
      : identity_(std::move(identity)),
        echo_(request.echo),
        with_logprobs_(request.common.logprobs_top >= 0),
        usage_follows_(request.common.include_usage) {
    for (const engine::Prompt& prompt : request.prompts) {
      const auto* text = std::get_if<engine::TextPrompt>(&prompt);
      for (int i = 0; i < request.common.choices; ++i) {
        echoed_.push_back(text != nullptr ? std::optional<std::string>(text->text) : std::nullopt);
      }
    }
    offsets_.resize(echoed_.size());
  }

  // The prompt comes first. As text it is the client's own string; as ids it is what the engine
  // says that they spell, token by token (prompt()).
  std::string opening(int index) override {
    const auto& text = echoed_[static_cast<size_t>(index)];
    if (!echo_ || with_logprobs_ || !text || text->empty()) return "";
    return chunk(index, *text, nullptr, nullptr);
  }
  std::string prompt(int index, const engine::PromptToken& token) override {
    if (!echo_ || (!with_logprobs_ && echoed_[static_cast<size_t>(index)])) return "";
    Json logprobs;
    if (with_logprobs_) {
      CompletionLogprobs list;
      list.add(token.token, token.has_logprob, offsets_[static_cast<size_t>(index)]);
      logprobs = list.take();
    }
    return chunk(index, token.token.chosen.text, std::move(logprobs), nullptr);
  }
  std::string delta(int index, const engine::Delta& delta) override {
    Json logprobs = logprobs_of(delta.logprobs, offsets_[static_cast<size_t>(index)]);
    if (delta.text.empty() && delta.logprobs.empty()) return "";
    return chunk(index, delta.text, std::move(logprobs), nullptr);
  }
  std::string ending(int index, const engine::End& end) override {
    return chunk(index, "", nullptr, finish_reason(end.reason));
  }
  std::string usage(const UsageTotals& usage) override {
    return server_sent_event(usage_chunk(identity_, "text_completion", usage));
  }
  Json whole(const std::vector<SequenceResult>& sequences, const UsageTotals& usage) override {
    Json choices = Json::array();
    for (size_t i = 0; i < sequences.size(); ++i) choices.push(choice(i, sequences[i]));
    Json out = completion_object(identity_, std::move(choices));
    out.set("usage", usage_json(usage));
    return out;
  }

 private:
  Json logprobs_of(const std::vector<engine::Token>& tokens, int64_t& offset) const {
    if (!with_logprobs_) return nullptr;
    CompletionLogprobs list;
    for (const engine::Token& token : tokens) list.add(token, true, offset);
    return list.take();
  }

  Json choice(size_t index, const SequenceResult& sequence) {
    std::string text;
    int64_t offset = 0;
    CompletionLogprobs list;
    if (echo_) {
      for (const engine::PromptToken& token : sequence.prompt) {
        if (with_logprobs_) list.add(token.token, token.has_logprob, offset);
        if (!echoed_[index]) text += token.token.chosen.text;
      }
      if (echoed_[index]) text = *echoed_[index];
    }
    // A raw prompt has no thinking to split off; should the engine split all the same, the text
    // is still what was sampled, in its order.
    text += sequence.reasoning + sequence.answer;
    for (const engine::Token& token : sequence.reasoning_logprobs) list.add(token, true, offset);
    for (const engine::Token& token : sequence.answer_logprobs) list.add(token, true, offset);
    return completion_choice(static_cast<int>(index), text, with_logprobs_ ? list.take() : Json(),
                             finish_reason(sequence.end.reason));
  }

  std::string chunk(int index, std::string_view text, Json logprobs, Json finish) {
    Json choices = Json::array();
    choices.push(completion_choice(index, text, std::move(logprobs), std::move(finish)));
    Json out = completion_object(identity_, std::move(choices));
    if (usage_follows_) out.set("usage", nullptr);
    return server_sent_event(out);
  }

  AnswerIdentity identity_;
  bool echo_, with_logprobs_, usage_follows_;
  std::vector<std::optional<std::string>> echoed_;
  std::vector<int64_t> offsets_;
};

}  // namespace

std::unique_ptr<AnswerForm> make_chat_form(AnswerIdentity identity, const CommonFields& common) {
  return std::make_unique<ChatForm>(std::move(identity), common);
}

std::unique_ptr<AnswerForm> make_completion_form(AnswerIdentity identity,
                                                 const CompletionRequest& request) {
  return std::make_unique<CompletionForm>(std::move(identity), request);
}

}  // namespace api
