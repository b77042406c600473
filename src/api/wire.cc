#include "api/wire.h"

#include <algorithm>
#include <cmath>

namespace api {
namespace {

using base::Json;

// JSON has no infinity; OpenAI writes -9999 for "so unlikely that it does not matter".
double written_logprob(float logprob) {
  return std::isfinite(logprob) ? static_cast<double>(logprob) : -9999.0;
}

Json bytes_json(const std::string& text) {
  Json out = Json::array();
  for (unsigned char byte : text) out.push(static_cast<int>(byte));
  return out;
}

Json plain_token_json(const engine::TokenLogprob& token) {
  return Json::object({{"token", token.text},
                       {"logprob", written_logprob(token.logprob)},
                       {"bytes", bytes_json(token.text)}});
}

Json tokens_json(const std::vector<engine::Token>& tokens) {
  Json out = Json::array();
  for (const engine::Token& token : tokens) out.push(chat_token_json(token));
  return out;
}

int64_t characters_of(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

// Ids are the answer's own with the places of choice and call, so that none is given twice; within
// the 40 characters that other servers take.
Json calls_json(const AnswerIdentity& identity, int choice,
                const std::vector<engine::CalledTool>& calls, bool with_index) {
  Json out = Json::array();
  const size_t dash = identity.id.rfind('-');
  const std::string own = dash == std::string::npos ? identity.id : identity.id.substr(dash + 1);
  for (const engine::CalledTool& call : calls) {
    Json one = Json::object();
    if (with_index) one.set("index", call.index);
    one.set("id", fmt::format("call_{}_{}_{}", own, choice, call.index));
    one.set("type", "function");
    one.set("function", Json::object({{"name", call.name}, {"arguments", call.arguments}}));
    out.push(std::move(one));
  }
  return out;
}

Json identity_json(const AnswerIdentity& identity, std::string_view object) {
  return Json::object({{"id", identity.id},
                       {"object", object},
                       {"created", identity.created_unix_s},
                       {"model", identity.model},
                       {"system_fingerprint", identity.fingerprint}});
}

}  // namespace

std::string server_sent_event(const Json& data) { return "data: " + data.dump() + "\n\n"; }

Json usage_json(const UsageTotals& usage) {
  return Json::object(
      {{"prompt_tokens", usage.prompt_tokens},
       {"completion_tokens", usage.completion_tokens},
       {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
       {"prompt_cache_hit_tokens", usage.cached_tokens},
       {"prompt_cache_miss_tokens", usage.prompt_tokens - usage.cached_tokens},
       {"prompt_tokens_details", Json::object({{"cached_tokens", usage.cached_tokens}})},
       {"completion_tokens_details",
        Json::object({{"reasoning_tokens", usage.reasoning_tokens}})}});
}

Json finish_reason(engine::EndReason reason, bool called) {
  switch (reason) {
    case engine::EndReason::length:
      return "length";
    case engine::EndReason::failed:
      return "insufficient_system_resource";
    case engine::EndReason::stop:
      return called ? "tool_calls" : "stop";
    default:
      return "stop";
  }
}

Json chat_token_json(const engine::Token& token) {
  Json out = plain_token_json(token.chosen);
  Json top = Json::array();
  for (const engine::TokenLogprob& other : token.top) top.push(plain_token_json(other));
  out.set("top_logprobs", std::move(top));
  return out;
}

Json chat_chunk(const AnswerIdentity& identity, int index, Json delta, Json logprobs, Json finish,
                bool usage_follows) {
  Json choices = Json::array();
  choices.push(Json::object({{"index", index},
                             {"delta", std::move(delta)},
                             {"logprobs", std::move(logprobs)},
                             {"finish_reason", std::move(finish)}}));
  Json out = identity_json(identity, "chat.completion.chunk");
  out.set("choices", std::move(choices));
  if (usage_follows) out.set("usage", nullptr);
  return out;
}

Json chat_delta(const engine::Delta& delta) {
  return Json::object(
      {{delta.part == engine::Part::reasoning ? "reasoning_content" : "content", delta.text}});
}

Json chat_calls_delta(const AnswerIdentity& identity, int choice,
                      const std::vector<engine::CalledTool>& calls) {
  return Json::object({{"tool_calls", calls_json(identity, choice, calls, true)}});
}

Json chat_logprobs(const std::vector<engine::Token>& answer,
                   const std::vector<engine::Token>& reasoning) {
  Json out = Json::object({{"content", tokens_json(answer)}});
  if (!reasoning.empty()) out.set("reasoning_content", tokens_json(reasoning));
  return out;
}

Json chat_completion(const AnswerIdentity& identity, const std::vector<SequenceResult>& sequences,
                     bool with_logprobs, const UsageTotals& usage) {
  Json choices = Json::array();
  for (size_t i = 0; i < sequences.size(); ++i) {
    const SequenceResult& sequence = sequences[i];
    const bool called = !sequence.calls.empty();
    Json content = called && sequence.answer.empty() ? Json() : Json(sequence.answer);
    Json message = Json::object({{"role", "assistant"}, {"content", std::move(content)}});
    if (!sequence.reasoning.empty()) message.set("reasoning_content", sequence.reasoning);
    const int index = static_cast<int>(i);
    if (called) message.set("tool_calls", calls_json(identity, index, sequence.calls, false));
    choices.push(Json::object(
        {{"index", index},
         {"message", std::move(message)},
         {"logprobs", with_logprobs
                          ? chat_logprobs(sequence.answer_logprobs, sequence.reasoning_logprobs)
                          : Json()},
         {"finish_reason", finish_reason(sequence.end.reason, called)}}));
  }
  Json out = identity_json(identity, "chat.completion");
  out.set("choices", std::move(choices));
  out.set("usage", usage_json(usage));
  return out;
}

Json usage_chunk(const AnswerIdentity& identity, std::string_view object,
                 const UsageTotals& usage) {
  Json out = identity_json(identity, object);
  out.set("choices", Json::array());
  out.set("usage", usage_json(usage));
  return out;
}

void CompletionLogprobs::add(const engine::Token& token, bool has_logprob, int64_t& offset) {
  tokens_.push(token.chosen.text);
  offsets_.as_array().emplace_back(offset);
  offset += characters_of(token.chosen.text);
  if (!has_logprob) {
    logprobs_.push(Json());
    top_.push(Json());
    return;
  }
  logprobs_.push(written_logprob(token.chosen.logprob));
  // Keyed by text: of two tokens that look alike the likelier one stands. The chosen token is in
  // it even when it is not among the most likely, as the old API has it.
  Json top = Json::object();
  for (const engine::TokenLogprob& other : token.top) {
    if (top.find(other.text) == nullptr) top.set(other.text, written_logprob(other.logprob));
  }
  if (top.find(token.chosen.text) == nullptr) {
    top.set(token.chosen.text, written_logprob(token.chosen.logprob));
  }
  top_.push(std::move(top));
}

Json CompletionLogprobs::take() {
  Json out = Json::object({{"tokens", std::move(tokens_)},
                           {"token_logprobs", std::move(logprobs_)},
                           {"top_logprobs", std::move(top_)},
                           {"text_offset", std::move(offsets_)}});
  *this = CompletionLogprobs();
  return out;
}

Json completion_choice(int index, std::string_view text, Json logprobs, Json finish) {
  return Json::object({{"index", index},
                       {"text", text},
                       {"logprobs", std::move(logprobs)},
                       {"finish_reason", std::move(finish)}});
}

Json completion_object(const AnswerIdentity& identity, Json choices) {
  Json out = identity_json(identity, "text_completion");
  out.set("choices", std::move(choices));
  return out;
}

}  // namespace api
