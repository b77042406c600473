// The public API's answers as JSON: DeepSeek's and OpenAI's shapes. Names of wire fields stand in
// this file's .cc and nowhere else. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "engine/engine.h"

namespace api {

// What all parts of one answer repeat.
struct AnswerIdentity {
  std::string id;  // "chatcmpl-…", "cmpl-…"
  int64_t created_unix_s = 0;
  std::string model;
  std::string fingerprint;
};

// One sequence as it has come in so far.
struct SequenceResult {
  std::string answer, reasoning;
  std::vector<engine::CalledTool> calls;
  std::vector<engine::Token> answer_logprobs, reasoning_logprobs;
  std::vector<engine::PromptToken> prompt;
  engine::End end;
  bool ended = false;
};

struct UsageTotals {
  int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0, reasoning_tokens = 0;
};

std::string server_sent_event(const base::Json& data);
base::Json usage_json(const UsageTotals& usage);
// `called`: the answer has tool calls.
base::Json finish_reason(engine::EndReason reason, bool called = false);

// {"token","logprob","bytes","top_logprobs":[…]}
base::Json chat_token_json(const engine::Token& token);

// Chunks of a chat. `usage_follows`: every chunk says "usage":null, as with include_usage.
base::Json chat_chunk(const AnswerIdentity& identity, int index, base::Json delta,
                      base::Json logprobs, base::Json finish, bool usage_follows);
base::Json chat_delta(const engine::Delta& delta);
// {"tool_calls":[…]} of a chunk: each call whole, its arguments in one piece.
base::Json chat_calls_delta(const AnswerIdentity& identity, int choice,
                            const std::vector<engine::CalledTool>& calls);
base::Json chat_logprobs(const std::vector<engine::Token>& answer,
                         const std::vector<engine::Token>& reasoning);
base::Json chat_completion(const AnswerIdentity& identity,
                           const std::vector<SequenceResult>& sequences, bool with_logprobs,
                           const UsageTotals& usage);
// {"choices":[],"usage":{…}} of either kind of stream.
base::Json usage_chunk(const AnswerIdentity& identity, std::string_view object,
                       const UsageTotals& usage);

// The old form's logprobs: parallel arrays. Offsets count characters of the text from `offset`,
// which is moved on.
class CompletionLogprobs {
 public:
  void add(const engine::Token& token, bool has_logprob, int64_t& offset);
  base::Json take();

 private:
  base::Json tokens_ = base::Json::array(), logprobs_ = base::Json::array();
  base::Json top_ = base::Json::array(), offsets_ = base::Json::array();
};

base::Json completion_choice(int index, std::string_view text, base::Json logprobs,
                             base::Json finish);
base::Json completion_object(const AnswerIdentity& identity, base::Json choices);

}  // namespace api
