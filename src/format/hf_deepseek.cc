// config.json of DeepseekForCausalLM (v1), DeepseekV2ForCausalLM and DeepseekV3ForCausalLM (Kimi K2
// too), and of DeepSeek's own inference code.
//
// Latent attention (V2, V3): kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim and v_head_dim are
// required; q_lora_rank is absent, null or 0 for a direct q_proj. head_dim and num_key_value_heads
// mean nothing then. rope_scaling.mscale_all_dim squares into the softmax scale.
//
// Experts: n_routed_experts absent, null or 0 is a dense model. Otherwise num_experts_per_tok and
// moe_intermediate_size are required; n_shared_experts, first_k_dense_replace, moe_layer_freq,
// norm_topk_prob, routed_scaling_factor, scoring_func and topk_method have the defaults of their
// class, which newer versions of transformers do not write down. topk_method "greedy" knows no
// groups; "group_limited_greedy" judges a group by its best expert; "noaux_tc" by its best two,
// with the correction bias.
#include "format/hf_deepseek.h"

#include <algorithm>

#include "format/decoder_check.h"
#include "format/deepseek_check.h"
#include "format/hf_fields.h"

namespace format {
namespace {

using base::ErrorKind;
using base::Json;
using namespace hf;

base::Result<void> read_mla(const Json& json, ModelConfig& config) {
  using namespace deepseek_limits;
  MlaConfig& mla = config.mla.emplace();
  ASSIGN(mla.q_lora_rank, count(json, "q_lora_rank", rank_max, 0));
  ASSIGN(mla.kv_lora_rank, size(json, "kv_lora_rank", rank_max));
  const int64_t most = decoder_limits::head_dim_max;
  ASSIGN(mla.qk_nope_dim, size(json, "qk_nope_head_dim", most));
  ASSIGN(mla.qk_rope_dim, size(json, "qk_rope_head_dim", most));
  ASSIGN(mla.v_dim, size(json, "v_head_dim", most));
  ASSIGN(const bool interleaved, flag(json, "rope_interleave", true));
  if (!interleaved) {
    return bad("rope_interleave", "false is not supported", ErrorKind::unsupported);
  }
  config.head_dim = mla.qk_nope_dim + mla.qk_rope_dim;
  config.rope_layout = RopeLayout::adjacent_pairs;
  double mscale_all = 0;
  for (const std::string_view key : {"rope_parameters", "rope_scaling"}) {
    const Json* rope = member(json, key);
    if (rope == nullptr || !rope->is_object()) continue;
    ASSIGN(mscale_all, number(*rope, "mscale_all_dim", 0.0));
    break;
  }
  mla.softmax_scale = mla_softmax_scale(mla, config.rope_scaling, 0.1 * mscale_all);
  return {};
}

// What a class means where its config.json is silent.
struct Defaults {
  std::string_view method, scoring;
  bool normalise;
  double scale;
  int shared, dense_first;
};

Defaults defaults_of(std::string_view full_name) {
  if (full_name == "DeepseekV3ForCausalLM") return {"noaux_tc", "sigmoid", true, 2.5, 1, 3};
  return {"greedy", "softmax", false, 1.0, 0, 0};
}

base::Result<void> read_groups(const Json& json, std::string_view method, MoeConfig& moe) {
  if (method == "greedy") return {};
  if (method == "group_limited_greedy") {
    moe.group_score = MoeConfig::GroupScore::best;
  } else if (method == "noaux_tc") {
    moe.group_score = MoeConfig::GroupScore::best_two;
    moe.correction_bias = true;
  } else {
    return bad("topk_method", base::shown_name(method) + " is not supported",
               ErrorKind::unsupported);
  }
  assume_groups(moe);
  const int64_t most = deepseek_limits::experts_max;
  ASSIGN(const auto groups, size_or_nothing(json, "n_group", most));
  ASSIGN(const auto used, size_or_nothing(json, "topk_group", most));
  if (groups) {
    moe.groups = *groups;
    moe.groups_used = used.value_or(*groups);
  } else if (used) {
    moe.groups_used = *used;
  }
  return {};
}

base::Result<void> read_moe(const Json& json, std::string_view full_name, ModelConfig& config) {
  using namespace deepseek_limits;
  ASSIGN(const int experts, count(json, "n_routed_experts", experts_max, 0));
  if (experts == 0) return {};
  const Defaults defaults = defaults_of(full_name);
  MoeConfig& moe = config.moe.emplace();
  moe.experts = experts;
  ASSIGN(moe.experts_used, size(json, "num_experts_per_tok", experts_max));
  ASSIGN(moe.expert_ffn, size(json, "moe_intermediate_size", decoder_limits::ffn_max));
  ASSIGN(moe.shared_experts, count(json, "n_shared_experts", shared_experts_max, defaults.shared));
  ASSIGN(moe.dense_layers_first, count(json, "first_k_dense_replace", decoder_limits::layers_max,
                                       std::min(defaults.dense_first, config.layers)));
  ASSIGN(const auto freq, size_or_nothing(json, "moe_layer_freq", decoder_limits::layers_max));
  moe.layer_freq = freq.value_or(1);
  ASSIGN(const std::string scoring, string(json, "scoring_func", defaults.scoring));
  if (scoring != "softmax" && scoring != "sigmoid") {
    return bad("scoring_func", base::shown_name(scoring) + " is not supported",
               ErrorKind::unsupported);
  }
  moe.scoring = scoring == "sigmoid" ? MoeConfig::Scoring::sigmoid : MoeConfig::Scoring::softmax;
  ASSIGN(const std::string method, string(json, "topk_method", defaults.method));
  TRY(read_groups(json, method, moe));
  ASSIGN(const bool normalise, flag(json, "norm_topk_prob", defaults.normalise));
  ASSIGN(moe.routed_scale, number(json, "routed_scaling_factor", defaults.scale));
  // A single expert is never normalised, and V2 and v1 scale only what they do not normalise.
  moe.normalise = normalise && moe.experts_used > 1;
  if (moe.normalise && full_name != "DeepseekV3ForCausalLM") moe.routed_scale = 1.0;
  return check_moe_numbers(file_name, config.layers, moe);
}

// {key there, key of transformers}; what has no pair here is set below.
constexpr std::pair<std::string_view, std::string_view> own_keys[] = {
    {"vocab_size", "vocab_size"},
    {"dim", "hidden_size"},
    {"inter_dim", "intermediate_size"},
    {"moe_inter_dim", "moe_intermediate_size"},
    {"n_layers", "num_hidden_layers"},
    {"n_dense_layers", "first_k_dense_replace"},
    {"n_heads", "num_attention_heads"},
    {"n_routed_experts", "n_routed_experts"},
    {"n_shared_experts", "n_shared_experts"},
    {"n_activated_experts", "num_experts_per_tok"},
    {"n_expert_groups", "n_group"},
    {"n_limited_groups", "topk_group"},
    {"route_scale", "routed_scaling_factor"},
    {"score_func", "scoring_func"},
    {"q_lora_rank", "q_lora_rank"},
    {"kv_lora_rank", "kv_lora_rank"},
    {"qk_nope_head_dim", "qk_nope_head_dim"},
    {"qk_rope_head_dim", "qk_rope_head_dim"},
    {"v_head_dim", "v_head_dim"},
    {"rope_theta", "rope_theta"}};

}  // namespace

base::Result<void> read_hf_deepseek(const Json& json, std::string_view full_name,
                                    ModelConfig& config) {
  if (config.architecture == "deepseek2") TRY(read_mla(json, config));
  if (config.architecture == "deepseek2" || config.architecture == "deepseek") {
    TRY(read_moe(json, full_name, config));
  }
  return {};
}

base::Result<int> stated_mtp_layers(const Json& json) {
  return count(json, "num_nextn_predict_layers", deepseek_limits::mtp_layers_max, 0);
}

Json from_deepseek_config(const Json& json) {
  if (json.find("architectures") != nullptr || json.find("model_type") != nullptr ||
      json.find("dim") == nullptr || json.find("n_layers") == nullptr) {
    return json;
  }
  const Json* score = json.find("score_func");
  const bool v3 = score != nullptr && score->is_string() && score->as_string() == "sigmoid";
  Json out = Json::object();
  Json architectures = Json::array();
  architectures.push(v3 ? "DeepseekV3ForCausalLM" : "DeepseekV2ForCausalLM");
  out.set("architectures", std::move(architectures));
  for (const auto& [own, theirs] : own_keys) {
    if (const Json* value = json.find(own)) out.set(theirs, *value);
  }
  const auto value_or = [&](std::string_view key, const Json& absent) {
    const Json* value = member(json, key);
    return value == nullptr ? absent : *value;
  };
  // The code knows these by heart: a group is judged with the bias where there is one, the weights
  // of sigmoid scores are normalised, YaRN and the epsilon are constants with these values.
  if (!v3) out.set("topk_method", "group_limited_greedy");
  out.set("norm_topk_prob", v3);
  out.set("rms_norm_eps", 1e-6);
  Json rope = Json::object();
  rope.set("type", "yarn");
  rope.set("factor", value_or("rope_factor", 40.0));
  rope.set("original_max_position_embeddings", value_or("original_seq_len", 4096));
  rope.set("beta_fast", value_or("beta_fast", 32));
  rope.set("beta_slow", value_or("beta_slow", 1));
  rope.set("mscale", value_or("mscale", 1.0));
  rope.set("mscale_all_dim", value_or("mscale", 1.0));
  out.set("rope_scaling", std::move(rope));
  out.set("max_position_embeddings", value_or("max_seq_len", 163840));
  return out;
}

}  // namespace format
