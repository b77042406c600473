#include "format/decoder_check.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace format {
namespace {

using base::ErrorKind;
using base::fail;

std::string shown_shape(const std::vector<uint64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

bool is_plain_float(tensor::Dtype dtype) {
  return dtype == tensor::Dtype::f32 || dtype == tensor::Dtype::f16 || dtype == tensor::Dtype::bf16;
}

class TensorCheck {
 public:
  TensorCheck(const ModelFiles& files, std::string_view file, ModelConfig& config)
      : files_(files), file_(file), config_(config) {}

  base::Result<void> run() {
    TRY(check_layer_indices());
    TRY(matrix("model.embed_tokens.weight", config_.vocab, config_.hidden));
    if (!config_.tied_head) TRY(matrix("lm_head.weight", config_.vocab, config_.hidden));
    TRY(vector("model.norm.weight", config_.hidden));
    TRY(find_biases());
    for (int layer = 0; layer < config_.layers; ++layer) TRY(check_layer(layer));
    config_.parameters = parameters_;
    if (config_.quantization.empty()) config_.quantization = commonest_dtype();
    return {};
  }

 private:
  static std::string layer_name(int layer, std::string_view rest) {
    return fmt::format("model.layers.{}.{}", layer, rest);
  }

  base::Result<const TensorInfo*> required(const std::string& name,
                                           const std::vector<uint64_t>& shape) {
    const TensorInfo* tensor = files_.find(name);
    if (tensor == nullptr) {
      return fail(ErrorKind::invalid_input, fmt::format("{}: tensor {} is missing", file_, name),
                  fmt::format("shape {} was expected", shown_shape(shape)));
    }
    if (tensor->shape != shape) {
      return fail(
          ErrorKind::invalid_input,
          fmt::format("{}: tensor {} has shape {}", file_,
                      base::shown_name(tensor->file_name_of_tensor), shown_shape(tensor->shape)),
          fmt::format("{} was expected of its metadata", shown_shape(shape)));
    }
    for (uint64_t n = 1, i = 0; i < shape.size(); ++i) {
      n *= shape[i];
      if (i + 1 == shape.size()) parameters_ += n;
    }
    return tensor;
  }
  base::Result<void> matrix(const std::string& name, int rows, int columns) {
    ASSIGN(const TensorInfo* tensor,
           required(name, {static_cast<uint64_t>(rows), static_cast<uint64_t>(columns)}));
    const tensor::DtypeInfo& type = tensor::info(tensor->dtype);
    if (!type.dequantizable) {
      return fail(ErrorKind::unsupported,
                  fmt::format("{}: tensor {} has type {}", file_, name, type.name),
                  "this program cannot decode that type");
    }
    elements_by_type_[tensor->dtype] += tensor->shape[0] * tensor->shape[1];
    return {};
  }
  // Norms and biases: small, and kept in f32, so only plain floats are taken.
  base::Result<void> vector(const std::string& name, int length) {
    ASSIGN(const TensorInfo* tensor, required(name, {static_cast<uint64_t>(length)}));
    if (!is_plain_float(tensor->dtype)) {
      return fail(
          ErrorKind::unsupported,
          fmt::format("{}: tensor {} has type {}", file_, name, tensor::info(tensor->dtype).name),
          "norms and biases must be F32, F16 or BF16");
    }
    return {};
  }

  // A layer past the last means that the number of layers is wrong, not the tensor.
  base::Result<void> check_layer_indices() const {
    constexpr std::string_view prefix = "model.layers.";
    for (const TensorInfo& tensor : files_.tensors()) {
      std::string_view name = tensor.name;
      if (!name.starts_with(prefix)) continue;
      name.remove_prefix(prefix.size());
      const std::string_view digits = name.substr(0, name.find('.'));
      const bool number =
          !digits.empty() && digits.size() < 10 &&
          std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
      if (number && std::stol(std::string(digits)) >= config_.layers) {
        return fail(ErrorKind::invalid_input,
                    fmt::format("{}: tensor {} belongs to a layer that does not exist", file_,
                                base::shown_name(tensor.file_name_of_tensor)),
                    fmt::format("the metadata state {} layers", config_.layers));
      }
    }
    return {};
  }

  // Biases that a family has must be there; those that the decoder does not know must not.
  base::Result<void> find_biases() {
    const bool expected = config_.architecture == "qwen2";
    config_.qkv_bias = expected || files_.find(layer_name(0, "self_attn.q_proj.bias")) != nullptr;
    for (int layer = 0; layer < config_.layers; ++layer) {
      for (const std::string_view part : {"self_attn.o_proj.bias", "mlp.gate_proj.bias",
                                          "mlp.up_proj.bias", "mlp.down_proj.bias"}) {
        TRY(refuse(layer_name(layer, part)));
      }
      if (config_.qkv_bias) continue;
      for (const std::string_view part :
           {"self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"}) {
        TRY(refuse(layer_name(layer, part)));
      }
    }
    return {};
  }
  base::Result<void> refuse(const std::string& name) const {
    if (files_.find(name) == nullptr) return {};
    return fail(ErrorKind::unsupported, fmt::format("{}: has the tensor {}", file_, name),
                fmt::format("the decoder of {} does not add it", config_.architecture));
  }

  base::Result<void> check_layer(int layer) {
    const ModelConfig& c = config_;
    const int q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
    TRY(vector(layer_name(layer, "input_layernorm.weight"), c.hidden));
    TRY(vector(layer_name(layer, "post_attention_layernorm.weight"), c.hidden));
    TRY(matrix(layer_name(layer, "self_attn.q_proj.weight"), q, c.hidden));
    TRY(matrix(layer_name(layer, "self_attn.k_proj.weight"), kv, c.hidden));
    TRY(matrix(layer_name(layer, "self_attn.v_proj.weight"), kv, c.hidden));
    TRY(matrix(layer_name(layer, "self_attn.o_proj.weight"), c.hidden, q));
    TRY(matrix(layer_name(layer, "mlp.gate_proj.weight"), c.ffn, c.hidden));
    TRY(matrix(layer_name(layer, "mlp.up_proj.weight"), c.ffn, c.hidden));
    TRY(matrix(layer_name(layer, "mlp.down_proj.weight"), c.hidden, c.ffn));
    if (c.qkv_bias) {
      TRY(vector(layer_name(layer, "self_attn.q_proj.bias"), q));
      TRY(vector(layer_name(layer, "self_attn.k_proj.bias"), kv));
      TRY(vector(layer_name(layer, "self_attn.v_proj.bias"), kv));
    }
    if (c.qk_norm) {
      TRY(vector(layer_name(layer, "self_attn.q_norm.weight"), c.head_dim));
      TRY(vector(layer_name(layer, "self_attn.k_norm.weight"), c.head_dim));
    }
    return {};
  }

  std::string commonest_dtype() const {
    const auto most =
        std::max_element(elements_by_type_.begin(), elements_by_type_.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; });
    return std::string(tensor::info(most->first).name);
  }

  const ModelFiles& files_;
  std::string_view file_;
  ModelConfig& config_;
  uint64_t parameters_ = 0;
  std::map<tensor::Dtype, uint64_t> elements_by_type_;
};

base::Result<void> check_scaling(std::string_view file, const ModelConfig& config) {
  const RopeScaling& s = config.rope_scaling;
  const auto bad = [&](std::string_view what) {
    return fail(ErrorKind::invalid_input, fmt::format("{}: rope scaling: {}", file, what));
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
                fmt::format("1 to {} are possible", most));
  }
  return static_cast<int>(value);
}

base::Result<void> check_numbers(std::string_view file, const ModelConfig& config) {
  const auto bad = [&](std::string what) {
    return fail(ErrorKind::invalid_input, fmt::format("{}: {}", file, what));
  };
  if (config.heads % config.kv_heads != 0) {
    return bad(fmt::format("{} attention heads are not a multiple of {} key-value heads",
                           config.heads, config.kv_heads));
  }
  if (config.head_dim % 2 != 0) {
    return bad(
        fmt::format("the head size {} is odd, rotary positions need pairs", config.head_dim));
  }
  if (!std::isfinite(config.rms_eps) || config.rms_eps <= 0 || config.rms_eps > 1) {
    return bad("the epsilon of the RMS norm is not a number above 0 and at most 1");
  }
  if (!std::isfinite(config.rope_base) || config.rope_base <= 1 || config.rope_base > 1e12) {
    return bad("the rope base is not a number above 1 and at most 1e12");
  }
  return check_scaling(file, config);
}

base::Result<void> check_tensors(const ModelFiles& files, std::string_view file,
                                 ModelConfig& config) {
  return TensorCheck(files, file, config).run();
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
