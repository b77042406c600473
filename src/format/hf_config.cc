// config.json of transformers, for LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, the
// DeepSeek families (hf_deepseek.cc) and Janus (hf_janus.cc).
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
#include "format/deepseek_check.h"
#include "format/gguf.h"
#include "format/hf_deepseek.h"
#include "format/hf_fields.h"
#include "format/hf_janus.h"
#include "format/hf_tensors.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;
using base::Json;
using namespace hf;

struct Family {
  std::string_view full, ours;
  std::string_view types[2];  // model_type
};
constexpr Family families[] = {{"LlamaForCausalLM", "llama", {"llama"}},
                               {"Qwen2ForCausalLM", "qwen2", {"qwen2"}},
                               {"Qwen3ForCausalLM", "qwen3", {"qwen3"}},
                               {"JanusForConditionalGeneration", "janus", {"janus"}},
                               {"MultiModalityCausalLM", "janus", {"multi_modality"}},
                               {"DeepseekForCausalLM", "deepseek", {"deepseek"}},
                               {"DeepseekV2ForCausalLM", "deepseek2", {"deepseek_v2"}},
                               {"DeepseekV3ForCausalLM", "deepseek2", {"deepseek_v3", "kimi_k2"}}};

tl::unexpected<base::Error> not_supported(std::string_view key, const std::string& name) {
  if (auto error = newer_family(file_name, name)) return fail(std::move(*error));
  return fail(ErrorKind::unsupported, fmt::format("{}: key \"{}\"", file_name, key),
              base::shown_name(name) + " is not supported",
              "this version runs Llama, Qwen2, Qwen3, Janus-Pro and DeepSeek up to V3.1");
}

// By the class that the model was saved from; older files state only the type.
base::Result<const Family*> family_of(const Json& config) {
  const Json* list = member(config, "architectures");
  ASSIGN(const std::string type, string(config, "model_type", ""));
  const auto has_type = [&](const Family& family) {
    return type == family.types[0] || (!family.types[1].empty() && type == family.types[1]);
  };
  if (list != nullptr) {
    if (!list->is_array() || list->as_array().empty() || !list->as_array()[0].is_string()) {
      return bad("architectures", "is not a list of strings");
    }
    const std::string& name = list->as_array()[0].as_string();
    for (const Family& family : families) {
      if (name != family.full) continue;
      if (!type.empty() && !has_type(family)) {
        return bad("model_type",
                   base::shown_name(type) + " does not go with the architecture " + name);
      }
      return &family;
    }
    return not_supported("architectures", name);
  }
  if (type.empty()) return bad("architectures", "is missing");
  for (const Family& family : families) {
    if (has_type(family)) return &family;
  }
  return not_supported("model_type", type);
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
  if (config.architecture == "deepseek2") {  // heads have sizes of their own
    config.kv_heads = config.heads;
    return {};
  }
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
  ASSIGN(const auto block, fp8_block(json));
  if (!block) {
    return fail(ErrorKind::unsupported, fmt::format("{}: key \"quantization_config\"", file_name),
                "of quantised checkpoints only FP8 in blocks is read",
                "take the model in BF16, in FP8 or as GGUF");
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

base::Result<ModelConfig> read_hf_config(const Json& stated, const Json& generation) {
  if (!stated.is_object()) {
    return fail(ErrorKind::invalid_input, fmt::format("{}: is not an object", file_name));
  }
  Json json = from_deepseek_config(stated);
  ModelConfig config;
  ASSIGN(const Family* family, family_of(json));
  config.architecture = family->ours;
  if (config.architecture == "janus") {
    ASSIGN(config.janus, read_hf_janus(stated));
    ASSIGN(json, janus_language_config(stated));
  }
  TRY(read_sizes(json, config));
  TRY(check_graph(json));
  TRY(read_rope(json, config));
  TRY(read_hf_deepseek(json, family->full, config));
  ASSIGN(config.tied_head, flag(json, "tie_word_embeddings", false));
  config.qk_norm = config.architecture == "qwen3";
  for (const std::string_view key : {"bos_token_id", "eos_token_id"}) {
    TRY(read_token_ids(json, file_name, key, config.vocab));
  }
  TRY(check_numbers(file_name, config));
  TRY(read_sampling(generation, config));
  const Json* name = member(stated, "_name_or_path");
  if (name != nullptr && name->is_string()) config.name = clean_text(name->as_string(), 200);
  return config;
}

}  // namespace format
