// GGUF of the architectures deepseek (v1) and deepseek2 (V2, V3, R1, Kimi K2).
//
// There are two generations of deepseek2. The older: head_count_kv = head_count, key_length = nope
// + rope, value_length = v, tensors attn_kv_b. The newer: head_count_kv = 1, key_length = rank +
// rope, value_length = rank, and the sizes of a head in key_length_mla and value_length_mla;
// tensors attn_k_b and attn_v_b, perhaps attn_kv_b too. They are told apart by these keys and by
// the tensors; so are a direct q (attn_q) and one of low rank (attn_q_a, attn_q_b).
//
// Keys of the first files are fewer. Absent: expert_gating_func is sigmoid if there is exp_probs_b,
// else softmax; expert_group_count is 8 for the two models that are known by their experts, else 1;
// expert_weights_scale 1, expert_weights_norm false; yarn_log_multiplier 0.
//
// nextn_predict_layers: their blocks are the last of block_count, or follow it.
#include "format/gguf_deepseek.h"

#include <cmath>
#include <string>

namespace format {
namespace {

using base::ErrorKind;
using namespace decoder_limits;
using namespace deepseek_limits;

bool layer_has(const ModelFiles& files, int layer, std::string_view part) {
  return files.find(TensorCheck::layer_name(layer, part)) != nullptr;
}

base::Result<void> read_ranks(const GgufKeys& keys, const ModelFiles& files, MlaConfig& mla) {
  ASSIGN(mla.kv_lora_rank, keys.size("attention.kv_lora_rank", rank_max));
  ASSIGN(mla.q_lora_rank, keys.count("attention.q_lora_rank", rank_max, 0));
  const bool direct = layer_has(files, 0, "self_attn.q_proj.weight");
  const bool low_rank = layer_has(files, 0, "self_attn.q_a_proj.weight");
  if (direct && low_rank) {
    return keys.bad("attention.q_lora_rank", "the file has both attn_q and attn_q_a");
  }
  if (low_rank && mla.q_lora_rank == 0) {
    return keys.bad("attention.q_lora_rank", "is missing, and the file has attn_q_a");
  }
  if (direct && mla.q_lora_rank != 0) {
    return keys.bad("attention.q_lora_rank",
                    fmt::format("is {}, and the file has attn_q without a rank", mla.q_lora_rank));
  }
  return {};
}

base::Result<void> read_heads(const GgufKeys& keys, MlaConfig& mla, ModelConfig& config) {
  const bool newer = keys.header().has(keys.key("attention.key_length_mla"));
  const std::string_view key = newer ? "attention.key_length_mla" : "attention.key_length";
  const std::string_view value = newer ? "attention.value_length_mla" : "attention.value_length";
  ASSIGN(const int head, keys.size(key, int64_t{2} * head_dim_max));
  ASSIGN(mla.v_dim, keys.size(value, head_dim_max));
  ASSIGN(mla.qk_rope_dim, keys.size("rope.dimension_count", head_dim_max));
  if (mla.qk_rope_dim >= head) {
    return keys.bad("rope.dimension_count",
                    fmt::format("is {} of {} for a whole head", mla.qk_rope_dim, head));
  }
  mla.qk_nope_dim = head - mla.qk_rope_dim;
  if (newer) {
    ASSIGN(const auto whole, keys.size_or_nothing("attention.key_length", rank_max * 2));
    if (whole && *whole != mla.kv_lora_rank + mla.qk_rope_dim) {
      return keys.bad(
          "attention.key_length",
          fmt::format("is {}, the rank {} and the rotary {} make {}", *whole, mla.kv_lora_rank,
                      mla.qk_rope_dim, mla.kv_lora_rank + mla.qk_rope_dim));
    }
  }
  if (config.kv_heads != 1 && config.kv_heads != config.heads) {
    return keys.bad("attention.head_count_kv",
                    fmt::format("is {}, 1 or {} are possible", config.kv_heads, config.heads));
  }
  config.kv_heads = config.heads;
  config.head_dim = head;
  return {};
}

base::Result<void> read_mla(const GgufKeys& keys, const ModelFiles& files, ModelConfig& config) {
  MlaConfig& mla = config.mla.emplace();
  TRY(read_ranks(keys, files, mla));
  TRY(read_heads(keys, mla, config));
  mla.kv_b_split = has_split_kv_b(files);
  // The converter writes 0.1 mscale_all_dim as f32; seven digits of it are meant.
  ASSIGN(const double stored, keys.number("rope.scaling.yarn_log_multiplier", 0.0));
  const double multiplier = std::isfinite(stored) ? std::round(stored * 1e8) / 1e8 : stored;
  mla.softmax_scale = mla_softmax_scale(mla, config.rope_scaling, multiplier);
  return {};
}

base::Result<void> read_scoring(const GgufKeys& keys, const ModelFiles& files,
                                const ModelConfig& config, MoeConfig& moe) {
  for (int layer = 0; layer < config.layers && !moe.correction_bias; ++layer) {
    moe.correction_bias = layer_has(files, layer, "mlp.gate.e_score_correction_bias");
  }
  constexpr int softmax = 1, sigmoid = 2;
  ASSIGN(const int stated, keys.count("expert_gating_func", 255, 0));
  const int function = stated != 0 ? stated : moe.correction_bias ? sigmoid : softmax;
  if (function != softmax && function != sigmoid) {
    return keys.bad("expert_gating_func", fmt::format("{} is not known; 1 and 2 are", function),
                    ErrorKind::unsupported);
  }
  moe.scoring = function == sigmoid ? MoeConfig::Scoring::sigmoid : MoeConfig::Scoring::softmax;
  // As the models themselves do it: V3 by two with its bias, V2 by the best.
  moe.group_score = function == sigmoid || moe.correction_bias ? MoeConfig::GroupScore::best_two
                                                               : MoeConfig::GroupScore::best;
  ASSIGN(const int groups, keys.count("expert_group_count", experts_max, 0));
  if (groups == 0) {
    if (config.architecture == "deepseek2") assume_groups(moe);
    return {};
  }
  moe.groups = groups;
  ASSIGN(const int used, keys.count("expert_group_used_count", experts_max, 0));
  moe.groups_used = used == 0 ? groups : used;
  return {};
}

base::Result<void> read_moe(const GgufKeys& keys, const ModelFiles& files, ModelConfig& config) {
  ASSIGN(const int experts, keys.count("expert_count", experts_max, 0));
  if (experts == 0) return {};
  MoeConfig& moe = config.moe.emplace();
  moe.experts = experts;
  ASSIGN(moe.experts_used, keys.size("expert_used_count", experts_max));
  ASSIGN(moe.expert_ffn, keys.size("expert_feed_forward_length", ffn_max));
  ASSIGN(moe.shared_experts, keys.count("expert_shared_count", shared_experts_max, 0));
  ASSIGN(moe.dense_layers_first, keys.count("leading_dense_block_count", layers_max, 0));
  TRY(read_scoring(keys, files, config, moe));
  ASSIGN(const bool normalise, keys.flag("expert_weights_norm", false));
  moe.normalise = normalise && moe.experts_used > 1;
  ASSIGN(moe.routed_scale, keys.number("expert_weights_scale", 1.0));
  return check_moe_numbers(keys.file(), config.layers, moe);
}

}  // namespace

base::Result<int> read_gguf_mtp(const GgufKeys& keys, const ModelFiles& files,
                                ModelConfig& config) {
  ASSIGN(const int stated, keys.count("nextn_predict_layers", mtp_layers_max, 0));
  const int blocks = config.layers;
  int first = blocks;
  while (first > 0 && blocks - first < mtp_layers_max &&
         layer_has(files, first - 1, "eh_proj.weight")) {
    --first;
  }
  if (first == blocks && stated > 0 && blocks > stated &&
      !layer_has(files, blocks, "eh_proj.weight") &&
      !layer_has(files, blocks - stated, "self_attn.o_proj.weight")) {
    first = blocks - stated;  // counted, but left out of the file
  }
  if (first == 0) {
    return keys.bad("block_count", "all blocks are layers for multi-token prediction");
  }
  config.layers = first;
  ASSIGN(config.mtp_layers, find_mtp_layers(files, keys.file(), first, stated));
  return stated;
}

base::Result<void> read_gguf_deepseek(const GgufKeys& keys, const ModelFiles& files,
                                      ModelConfig& config) {
  if (config.architecture == "deepseek2") TRY(read_mla(keys, files, config));
  return read_moe(keys, files, config);
}

}  // namespace format
