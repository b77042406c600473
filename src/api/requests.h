// The typed requests of the public API, parsed from JSON with every field checked. What stands in
// a struct here is in range; what a client did not say is absent, so that the model's own defaults
// apply. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api/http.h"
#include "base/json.h"
#include "engine/engine.h"

namespace api {

namespace limits {
inline constexpr int messages_max = 10'000;
inline constexpr int content_parts_max = 4'096;
inline constexpr size_t name_bytes_max = 256;
inline constexpr size_t model_bytes_max = 256;
inline constexpr size_t user_id_bytes_max = 512;
inline constexpr int stop_strings_max = 16;
inline constexpr size_t stop_bytes_max = 1'024;
inline constexpr int stop_ids_max = 64;
inline constexpr int choices_max = 8;      // n
inline constexpr int prompts_max = 128;    // of one /v1/completions request
inline constexpr int sequences_max = 128;  // prompts times n
inline constexpr int tokens_max_max = 1'048'576;
inline constexpr int logprobs_max = 20;
inline constexpr int tools_max = 128;
inline constexpr size_t tool_name_bytes_max = 64;
inline constexpr size_t tool_description_bytes_max = 32'768;
inline constexpr size_t tool_schema_bytes_max = 65'536;  // of one tool's parameters, compact
inline constexpr int tool_schema_depth_max = 24;         // the engine's wire takes 32
inline constexpr size_t tools_bytes_max = 1'048'576;     // descriptions and schemas of all tools
inline constexpr int tool_calls_max = 128;               // of one message
inline constexpr size_t tool_call_id_bytes_max = 256;
inline constexpr size_t tool_arguments_bytes_max = 1'048'576;
inline constexpr int prompt_ids_max = 4'194'304;
inline constexpr double temperature_least = 1e-4;  // below: 0, or logits / T would overflow
inline constexpr int low_effort_thinking_tokens = 1'024;
inline constexpr int high_effort_thinking_tokens = 16'384;  // as the page's "long"
}  // namespace limits

struct SamplingFields {
  std::optional<double> temperature, top_p, min_p;
  std::optional<double> repetition_penalty, frequency_penalty, presence_penalty;
  std::optional<int64_t> top_k, seed;
};

// What the two generating endpoints have in common.
struct CommonFields {
  std::string model;
  SamplingFields sampling;
  std::optional<int> tokens_max;
  std::vector<std::string> stop_strings;
  std::vector<int32_t> stop_ids;
  bool ignore_end_tokens = false;
  int logprobs_top = -1;
  int choices = 1;
  bool stream = false;
  bool include_usage = false;
  std::string user_id;
};

struct ChatRequest {
  CommonFields common;
  engine::ChatPrompt prompt;  // thinking as the fields say; an alias may decide it
  int thinking_tokens_max = -1;
};

struct CompletionRequest {
  CommonFields common;
  std::vector<engine::Prompt> prompts;  // 1..prompts_max, none of them a ChatPrompt
  bool echo = false;
};

struct TokenizeRequest {
  std::string model;  // empty: the default model
  std::string text;
  bool parse_special = false;
  bool add_bos = true;
  bool with_pieces = false;
  std::optional<engine::ChatPrompt> chat;  // instead of text: only the count is given
};
struct DetokenizeRequest {
  std::string model;
  std::vector<int32_t> ids;
};

// `beta`: the request came in under /beta, where an assistant message may be a prefix.
Parsed<ChatRequest> parse_chat_request(const base::Json& body, bool beta);
Parsed<CompletionRequest> parse_completion_request(const base::Json& body);
Parsed<TokenizeRequest> parse_tokenize_request(const base::Json& body);
Parsed<DetokenizeRequest> parse_detokenize_request(const base::Json& body);

// The client's wishes over the model's defaults over the engine's.
engine::SamplingParams sampling_of(const SamplingFields& fields, const base::Json& model_defaults);

}  // namespace api
