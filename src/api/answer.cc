#include "api/answer.h"

#include <algorithm>

namespace api {

Answer::Answer(Context& context, std::shared_ptr<net::Exchange> exchange,
               std::unique_ptr<AnswerForm> form, const CommonFields& common, std::string model)
    : PatientAnswer(context, std::move(exchange), common.stream),
      form_(std::move(form)),
      model_(std::move(model)),
      include_usage_(common.include_usage) {}

void Answer::start(std::vector<engine::Request> requests, int per_prompt) {
  per_prompt_ = per_prompt;
  sequences_.resize(requests.size());
  context_.api_sequences += static_cast<int>(requests.size());
  const auto self = std::static_pointer_cast<Answer>(shared_from_this());
  watch();
  for (size_t i = 0; i < requests.size(); ++i) {
    sequences_[i].tokens_max = requests[i].tokens_max;
    const int index = static_cast<int>(i);
    sequences_[i].engine_id = context_.engine.start(
        std::move(requests[i]),
        [self, index](const engine::Event& event) { self->on_event(index, event); });
  }
}

void Answer::on_event(int index, const engine::Event& event) {
  if (const auto* end = std::get_if<engine::End>(&event)) {
    on_end(index, *end);
    return;
  }
  if (closed_) return;
  if (const auto* queued = std::get_if<engine::Queued>(&event)) {
    on_queued(*queued);
  } else if (std::holds_alternative<engine::Loading>(event)) {
    admit();
  } else if (std::holds_alternative<engine::Reading>(event)) {
    started_ = true;
    admit();
  } else if (const auto* token = std::get_if<engine::PromptToken>(&event)) {
    admit();
    Sequence& sequence = sequences_[static_cast<size_t>(index)];
    sequence.result.prompt.push_back(*token);
    if (stream_) send(form_->prompt(index, *token));
  } else if (const auto* delta = std::get_if<engine::Delta>(&event)) {
    on_delta(index, *delta);
  }
}

void Answer::open(int index) {
  Sequence& sequence = sequences_[static_cast<size_t>(index)];
  if (sequence.opened) return;
  sequence.opened = true;
  if (stream_) send(form_->opening(index));
}

void Answer::on_delta(int index, const engine::Delta& delta) {
  started_ = true;
  admit();
  open(index);
  Sequence& sequence = sequences_[static_cast<size_t>(index)];
  const int64_t now = context_.now_ms();
  if (sequence.first_token_ms < 0) {
    sequence.first_token_ms = now;
  } else if (!delta.ids.empty()) {
    context_.metrics.between_tokens(model_, static_cast<double>(now - sequence.last_token_ms) / 1e3,
                                    static_cast<int>(delta.ids.size()));
  }
  sequence.last_token_ms = now;
  if (stream_) {
    send(form_->delta(index, delta));
    return;
  }
  SequenceResult& result = sequence.result;
  const bool reasoning = delta.part == engine::Part::reasoning;
  (reasoning ? result.reasoning : result.answer) += delta.text;
  result.calls.insert(result.calls.end(), delta.calls.begin(), delta.calls.end());
  auto& logprobs = reasoning ? result.reasoning_logprobs : result.answer_logprobs;
  logprobs.insert(logprobs.end(), delta.logprobs.begin(), delta.logprobs.end());
}

void Answer::on_end(int index, const engine::End& end) {
  Sequence& sequence = sequences_[static_cast<size_t>(index)];
  sequence.result.end = end;
  sequence.result.ended = true;
  ++ended_;
  --context_.api_sequences;
  record(sequence, end);
  if (closed_) return;
  if (end.reason == engine::EndReason::failed) {
    fail(context_.engine_failure(end.error));
    return;
  }
  if (stream_) {
    admit();
    open(index);
    send(form_->ending(index, end));
  }
  if (ended_ == static_cast<int>(sequences_.size())) finish();
}

void Answer::record(const Sequence& sequence, const engine::End& end) {
  FinishedSequence finished;
  finished.model = model_;
  finished.reason = end.reason;
  finished.usage = end.usage;
  if (sequence.first_token_ms >= 0) {
    finished.first_token_s = static_cast<double>(sequence.first_token_ms - arrived_ms_) / 1e3;
  }
  finished.whole_s = static_cast<double>(context_.now_ms() - arrived_ms_) / 1e3;
  finished.tokens_max = sequence.tokens_max;
  finished.choices = per_prompt_;
  context_.metrics.finished(finished);
}

UsageTotals Answer::totals() const {
  UsageTotals out;
  for (size_t i = 0; i < sequences_.size(); ++i) {
    const engine::Usage& usage = sequences_[i].result.end.usage;
    // Versions of one prompt read it once: the first one's account of it stands for all.
    if (i % static_cast<size_t>(per_prompt_) == 0) {
      out.prompt_tokens += usage.prompt_tokens;
      out.cached_tokens += usage.cached_tokens;
    }
    out.completion_tokens += usage.completion_tokens;
    out.reasoning_tokens += usage.reasoning_tokens;
  }
  return out;
}

void Answer::finish() {
  if (stream_) {
    if (include_usage_) send(form_->usage(totals()));
    send("data: [DONE]\n\n");
    return end_stream();
  }
  const UsageTotals usage = totals();
  std::vector<SequenceResult> results;
  for (Sequence& sequence : sequences_) results.push_back(std::move(sequence.result));
  respond(form_->whole(results, usage));
}

void Answer::cancel_all() {
  for (const Sequence& sequence : sequences_) {
    if (!sequence.result.ended) context_.engine.cancel(sequence.engine_id);
  }
}

}  // namespace api
