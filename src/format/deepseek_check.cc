#include "format/deepseek_check.h"

#include <cmath>
#include <string>

#include "format/decoder_check.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;

tl::unexpected<base::Error> bad(std::string_view file, std::string what, std::string why) {
  return fail(ErrorKind::invalid_input, fmt::format("{}: {}", file, what), std::move(why),
              get_another);
}

std::string at(int layer, std::string_view rest) { return TensorCheck::layer_name(layer, rest); }

// Those of newer DeepSeek models, and biases that none of them has.
base::Result<void> refuse_unknown(const TensorCheck& check, int layer) {
  for (const std::string_view part :
       {"self_attn.q_proj.bias", "self_attn.q_a_proj.bias", "self_attn.q_b_proj.bias",
        "self_attn.kv_a_proj_with_mqa.bias", "self_attn.kv_b_proj.bias",
        "self_attn.indexer.wq_b.weight", "self_attn.indexer.wk.weight"}) {
    TRY(check.refuse(at(layer, part)));
  }
  return {};
}

}  // namespace

base::Result<void> check_mla_numbers(std::string_view file, const MlaConfig& mla) {
  if (mla.qk_rope_dim % 2 != 0) {
    return bad(file, fmt::format("the rotary part of a head has {} numbers", mla.qk_rope_dim),
               "rotary positions need pairs");
  }
  if (!std::isfinite(mla.softmax_scale) || mla.softmax_scale <= 0 || mla.softmax_scale > 1e6) {
    return bad(file, "the softmax scale is not a number from 0 to 1000000",
               "it follows from the head sizes and YaRN's mscale");
  }
  return {};
}

base::Result<void> check_moe_numbers(std::string_view file, int layers, MoeConfig& moe) {
  if (moe.experts_used > moe.experts) {
    return bad(file, fmt::format("{} experts are used for a token", moe.experts_used),
               fmt::format("a layer has {}", moe.experts));
  }
  if (moe.dense_layers_first < 0 || moe.dense_layers_first > layers) {
    return bad(file, fmt::format("{} layers come before the experts", moe.dense_layers_first),
               fmt::format("there are {}", layers));
  }
  if (moe.experts % moe.groups != 0) {
    return bad(file, fmt::format("{} groups do not divide {} experts", moe.groups, moe.experts),
               "groups are of one size");
  }
  if (moe.groups_used > moe.groups) {
    return bad(file, fmt::format("{} groups of experts are used", moe.groups_used),
               fmt::format("there are {}", moe.groups));
  }
  const int each = moe.experts / moe.groups;
  if (moe.groups_used * each < moe.experts_used) {
    return bad(file,
               fmt::format("{} experts are used of {} groups of {}", moe.experts_used,
                           moe.groups_used, each),
               "there are not so many");
  }
  if (moe.groups > 1 && moe.group_score == MoeConfig::GroupScore::best_two && each < 2) {
    return bad(file, fmt::format("{} groups of experts are judged by their best two", moe.groups),
               "each has only one expert");
  }
  if (!std::isfinite(moe.routed_scale) || moe.routed_scale <= 0 || moe.routed_scale > 1e6) {
    return bad(file, "the scale of the experts' weights cannot be",
               "it is not a number above 0 and at most 1000000");
  }
  moe.shared_ffn = 0;
  if (moe.shared_experts > 0) {
    ASSIGN(moe.shared_ffn,
           checked_size(file, "the size of the shared experts",
                        int64_t{moe.shared_experts} * moe.expert_ffn, decoder_limits::ffn_max));
  }
  return {};
}

double mla_softmax_scale(const MlaConfig& mla, const RopeScaling& scaling, double log_multiplier) {
  double scale = 1.0 / std::sqrt(static_cast<double>(mla.qk_nope_dim + mla.qk_rope_dim));
  if (scaling.kind == RopeScaling::Kind::yarn && scaling.factor > 1) {
    const double mscale = 1.0 + log_multiplier * std::log(scaling.factor);
    scale *= mscale * mscale;
  }
  return scale;
}

void assume_groups(MoeConfig& moe) {
  if (moe.scoring == MoeConfig::Scoring::sigmoid && moe.experts == 256) {
    moe.groups = 8;
    moe.groups_used = 4;
  } else if (moe.scoring == MoeConfig::Scoring::softmax && moe.experts == 160) {
    moe.groups = 8;
    moe.groups_used = 3;
  }
}

base::Result<int> find_mtp_layers(const ModelFiles& files, std::string_view file, int layers,
                                  int stated) {
  int found = 0;
  while (found <= deepseek_limits::mtp_layers_max &&
         files.find(at(layers + found, "eh_proj.weight")) != nullptr) {
    ++found;
  }
  if (found > deepseek_limits::mtp_layers_max || (found > 0 && stated > 0 && found != stated)) {
    return bad(
        file, fmt::format("has {} layers for multi-token prediction", found),
        fmt::format("{} are stated, and {} are possible", stated, deepseek_limits::mtp_layers_max));
  }
  return found;
}

base::Result<void> check_mla_layer(TensorCheck& check, const ModelConfig& config, int layer) {
  const MlaConfig& m = *config.mla;
  const int64_t heads = config.heads, hidden = config.hidden;
  const int64_t q = heads * (m.qk_nope_dim + m.qk_rope_dim);
  TRY(refuse_unknown(check, layer));
  if (m.q_lora_rank == 0) {
    TRY(check.matrix(at(layer, "self_attn.q_proj.weight"), q, hidden));
  } else {
    TRY(check.matrix(at(layer, "self_attn.q_a_proj.weight"), m.q_lora_rank, hidden));
    TRY(check.vector(at(layer, "self_attn.q_a_layernorm.weight"), m.q_lora_rank));
    TRY(check.matrix(at(layer, "self_attn.q_b_proj.weight"), q, m.q_lora_rank));
  }
  TRY(check.matrix(at(layer, "self_attn.kv_a_proj_with_mqa.weight"), m.kv_lora_rank + m.qk_rope_dim,
                   hidden));
  TRY(check.vector(at(layer, "self_attn.kv_a_layernorm.weight"), m.kv_lora_rank));
  const std::string kv_b = at(layer, "self_attn.kv_b_proj.weight");
  const int64_t kv_rows = heads * (m.qk_nope_dim + m.v_dim);
  if (m.kv_b_split) {
    TRY(check.stacked(at(layer, "self_attn.k_b_proj.weight"), heads, m.kv_lora_rank, m.qk_nope_dim,
                      heads));
    TRY(check.stacked(at(layer, "self_attn.v_b_proj.weight"), heads, m.v_dim, m.kv_lora_rank,
                      heads));
    if (check.has(kv_b)) {  // the same weights once more
      const TensorCheck::Pause pause(check);
      TRY(check.matrix(kv_b, kv_rows, m.kv_lora_rank));
    }
  } else {
    TRY(check.matrix(kv_b, kv_rows, m.kv_lora_rank));
  }
  return check.matrix(at(layer, "self_attn.o_proj.weight"), hidden, heads * m.v_dim);
}

base::Result<void> check_moe_layer(TensorCheck& check, const ModelConfig& config, int layer) {
  const MoeConfig& m = *config.moe;
  TRY(check.refuse(at(layer, "mlp.gate.bias")));
  TRY(check.small_matrix(at(layer, "mlp.gate.weight"), m.experts, config.hidden));
  const std::string bias = at(layer, "mlp.gate.e_score_correction_bias");
  if (m.correction_bias) {
    TRY(check.vector(bias, m.experts));
  } else {
    TRY(check.refuse(bias));
  }
  for (const std::string_view part : {"gate", "up"}) {
    TRY(check.stacked(at(layer, fmt::format("mlp.experts.{}_proj.weight", part)), m.experts,
                      m.expert_ffn, config.hidden, m.experts_used));
  }
  TRY(check.stacked(at(layer, "mlp.experts.down_proj.weight"), m.experts, config.hidden,
                    m.expert_ffn, m.experts_used));
  for (const std::string_view part : {"gate", "up"}) {
    const std::string name = at(layer, fmt::format("mlp.shared_experts.{}_proj.weight", part));
    if (m.shared_ffn > 0) {
      TRY(check.matrix(name, m.shared_ffn, config.hidden));
    } else {
      TRY(check.refuse(name));
    }
  }
  if (m.shared_ffn == 0) return {};
  return check.matrix(at(layer, "mlp.shared_experts.down_proj.weight"), config.hidden,
                      m.shared_ffn);
}

base::Result<void> check_mtp_layer(TensorCheck& check, const ModelConfig& config, int layer) {
  TRY(check.vector(at(layer, "enorm.weight"), config.hidden));
  TRY(check.vector(at(layer, "hnorm.weight"), config.hidden));
  TRY(check.matrix(at(layer, "eh_proj.weight"), config.hidden, int64_t{2} * config.hidden));
  TRY(check.vector(at(layer, "shared_head.norm.weight"), config.hidden));
  for (const std::string_view part : {"embed_tokens.weight", "shared_head.head.weight"}) {
    if (check.has(at(layer, part))) {
      TRY(check.matrix(at(layer, part), config.vocab, config.hidden));
    }
  }
  return {};
}

bool has_split_kv_b(const ModelFiles& files) {
  for (const std::string_view part : {"self_attn.k_b_proj.weight", "self_attn.v_b_proj.weight"}) {
    if (files.find(at(0, part)) != nullptr) return true;
  }
  return false;
}

std::optional<base::Error> newer_family(std::string_view file, std::string_view architecture) {
  struct Family {
    std::string_view name, what, next;
  };
  constexpr std::string_view older =
      "use DeepSeek V3, R1 or V3.1 (V3.1 is what V3.2 was made of), or one of their distills";
  constexpr Family families[] = {
      {"DeepseekV32ForCausalLM", "DeepSeek V3.2, whose attention is sparse", older},
      {"deepseek_v32", "DeepSeek V3.2, whose attention is sparse", older},
      {"deepseek32", "DeepSeek V3.2, whose attention is sparse", older},
      {"DeepseekV4ForCausalLM", "DeepSeek V4, another architecture", older},
      {"deepseek_v4", "DeepSeek V4, another architecture", older},
      {"deepseek4", "DeepSeek V4, another architecture", older},
      {"deepseek2-ocr", "DeepSeek-OCR, which reads pictures", older}};
  for (const Family& family : families) {
    if (architecture != family.name) continue;
    return base::Error{ErrorKind::unsupported,
                       fmt::format("{}: the architecture is {}", file, family.name),
                       fmt::format("that is {}: this version cannot run it", family.what),
                       std::string(family.next)};
  }
  return std::nullopt;
}

}  // namespace format
