#include "format/decoder_check.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "format/deepseek_check.h"
#include "format/janus_check.h"
#include "format/tensor_check.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;

constexpr std::string_view layers_prefix = "model.layers.";

// The index of "model.layers.12.…", or nothing.
std::optional<int64_t> layer_of(std::string_view name) {
  if (!name.starts_with(layers_prefix)) return std::nullopt;
  name.remove_prefix(layers_prefix.size());
  const std::string_view digits = name.substr(0, name.find('.'));
  if (digits.empty() || digits.size() > 9) return std::nullopt;
  int64_t index = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    index = index * 10 + (c - '0');
  }
  return index;
}

// All tensors of one decoder.
class DecoderCheck {
 public:
  DecoderCheck(const ModelFiles& files, std::string_view file, ModelConfig& config)
      : files_(files), file_(file), config_(config), check_(files, file, config.architecture) {}

  base::Result<void> run(int mtp_layers_stated) {
    TRY(check_layer_indices(std::max(config_.mtp_layers, mtp_layers_stated)));
    TRY(check_.matrix("model.embed_tokens.weight", config_.vocab, config_.hidden));
    if (!config_.tied_head) {
      TRY(check_.matrix("lm_head.weight", config_.vocab, config_.hidden));
    }
    TRY(check_.vector("model.norm.weight", config_.hidden));
    TRY(find_biases());
    for (int layer = 0; layer < config_.layers; ++layer) TRY(check_layer(layer));
    if (config_.janus) {
      TRY(complete_janus(files_, file_, config_.hidden, check_, *config_.janus));
    }
    const TensorCheck::Pause pause(check_);
    for (int i = 0; i < config_.mtp_layers; ++i) {
      TRY(check_mtp_layer(check_, config_, config_.layers + i));
      TRY(check_layer(config_.layers + i));
    }
    config_.parameters = check_.parameters();
    config_.parameters_active = check_.parameters_active();
    if (config_.quantization.empty()) config_.quantization = check_.commonest_type();
    return {};
  }

 private:
  static std::string layer_name(int layer, std::string_view rest) {
    return TensorCheck::layer_name(layer, rest);
  }

  // A layer past the last means that the number of layers is wrong, not the tensor.
  base::Result<void> check_layer_indices(int mtp_layers) const {
    for (const TensorInfo& tensor : files_.tensors()) {
      const auto layer = layer_of(tensor.name);
      if (!layer || *layer < int64_t{config_.layers} + mtp_layers) continue;
      return check_.bad(fmt::format("tensor {} belongs to a layer that does not exist",
                                    base::shown_name(tensor.file_name_of_tensor)),
                        fmt::format("the metadata state {} layers", config_.layers));
    }
    return {};
  }

  // Biases that a family has must be there; those that the decoder does not know must not.
  base::Result<void> find_biases() {
    const bool expected = config_.architecture == "qwen2";
    config_.qkv_bias = !config_.mla &&
                       (expected || files_.find(layer_name(0, "self_attn.q_proj.bias")) != nullptr);
    for (int layer = 0; layer < config_.layers + config_.mtp_layers; ++layer) {
      for (const std::string_view part : {"self_attn.o_proj.bias", "mlp.gate_proj.bias",
                                          "mlp.up_proj.bias", "mlp.down_proj.bias"}) {
        TRY(check_.refuse(layer_name(layer, part)));
      }
      if (config_.qkv_bias) continue;
      for (const std::string_view part :
           {"self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"}) {
        TRY(check_.refuse(layer_name(layer, part)));
      }
    }
    return {};
  }

  base::Result<void> check_layer(int layer) {
    const ModelConfig& c = config_;
    TRY(check_.vector(layer_name(layer, "input_layernorm.weight"), c.hidden));
    TRY(check_.vector(layer_name(layer, "post_attention_layernorm.weight"), c.hidden));
    if (c.mla) {
      TRY(check_mla_layer(check_, c, layer));
    } else {
      TRY(check_attention(layer));
    }
    if (c.moe && c.moe->is_moe(layer)) return check_moe_layer(check_, c, layer);
    TRY(check_.matrix(layer_name(layer, "mlp.gate_proj.weight"), c.ffn, c.hidden));
    TRY(check_.matrix(layer_name(layer, "mlp.up_proj.weight"), c.ffn, c.hidden));
    return check_.matrix(layer_name(layer, "mlp.down_proj.weight"), c.hidden, c.ffn);
  }

  base::Result<void> check_attention(int layer) {
    const ModelConfig& c = config_;
    const int q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
    TRY(check_.matrix(layer_name(layer, "self_attn.q_proj.weight"), q, c.hidden));
    TRY(check_.matrix(layer_name(layer, "self_attn.k_proj.weight"), kv, c.hidden));
    TRY(check_.matrix(layer_name(layer, "self_attn.v_proj.weight"), kv, c.hidden));
    TRY(check_.matrix(layer_name(layer, "self_attn.o_proj.weight"), c.hidden, q));
    if (c.qkv_bias) {
      TRY(check_.vector(layer_name(layer, "self_attn.q_proj.bias"), q));
      TRY(check_.vector(layer_name(layer, "self_attn.k_proj.bias"), kv));
      TRY(check_.vector(layer_name(layer, "self_attn.v_proj.bias"), kv));
    }
    if (c.qk_norm) {
      TRY(check_.vector(layer_name(layer, "self_attn.q_norm.weight"), c.head_dim));
      TRY(check_.vector(layer_name(layer, "self_attn.k_norm.weight"), c.head_dim));
    }
    return {};
  }

  const ModelFiles& files_;
  std::string_view file_;
  ModelConfig& config_;
  TensorCheck check_;
};

base::Result<void> check_scaling(std::string_view file, const ModelConfig& config) {
  const RopeScaling& s = config.rope_scaling;
  const auto bad = [&](std::string_view what) {
    return fail(ErrorKind::invalid_input, fmt::format("{}: rope scaling", file), std::string(what),
                get_another);
  };
  if (s.kind == RopeScaling::Kind::none) return {};
  if (!std::isfinite(s.factor) || s.factor < 1 || s.factor > 1e6) {
    return bad("factor is not a number from 1 to 1000000");
  }
  if (!std::isfinite(s.attention_factor) || s.attention_factor <= 0 || s.attention_factor > 100) {
    return bad("the attention factor is not a number from 0 to 100");
  }
  if (s.kind == RopeScaling::Kind::linear) return {};
  if (s.original_context < 1) return bad("the original context is missing or not positive");
  if (s.kind == RopeScaling::Kind::llama3) {
    if (!std::isfinite(s.low_freq_factor) || !std::isfinite(s.high_freq_factor) ||
        s.low_freq_factor <= 0 || s.high_freq_factor <= s.low_freq_factor) {
      return bad("high_freq_factor must be greater than low_freq_factor, and both than 0");
    }
    return {};
  }
  if (!std::isfinite(s.beta_fast) || !std::isfinite(s.beta_slow) || s.beta_slow <= 0 ||
      s.beta_fast < s.beta_slow || s.beta_fast > 1e6) {
    return bad("beta_fast must be at least beta_slow, and both greater than 0");
  }
  return {};
}

}  // namespace

double yarn_multiplier(double factor) { return factor > 1 ? 0.1 * std::log(factor) + 1.0 : 1.0; }

base::Result<int> checked_size(std::string_view file, std::string_view field, int64_t value,
                               int64_t most) {
  if (value < 1 || value > most) {
    return fail(ErrorKind::invalid_input, fmt::format("{}: {} is {}", file, field, value),
                fmt::format("1 to {} are possible", most), get_another);
  }
  return static_cast<int>(value);
}

base::Result<void> check_numbers(std::string_view file, const ModelConfig& config) {
  const auto bad = [&](std::string why) {
    return fail(ErrorKind::invalid_input, fmt::format("{}: its numbers do not fit", file),
                std::move(why), get_another);
  };
  if (config.heads % config.kv_heads != 0) {
    return bad(fmt::format("{} attention heads are not a multiple of {} key-value heads",
                           config.heads, config.kv_heads));
  }
  if (!config.mla && config.head_dim % 2 != 0) {
    return bad(
        fmt::format("the head size {} is odd, rotary positions need pairs", config.head_dim));
  }
  if (!std::isfinite(config.rms_eps) || config.rms_eps <= 0 || config.rms_eps > 1) {
    return bad("the epsilon of the RMS norm is not a number above 0 and at most 1");
  }
  if (!std::isfinite(config.rope_base) || config.rope_base <= 1 || config.rope_base > 1e12) {
    return bad("the rope base is not a number above 1 and at most 1e12");
  }
  TRY(check_scaling(file, config));
  if (config.mla) TRY(check_mla_numbers(file, *config.mla));
  return {};
}

base::Result<void> check_tensors(const ModelFiles& files, std::string_view file,
                                 ModelConfig& config, int mtp_layers_stated) {
  return DecoderCheck(files, file, config).run(mtp_layers_stated);
}

base::Result<void> add_sampling_default(std::string_view file, std::string_view key, double value,
                                        base::Json& defaults) {
  const bool top_k = key == "top_k";
  if (top_k && value == -1) return {};  // some servers' way to write "no limit"
  const double most = top_k ? 1e6 : key == "top_p" ? 1 : 100;
  if (!std::isfinite(value) || value < 0 || value > most) {
    return fail(ErrorKind::invalid_input, fmt::format("{}: {} is out of its range", file, key),
                fmt::format("0 to {} are possible", most));
  }
  if (top_k) {
    defaults.set(key, base::Json(static_cast<int64_t>(value)));
  } else {
    // Files that keep it as f32 mean 0.95, not 0.949999988.
    defaults.set(key, base::Json(std::round(value * 1e6) / 1e6));
  }
  return {};
}

}  // namespace format
