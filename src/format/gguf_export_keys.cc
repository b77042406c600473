// The keys of a GGUF file that is made from a Hugging Face folder. gguf_model.cc, gguf_deepseek.cc
// and gguf_tokenizer.cc read them back; what they take from a key is what is written into it.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "format/decoder_check.h"
#include "format/gguf_export.h"
#include "format/gguf_janus.h"
#include "format/tokenizer_rules.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;

// Writes the keys of one architecture.
class Keys {
 public:
  Keys(const std::string& architecture, GgufWriter& out) : prefix_(architecture + "."), out_(out) {}
  void size(std::string_view rest, int value) {
    out_.u32(prefix_ + std::string(rest), static_cast<uint64_t>(value));
  }
  void number(std::string_view rest, double value) { out_.f32(prefix_ + std::string(rest), value); }
  void flag(std::string_view rest, bool value) { out_.boolean(prefix_ + std::string(rest), value); }
  void text(std::string_view rest, std::string_view value) {
    out_.text(prefix_ + std::string(rest), value);
  }

 private:
  std::string prefix_;
  GgufWriter& out_;
};

void add_attention(const ModelConfig& config, Keys& keys) {
  keys.size("attention.head_count", config.heads);
  keys.number("attention.layer_norm_rms_epsilon", config.rms_eps);
  if (!config.mla) {
    keys.size("attention.head_count_kv", config.kv_heads);
    keys.size("attention.key_length", config.head_dim);
    keys.size("attention.value_length", config.head_dim);
    keys.size("rope.dimension_count", config.head_dim);
    return;
  }
  const MlaConfig& mla = *config.mla;
  keys.size("attention.head_count_kv", 1);  // the latent is one head that all queries share
  if (mla.q_lora_rank > 0) keys.size("attention.q_lora_rank", mla.q_lora_rank);
  keys.size("attention.kv_lora_rank", mla.kv_lora_rank);
  keys.size("attention.key_length", mla.kv_lora_rank + mla.qk_rope_dim);
  keys.size("attention.value_length", mla.kv_lora_rank);
  keys.size("attention.key_length_mla", mla.qk_nope_dim + mla.qk_rope_dim);
  keys.size("attention.value_length_mla", mla.v_dim);
  keys.size("rope.dimension_count", mla.qk_rope_dim);
}

void add_yarn(const ModelConfig& config, Keys& keys) {
  const RopeScaling& scaling = config.rope_scaling;
  keys.number("rope.scaling.factor", scaling.factor);
  keys.size("rope.scaling.original_context_length", scaling.original_context);
  keys.number("rope.scaling.yarn_beta_fast", scaling.beta_fast);
  keys.number("rope.scaling.yarn_beta_slow", scaling.beta_slow);
  // Latent attention has the multiplier in its softmax scale, and none on cos and sin.
  const double own = config.mla ? 1.0 : yarn_multiplier(scaling.factor);
  const double beside = scaling.attention_factor / own;
  if (std::fabs(beside - 1.0) > 1e-9) keys.number("rope.scaling.attn_factor", beside);
  if (!config.mla || !(scaling.factor > 1)) return;
  const double plain = 1.0 / std::sqrt(config.mla->qk_nope_dim + config.mla->qk_rope_dim);
  const double mscale = std::sqrt(config.mla->softmax_scale / plain);
  keys.number("rope.scaling.yarn_log_multiplier", (mscale - 1.0) / std::log(scaling.factor));
}

void add_rope(const ModelConfig& config, Keys& keys) {
  keys.number("rope.freq_base", config.rope_base);
  switch (config.rope_scaling.kind) {
    case RopeScaling::Kind::none:
    case RopeScaling::Kind::llama3:  // a tensor says it
      return;
    case RopeScaling::Kind::linear:
      keys.text("rope.scaling.type", "linear");
      keys.number("rope.scaling.factor", config.rope_scaling.factor);
      return;
    case RopeScaling::Kind::yarn:
      keys.text("rope.scaling.type", "yarn");
      add_yarn(config, keys);
      return;
  }
}

base::Result<void> add_experts(const ModelConfig& config, Keys& keys) {
  if (!config.moe) return {};
  const MoeConfig& moe = *config.moe;
  if (moe.layer_freq != 1) {
    return fail(ErrorKind::unsupported,
                fmt::format("only every {}th layer of this model has experts", moe.layer_freq),
                "GGUF has no key that could say so", "run the model from its own folder");
  }
  constexpr int softmax = 1, sigmoid = 2;
  const bool is_sigmoid = moe.scoring == MoeConfig::Scoring::sigmoid;
  keys.size("leading_dense_block_count", moe.dense_layers_first);
  keys.size("expert_feed_forward_length", moe.expert_ffn);
  keys.size("expert_count", moe.experts);
  keys.size("expert_used_count", moe.experts_used);
  keys.size("expert_shared_count", moe.shared_experts);
  keys.size("expert_group_count", moe.groups);
  keys.size("expert_group_used_count", moe.groups_used);
  keys.size("expert_gating_func", is_sigmoid ? sigmoid : softmax);
  keys.number("expert_weights_scale", moe.routed_scale);
  keys.flag("expert_weights_norm", moe.normalise);
  return {};
}

}  // namespace

base::Result<void> add_model_keys(const ModelConfig& config, GgufWriter& out) {
  out.text("general.architecture", config.architecture);
  out.text("general.type", "model");
  if (!config.name.empty()) out.text("general.name", config.name);
  if (!config.license.empty()) out.text("general.license", config.license);
  constexpr std::pair<std::string_view, std::string_view> defaults[] = {
      {"temperature", "general.sampling.temp"},
      {"top_p", "general.sampling.top_p"},
      {"top_k", "general.sampling.top_k"}};
  for (const auto& [ours, key] : defaults) {
    const base::Json* value = config.sampling_defaults.find(ours);
    if (value == nullptr || !value->is_number()) continue;
    if (ours == "top_k") {
      out.i32(key, static_cast<int32_t>(value->as_number()));
    } else {
      out.f32(key, value->as_number());
    }
  }
  Keys keys(config.architecture, out);
  keys.size("block_count", config.layers + config.mtp_layers);
  if (config.mtp_layers > 0) keys.size("nextn_predict_layers", config.mtp_layers);
  keys.size("context_length", config.context_tokens_max);
  keys.size("embedding_length", config.hidden);
  keys.size("feed_forward_length", config.ffn);
  keys.size("vocab_size", config.vocab);
  add_attention(config, keys);
  add_rope(config, keys);
  if (config.janus) add_janus_keys(*config.janus, out);
  return add_experts(config, keys);
}

base::Result<void> add_tokenizer_keys(const text::TokenizerSpec& spec, int vocab,
                                      const NamePreTokenizer& name, GgufWriter& out) {
  const std::string pre = name(spec);
  if (pre.empty()) {
    return fail(ErrorKind::unsupported,
                spec.source + ": how it cuts text into pieces has no name in GGUF",
                "a file without the right name would be read with wrong tokens",
                "run the model from its own folder");
  }
  out.text("tokenizer.ggml.model", "gpt2");
  out.text("tokenizer.ggml.pre", pre);
  std::vector<std::string> tokens = spec.tokens;
  std::vector<int32_t> kinds;
  for (const text::TokenKind kind : spec.kinds) kinds.push_back(static_cast<int32_t>(kind));
  // Readers of GGUF take the number of tokens for the number of rows.
  while (tokens.size() < static_cast<size_t>(vocab)) {
    tokens.push_back(fmt::format("[PAD{}]", tokens.size()));
    kinds.push_back(static_cast<int32_t>(text::TokenKind::unused));
  }
  out.texts("tokenizer.ggml.tokens", tokens);
  out.i32s("tokenizer.ggml.token_type", kinds);
  std::vector<std::string> merges;
  merges.reserve(spec.merges.size());
  for (const auto& [left, right] : spec.merges) merges.push_back(fmt::format("{} {}", left, right));
  out.texts("tokenizer.ggml.merges", merges);
  const auto id = [&](std::string_view key, int32_t value) {
    if (value >= 0) {
      out.u32(fmt::format("tokenizer.ggml.{}_token_id", key), static_cast<uint64_t>(value));
    }
  };
  id("bos", spec.bos_id);
  id("eos", spec.eos_id);
  id("unknown", spec.unknown_id);
  id("padding", spec.pad_id);
  std::vector<int32_t> other_ends;
  for (const int32_t end : spec.end_ids) {
    if (end != spec.eos_id) other_ends.push_back(end);
  }
  if (!other_ends.empty()) id("eot", other_ends[0]);
  if (other_ends.size() > 1) id("eom", other_ends[1]);
  out.boolean("tokenizer.ggml.add_bos_token", spec.add_bos);
  out.boolean("tokenizer.ggml.add_eos_token", spec.add_eos);
  if (!spec.chat_template.empty()) out.text("tokenizer.chat_template", spec.chat_template);
  return {};
}

// models.md, "llama3 scaling": f is kept where its wavelength is short, divided by the factor where
// it is long, and blended between.
std::vector<float> rope_divisors_of(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  const double original = scaling.original_context;
  std::vector<float> divisors;
  for (int i = 0; i < config.head_dim / 2; ++i) {
    const double f = std::pow(config.rope_base, -2.0 * i / config.head_dim);
    const double wavelength = 2 * std::numbers::pi / f;
    double divisor = scaling.factor;
    if (wavelength < original / scaling.high_freq_factor) {
      divisor = 1;
    } else if (wavelength <= original / scaling.low_freq_factor) {
      const double share = (original / wavelength - scaling.low_freq_factor) /
                           (scaling.high_freq_factor - scaling.low_freq_factor);
      divisor = 1 / ((1 - share) / scaling.factor + share);
    }
    divisors.push_back(static_cast<float>(divisor));
  }
  return divisors;
}

}  // namespace format
