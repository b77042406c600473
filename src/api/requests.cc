#include "api/requests.h"

#include <algorithm>
#include <limits>

#include "api/fields.h"
#include "api/messages.h"
#include "api/tools.h"

namespace api {
namespace {

void parse_sampling(Fields& fields, SamplingFields& out) {
  out.temperature = fields.number("temperature", 0, 2);
  out.top_p = fields.number("top_p", 0, 1);
  out.min_p = fields.number("min_p", 0, 1);
  out.top_k = fields.integer("top_k", -1, 1'000'000);
  out.repetition_penalty = fields.number("repetition_penalty", 0.01, 10);
  out.frequency_penalty = fields.number("frequency_penalty", -2, 2);
  out.presence_penalty = fields.number("presence_penalty", -2, 2);
  out.seed = fields.integer("seed", std::numeric_limits<int64_t>::min(),
                            std::numeric_limits<int64_t>::max());
}

void add_stop(Fields& fields, const base::Json& value, const std::string& path,
              std::vector<std::string>& out) {
  ApiError error;
  error.param = path;
  if (!value.is_string()) {
    error.code = "invalid_type";
    error.message = path + " must be a string";
  } else if (value.as_string().empty() || value.as_string().size() > limits::stop_bytes_max) {
    error.status = 422;
    error.code = "invalid_value";
    error.message = fmt::format("{} must have from 1 to {} bytes", path, limits::stop_bytes_max);
  } else {
    out.push_back(value.as_string());
    return;
  }
  fields.fault(std::move(error));
}

void parse_stop(Fields& fields, CommonFields& out) {
  const base::Json* stop = fields.any("stop");
  if (stop != nullptr && stop->is_array()) {
    const base::Json::Array* list = fields.array("stop", limits::stop_strings_max);
    for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
      add_stop(fields, (*list)[i], fmt::format("stop[{}]", i), out.stop_strings);
    }
  } else if (stop != nullptr) {
    add_stop(fields, *stop, "stop", out.stop_strings);
  }
  const base::Json::Array* ids = fields.array("stop_token_ids", limits::stop_ids_max);
  for (size_t i = 0; ids != nullptr && i < ids->size(); ++i) {
    const base::Json& id = (*ids)[i];
    if (!id.is_integer() || id.as_integer() < 0 ||
        id.as_integer() > std::numeric_limits<int32_t>::max()) {
      fields.fault(400, "invalid_type", "stop_token_ids",
                   fmt::format("stop_token_ids[{}] must be a token id", i));
      return;
    }
    out.stop_ids.push_back(static_cast<int32_t>(id.as_integer()));
  }
}

void parse_stream(Fields& fields, CommonFields& out) {
  out.stream = fields.boolean("stream").value_or(false);
  const base::Json* options = fields.object("stream_options");
  if (options == nullptr) return;
  if (!out.stream) {
    fields.fault(400, "invalid_request", "stream_options",
                 "stream_options is only for requests with stream true");
    return;
  }
  Fields inner(*options, "stream_options");
  out.include_usage = inner.boolean("include_usage").value_or(false);
  inner.ignore({"include_obfuscation", "continuous_usage_stats"});
  if (auto error = inner.finish()) fields.fault(std::move(*error));
}

// `tokens_least` is 0 where a request may want nothing but the prompt's own logprobs.
void parse_common(Fields& fields, CommonFields& out, int tokens_least) {
  fields.require("model");
  if (const std::string* model = fields.text("model", limits::model_bytes_max)) out.model = *model;
  parse_sampling(fields, out.sampling);
  const auto tokens = fields.integer("max_tokens", tokens_least, limits::tokens_max_max);
  if (tokens) out.tokens_max = static_cast<int>(*tokens);
  parse_stop(fields, out);
  parse_stream(fields, out);
  out.choices = static_cast<int>(fields.integer("n", 1, limits::choices_max).value_or(1));
  out.ignore_end_tokens = fields.boolean("ignore_eos").value_or(false);
  if (const std::string* id = fields.text("user_id", limits::user_id_bytes_max)) {
    out.user_id = *id;
  } else if (const std::string* user = fields.text("user", limits::user_id_bytes_max)) {
    out.user_id = *user;
  }
  // Labels for the caller's own books; nothing in an answer could depend on them.
  fields.ignore({"metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
                 "prompt_cache_retention"});
  fields.unsupported({"logit_bias", "prompt_logprobs", "guided_json", "guided_regex",
                      "guided_choice", "guided_grammar", "structured_outputs", "best_of"});
}

void parse_chat_logprobs(Fields& fields, CommonFields& out) {
  const bool wanted = fields.boolean("logprobs").value_or(false);
  const auto top = fields.integer("top_logprobs", 0, limits::logprobs_max);
  if (top && !wanted) {
    if (*top == 0) return;
    fields.fault(400, "invalid_request", "top_logprobs",
                 "top_logprobs is only for requests with logprobs true");
  }
  if (wanted) out.logprobs_top = static_cast<int>(top.value_or(0));
}

void parse_response_format(Fields& fields) {
  const base::Json* format = fields.object("response_format");
  if (format == nullptr) return;
  const base::Json* type = format->find("type");
  if (type != nullptr && type->is_string() && type->as_string() == "text") return;
  const bool known = type != nullptr && type->is_string() &&
                     (type->as_string() == "json_object" || type->as_string() == "json_schema");
  fields.fault(400, known ? "unsupported_field" : "invalid_value",
               known ? "response_format" : "response_format.type",
               known ? "response_format: only type text is supported by this server yet"
                     : "response_format.type must be text, json_object or json_schema");
}

// DeepSeek has three efforts; OpenAI's words are read as the nearest: minimal as low, medium as
// high, xhigh as max. Templates that know the efforts write them into the prompt; for all models
// they bound the thinking, unless a budget was given.
enum class Effort { low, high, max };

void set_effort(Effort effort, ChatRequest& out) {
  const char* word = effort == Effort::low ? "low" : effort == Effort::high ? "high" : "max";
  if (!out.prompt.template_arguments.is_object()) {
    out.prompt.template_arguments = base::Json::object({});
  }
  out.prompt.template_arguments.set("reasoning_effort", word);
  if (out.thinking_tokens_max >= 0 || effort == Effort::max) return;
  out.thinking_tokens_max = effort == Effort::low ? limits::low_effort_thinking_tokens
                                                  : limits::high_effort_thinking_tokens;
}

// `thinking` and `reasoning_effort` of DeepSeek's second era. Effort says how long, thinking
// whether at all; "none" is OpenAI's way to say disabled.
void parse_thinking(Fields& fields, ChatRequest& out) {
  if (const base::Json* thinking = fields.object("thinking")) {
    Fields inner(*thinking, "thinking");
    inner.require("type");
    const auto type = inner.word("type", {"enabled", "disabled", "adaptive"});
    if (type && *type < 2) {
      out.prompt.thinking = *type == 0 ? engine::Thinking::on : engine::Thinking::off;
    }
    const auto budget = inner.integer("budget_tokens", 1, limits::tokens_max_max);
    if (budget) out.thinking_tokens_max = static_cast<int>(*budget);
    const auto effort = inner.word("reasoning_effort", {"low", "medium", "high", "max"});
    if (effort)
      set_effort(*effort == 0 ? Effort::low : *effort == 3 ? Effort::max : Effort::high, out);
    if (auto error = inner.finish()) fields.fault(std::move(*error));
  }
  const auto effort =
      fields.word("reasoning_effort", {"none", "minimal", "low", "medium", "high", "xhigh", "max"});
  if (!effort) return;
  if (*effort == 0) {
    out.prompt.thinking = engine::Thinking::off;
  } else {
    set_effort(*effort <= 2 ? Effort::low : *effort <= 4 ? Effort::high : Effort::max, out);
  }
}

void parse_chat_tokens(Fields& fields, CommonFields& out) {
  const auto tokens = fields.integer("max_completion_tokens", 1, limits::tokens_max_max);
  if (!tokens) return;
  if (out.tokens_max && *out.tokens_max != *tokens) {
    fields.fault(400, "invalid_request", "max_completion_tokens",
                 "the fields max_tokens and max_completion_tokens say different things: give one");
  }
  out.tokens_max = static_cast<int>(*tokens);
}

bool parse_id(const base::Json& json, std::vector<int32_t>& out) {
  if (!json.is_integer() || json.as_integer() < 0 ||
      json.as_integer() > std::numeric_limits<int32_t>::max()) {
    return false;
  }
  out.push_back(static_cast<int32_t>(json.as_integer()));
  return true;
}

// Every version gets pictures of its own to read.
void check_pictures(Fields& fields, const ChatRequest& request) {
  uint64_t bytes = 0;
  for (const engine::Message& message : request.prompt.messages) {
    for (const engine::Picture& picture : message.pictures) bytes += picture.bytes.size();
  }
  if (bytes * static_cast<uint64_t>(request.common.choices) <= engine::pictures_bytes_max) return;
  fields.fault(400, "image_too_large", "n",
               fmt::format("n times the {} bytes of the pictures must be at most {}", bytes,
                           engine::pictures_bytes_max));
}

// One prompt: a string, or an array of token ids.
std::optional<engine::Prompt> parse_prompt(const base::Json& json) {
  if (json.is_string()) return engine::Prompt(engine::TextPrompt{json.as_string(), true});
  if (!json.is_array() || json.as_array().empty() ||
      json.as_array().size() > limits::prompt_ids_max) {
    return std::nullopt;
  }
  engine::IdsPrompt prompt;
  for (const base::Json& id : json.as_array()) {
    if (!parse_id(id, prompt.ids)) return std::nullopt;
  }
  return engine::Prompt(std::move(prompt));
}

void parse_prompts(Fields& fields, std::vector<engine::Prompt>& out) {
  fields.require("prompt");
  const base::Json* json = fields.any("prompt");
  if (json == nullptr) return;
  const bool list =
      json->is_array() && !json->as_array().empty() && !json->as_array().front().is_number();
  if (!list) {
    auto prompt = parse_prompt(*json);
    if (prompt) {
      out.push_back(std::move(*prompt));
    } else {
      fields.fault(400, "invalid_type", "prompt",
                   "prompt must be a string, an array of strings, an array of token ids, or an "
                   "array of such arrays, and not empty");
    }
    return;
  }
  const base::Json::Array* prompts = fields.array("prompt", limits::prompts_max);
  for (size_t i = 0; prompts != nullptr && i < prompts->size(); ++i) {
    auto prompt = parse_prompt((*prompts)[i]);
    if (!prompt) {
      fields.fault(400, "invalid_type", fmt::format("prompt[{}]", i),
                   fmt::format("prompt[{}] must be a string or an array of token ids", i));
      return;
    }
    out.push_back(std::move(*prompt));
  }
}

}  // namespace

Parsed<ChatRequest> parse_chat_request(const base::Json& body, bool beta) {
  Fields fields(body, "");
  ChatRequest out;
  parse_common(fields, out.common, 1);
  parse_chat_tokens(fields, out.common);
  parse_chat_logprobs(fields, out.common);
  parse_response_format(fields);
  parse_tools(fields, out.prompt);
  parse_thinking(fields, out);
  fields.require("messages");
  parse_messages(fields, beta, out.prompt.messages);
  check_pictures(fields, out);
  if (const base::Json* arguments = fields.object("chat_template_kwargs")) {
    if (!out.prompt.template_arguments.is_object()) {
      out.prompt.template_arguments = base::Json::object({});
    }
    // What is said to the template itself stands over what the fields above say to it.
    for (const auto& [key, value] : arguments->as_object()) {
      out.prompt.template_arguments.set(key, value);
    }
  }
  const base::Json::Array* modalities = fields.array("modalities", 8);
  for (size_t i = 0; modalities != nullptr && i < modalities->size(); ++i) {
    if ((*modalities)[i] != base::Json("text")) fields.unsupported({"modalities"});
  }
  fields.unsupported({"audio", "prediction", "web_search_options", "verbosity", "suffix", "echo"});
  if (auto error = fields.finish()) return refuse(std::move(*error));
  return out;
}

Parsed<CompletionRequest> parse_completion_request(const base::Json& body) {
  Fields fields(body, "");
  CompletionRequest out;
  out.echo = fields.boolean("echo").value_or(false);
  parse_common(fields, out.common, out.echo ? 0 : 1);
  // The old form counts: logprobs is a number here. false is written by clients that mean none.
  const base::Json* logprobs = fields.any("logprobs");
  if (logprobs != nullptr && !(logprobs->is_bool() && !logprobs->as_bool())) {
    const auto top = fields.integer("logprobs", 0, limits::logprobs_max);
    if (top) out.common.logprobs_top = static_cast<int>(*top);
  }
  parse_prompts(fields, out.prompts);
  fields.unsupported({"suffix"});
  if (out.prompts.size() * static_cast<size_t>(out.common.choices) > limits::sequences_max) {
    fields.fault(422, "invalid_value", "n",
                 fmt::format("prompts times n must be at most {}", limits::sequences_max));
  }
  if (auto error = fields.finish()) return refuse(std::move(*error));
  return out;
}

Parsed<TokenizeRequest> parse_tokenize_request(const base::Json& body) {
  Fields fields(body, "");
  TokenizeRequest out;
  if (const std::string* model = fields.text("model", limits::model_bytes_max)) out.model = *model;
  const std::string* prompt = fields.text("prompt", std::string::npos);
  const std::string* content = fields.text("content", std::string::npos);
  if (fields.has("messages")) {
    out.chat.emplace();
    parse_messages(fields, true, out.chat->messages);
    parse_tools(fields, *out.chat);
  }
  const int given = (prompt != nullptr) + (content != nullptr) + out.chat.has_value();
  if (given != 1) {
    fields.fault(400, "missing_field", "prompt", "give one of prompt, content and messages");
  }
  if (prompt != nullptr) out.text = *prompt;
  if (content != nullptr) out.text = *content;
  out.add_bos = fields.boolean("add_special_tokens").value_or(true);
  out.parse_special = fields.boolean("parse_special").value_or(false);
  out.with_pieces = fields.boolean("return_token_strs").value_or(false);
  if (auto error = fields.finish()) return refuse(std::move(*error));
  return out;
}

Parsed<DetokenizeRequest> parse_detokenize_request(const base::Json& body) {
  Fields fields(body, "");
  DetokenizeRequest out;
  if (const std::string* model = fields.text("model", limits::model_bytes_max)) out.model = *model;
  fields.require("tokens");
  const base::Json::Array* ids = fields.array("tokens", limits::prompt_ids_max);
  for (size_t i = 0; ids != nullptr && i < ids->size(); ++i) {
    if (!parse_id((*ids)[i], out.ids)) {
      fields.fault(400, "invalid_type", fmt::format("tokens[{}]", i),
                   fmt::format("tokens[{}] must be a token id", i));
      break;
    }
  }
  if (auto error = fields.finish()) return refuse(std::move(*error));
  return out;
}

engine::SamplingParams sampling_of(const SamplingFields& fields, const base::Json& model_defaults) {
  const auto or_default = [&](std::optional<double> given, const char* key, double otherwise) {
    if (given) return *given;
    const base::Json* value = model_defaults.find(key);
    return value != nullptr && value->is_number() ? value->as_number() : otherwise;
  };
  engine::SamplingParams out;
  out.temperature = or_default(fields.temperature, "temperature", 1.0);
  if (!(out.temperature >= limits::temperature_least)) out.temperature = 0;
  out.top_p = std::clamp(or_default(fields.top_p, "top_p", 1.0), 0.0, 1.0);
  out.min_p = or_default(fields.min_p, "min_p", 0.0);
  out.repetition_penalty = or_default(fields.repetition_penalty, "repetition_penalty", 1.0);
  out.frequency_penalty = fields.frequency_penalty.value_or(0);
  out.presence_penalty = fields.presence_penalty.value_or(0);
  std::optional<double> top_k;
  if (fields.top_k) top_k = static_cast<double>(*fields.top_k);
  out.top_k = static_cast<int>(std::clamp(or_default(top_k, "top_k", 0), 0.0, 1e6));
  if (fields.seed) out.seed = static_cast<uint64_t>(*fields.seed);
  return out;
}

}  // namespace api
