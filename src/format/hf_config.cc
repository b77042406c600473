// config.json of transformers, for LlamaForCausalLM, Qwen2ForCausalLM and Qwen3ForCausalLM.
//
// Rules: a size is a whole number in its range, required unless said otherwise: hidden_size,
// intermediate_size, num_hidden_layers, num_attention_heads, vocab_size, max_position_embeddings,
// rms_norm_eps. num_key_value_heads is num_attention_heads if absent, head_dim is hidden_size /
// heads, rope_theta 10000, tie_word_embeddings false. rope_theta and the scaling may also stand in
// rope_parameters; the kind of scaling in rope_type or, older, type. null is the same as absent.
// Unknown keys are ignored; known ones that change the graph (biases, activation) must have the
// values that the decoder computes.
#include "format/hf_config.h"

#include <cmath>

#include "format/decoder_check.h"
#include "format/gguf.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;
using base::Json;

constexpr std::string_view file_name = "config.json";

// The member, or nullptr if absent or null.
const Json* member(const Json& object, std::string_view key) {
  const Json* value = object.find(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

tl::unexpected<base::Error> bad(std::string_view key, std::string why,
                                ErrorKind kind = ErrorKind::invalid_input) {
  return fail(kind, fmt::format("{}: key \"{}\"", file_name, key), std::move(why));
}

base::Result<std::optional<int>> size_or_nothing(const Json& object, std::string_view key,
                                                 int64_t most) {
  const Json* value = member(object, key);
  if (value == nullptr) return std::optional<int>();
  if (!value->is_integer()) return bad(key, "is not a whole number of a sane size");
  ASSIGN(const int size,
         checked_size(file_name, fmt::format("key \"{}\"", key), value->as_integer(), most));
  return std::optional<int>(size);
}

base::Result<int> size(const Json& object, std::string_view key, int64_t most) {
  ASSIGN(const auto value, size_or_nothing(object, key, most));
  if (!value) return bad(key, "is missing");
  return *value;
}

base::Result<std::optional<double>> number_or_nothing(const Json& object, std::string_view key) {
  const Json* value = member(object, key);
  if (value == nullptr) return std::optional<double>();
  if (!value->is_number() || !std::isfinite(value->as_number())) return bad(key, "is not a number");
  return std::optional<double>(value->as_number());
}

base::Result<double> number(const Json& object, std::string_view key, double absent) {
  ASSIGN(const auto value, number_or_nothing(object, key));
  return value.value_or(absent);
}

base::Result<double> number(const Json& object, std::string_view key) {
  ASSIGN(const auto value, number_or_nothing(object, key));
  if (!value) return bad(key, "is missing");
  return *value;
}

base::Result<bool> flag(const Json& object, std::string_view key, bool absent) {
  const Json* value = member(object, key);
  if (value == nullptr) return absent;
  if (!value->is_bool()) return bad(key, "is not true or false");
  return value->as_bool();
}

base::Result<std::string> architecture_of(const Json& config) {
  constexpr std::pair<std::string_view, std::string_view> known[] = {
      {"LlamaForCausalLM", "llama"}, {"Qwen2ForCausalLM", "qwen2"}, {"Qwen3ForCausalLM", "qwen3"}};
  const Json* list = member(config, "architectures");
  const Json* type = member(config, "model_type");
  if (type != nullptr && !type->is_string()) return bad("model_type", "is not a string");
  if (list != nullptr) {
    if (!list->is_array() || list->as_array().empty() || !list->as_array()[0].is_string()) {
      return bad("architectures", "is not a list of strings");
    }
    const std::string& name = list->as_array()[0].as_string();
    for (const auto& [full, ours] : known) {
      if (name != full) continue;
      if (type != nullptr && type->as_string() != ours) {
        return bad("model_type", base::shown_name(type->as_string()) +
                                     " does not go with the architecture " + name);
      }
      return std::string(ours);
    }
    return bad("architectures", base::shown_name(name) + " is not supported",
               ErrorKind::unsupported);
  }
  if (type == nullptr) return bad("architectures", "is missing");
  for (const auto& [full, ours] : known) {
    if (type->as_string() == ours) return std::string(ours);
  }
  return bad("model_type", base::shown_name(type->as_string()) + " is not supported",
             ErrorKind::unsupported);
}

// transformers' order: attention_factor as it is; else mscale over mscale_all_dim; else YaRN's own.
// attn_factor is the key of R1-0528-Qwen3-8B, whose authors mean it beside YaRN's multiplier.
base::Result<double> yarn_attention(const Json& rope, double factor) {
  ASSIGN(const auto given, number_or_nothing(rope, "attention_factor"));
  if (given) return *given;
  ASSIGN(const double beside, number(rope, "attn_factor", 1.0));
  ASSIGN(const double mscale, number(rope, "mscale", 0.0));
  ASSIGN(const double mscale_all, number(rope, "mscale_all_dim", 0.0));
  if (mscale != 0 && mscale_all != 0 && factor > 1) {
    const double over = 0.1 * mscale_all * std::log(factor) + 1.0;
    if (over == 0) return bad("mscale_all_dim", "makes the attention factor infinite");
    return (0.1 * mscale * std::log(factor) + 1.0) / over * beside;
  }
  return yarn_multiplier(factor) * beside;
}

base::Result<void> read_scaling(const Json& rope, ModelConfig& config) {
  const Json* kind = member(rope, "rope_type");
  if (kind == nullptr) kind = member(rope, "type");
  if (kind == nullptr) return {};
  if (!kind->is_string()) return bad("rope_type", "is not a string");
  const std::string& name = kind->as_string();
  RopeScaling& scaling = config.rope_scaling;
  if (name == "default") return {};
  if (name != "linear" && name != "llama3" && name != "yarn") {
    return bad("rope_type", base::shown_name(name) + " is not supported", ErrorKind::unsupported);
  }
  ASSIGN(scaling.factor, number(rope, "factor"));
  if (name == "linear") {
    scaling.kind = RopeScaling::Kind::linear;
    return {};
  }
  const int64_t most = decoder_limits::context_tokens_max;
  if (name == "llama3") {
    scaling.kind = RopeScaling::Kind::llama3;
    ASSIGN(scaling.low_freq_factor, number(rope, "low_freq_factor"));
    ASSIGN(scaling.high_freq_factor, number(rope, "high_freq_factor"));
    ASSIGN(scaling.original_context, size(rope, "original_max_position_embeddings", most));
    return {};
  }
  scaling.kind = RopeScaling::Kind::yarn;
  ASSIGN(const auto original, size_or_nothing(rope, "original_max_position_embeddings", most));
  scaling.original_context = original.value_or(config.context_tokens_max);
  ASSIGN(scaling.beta_fast, number(rope, "beta_fast", 32.0));
  ASSIGN(scaling.beta_slow, number(rope, "beta_slow", 1.0));
  ASSIGN(const bool truncated, flag(rope, "truncate", true));
  if (!truncated) return bad("truncate", "false is not supported", ErrorKind::unsupported);
  ASSIGN(scaling.attention_factor, yarn_attention(rope, scaling.factor));
  return {};
}

base::Result<void> read_rope(const Json& json, ModelConfig& config) {
  config.rope_layout = RopeLayout::half_split;
  ASSIGN(config.rope_base, number(json, "rope_theta", 10000.0));
  ASSIGN(const double partial, number(json, "partial_rotary_factor", 1.0));
  if (partial != 1.0) {
    return bad("partial_rotary_factor", "only 1 is supported", ErrorKind::unsupported);
  }
  for (const std::string_view key : {"rope_parameters", "rope_scaling"}) {
    const Json* rope = member(json, key);
    if (rope == nullptr) continue;
    if (!rope->is_object()) return bad(key, "is not an object");
    ASSIGN(config.rope_base, number(*rope, "rope_theta", config.rope_base));
    return read_scaling(*rope, config);
  }
  return {};
}

base::Result<void> read_sizes(const Json& json, ModelConfig& config) {
  using namespace decoder_limits;
  ASSIGN(config.hidden, size(json, "hidden_size", hidden_max));
  ASSIGN(config.ffn, size(json, "intermediate_size", ffn_max));
  ASSIGN(config.layers, size(json, "num_hidden_layers", layers_max));
  ASSIGN(config.heads, size(json, "num_attention_heads", heads_max));
  ASSIGN(config.vocab, size(json, "vocab_size", vocab_max));
  ASSIGN(config.context_tokens_max, size(json, "max_position_embeddings", context_tokens_max));
  ASSIGN(config.rms_eps, number(json, "rms_norm_eps"));
  ASSIGN(const auto kv, size_or_nothing(json, "num_key_value_heads", heads_max));
  config.kv_heads = kv.value_or(config.heads);
  ASSIGN(const auto head_dim, size_or_nothing(json, "head_dim", head_dim_max));
  if (!head_dim && config.hidden % config.heads != 0) {
    return bad("num_attention_heads",
               fmt::format("{} does not divide hidden_size {}", config.heads, config.hidden));
  }
  ASSIGN(config.head_dim,
         checked_size(file_name, "key \"head_dim\"",
                      head_dim.value_or(config.hidden / config.heads), head_dim_max));
  return {};
}

// Keys that change the graph.
base::Result<void> check_graph(const Json& json) {
  const Json* activation = member(json, "hidden_act");
  if (activation != nullptr && (!activation->is_string() || activation->as_string() != "silu")) {
    return bad("hidden_act", "only \"silu\" is supported", ErrorKind::unsupported);
  }
  for (const std::string_view key : {"attention_bias", "mlp_bias"}) {
    ASSIGN(const bool bias, flag(json, key, false));
    if (bias) return bad(key, "true is not supported", ErrorKind::unsupported);
  }
  ASSIGN(const bool sliding, flag(json, "use_sliding_window", false));
  if (sliding) {
    return bad("use_sliding_window", "true is not supported", ErrorKind::unsupported);
  }
  if (member(json, "quantization_config") != nullptr) {
    return bad("quantization_config", "quantised checkpoints are not read by this version",
               ErrorKind::unsupported);
  }
  return {};
}

base::Result<void> read_sampling(const Json& generation, ModelConfig& config) {
  config.sampling_defaults = Json::object();
  if (generation.is_null()) return {};
  const std::string_view file = "generation_config.json";
  for (const std::string_view key : {"temperature", "top_p", "top_k"}) {
    const Json* value = member(generation, key);
    if (value == nullptr) continue;
    if (!value->is_number()) {
      return fail(ErrorKind::invalid_input, fmt::format("{}: key \"{}\"", file, key),
                  "is not a number");
    }
    TRY(add_sampling_default(file, key, value->as_number(), config.sampling_defaults));
  }
  return {};
}

}  // namespace

base::Result<std::vector<int64_t>> read_token_ids(const Json& object, std::string_view file,
                                                  std::string_view key, int64_t vocab) {
  std::vector<int64_t> ids;
  const Json* value = member(object, key);
  if (value == nullptr) return ids;
  const auto add = [&](const Json& id) {
    if (!id.is_integer() || id.as_integer() < 0 || id.as_integer() >= vocab) return false;
    ids.push_back(id.as_integer());
    return true;
  };
  bool good = true;
  if (value->is_array()) {
    for (const Json& id : value->as_array()) good = good && add(id);
  } else {
    good = add(*value);
  }
  if (!good) {
    return fail(ErrorKind::invalid_input, fmt::format("{}: key \"{}\"", file, key),
                fmt::format("is not a token id below {}, nor a list of them", vocab));
  }
  return ids;
}

base::Result<ModelConfig> read_hf_config(const Json& json, const Json& generation) {
  if (!json.is_object()) {
    return fail(ErrorKind::invalid_input, fmt::format("{}: is not an object", file_name));
  }
  ModelConfig config;
  ASSIGN(config.architecture, architecture_of(json));
  TRY(read_sizes(json, config));
  TRY(check_graph(json));
  TRY(read_rope(json, config));
  ASSIGN(config.tied_head, flag(json, "tie_word_embeddings", false));
  config.qk_norm = config.architecture == "qwen3";
  for (const std::string_view key : {"bos_token_id", "eos_token_id"}) {
    TRY(read_token_ids(json, file_name, key, config.vocab));
  }
  TRY(check_numbers(file_name, config));
  TRY(read_sampling(generation, config));
  const Json* name = member(json, "_name_or_path");
  if (name != nullptr && name->is_string()) config.name = clean_text(name->as_string(), 200);
  return config;
}

}  // namespace format
