// The shared last step of both containers: a ModelConfig read from metadata is checked against
// itself and against the tensors (normalised names). What passes is safe to run: every tensor that
// the decoder will read exists with the shape that the numbers imply and a dtype that can be
// decoded.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "format/model_files.h"

namespace format {

namespace decoder_limits {
inline constexpr int64_t hidden_max = 1 << 17;
inline constexpr int64_t layers_max = 1024;
inline constexpr int64_t heads_max = 1024;
inline constexpr int64_t head_dim_max = 1024;
inline constexpr int64_t ffn_max = 1 << 20;
inline constexpr int64_t vocab_max = 1 << 22;
inline constexpr int64_t context_tokens_max = 1 << 26;
}  // namespace decoder_limits

// The last part of many errors.
inline constexpr const char* get_another =
    "the file is damaged, or was made by a faulty converter: get another one";

// `file` and the names of fields stand in errors. What is not a whole number in [1, most] is an
// error.
base::Result<int> checked_size(std::string_view file, std::string_view field, int64_t value,
                               int64_t most);

// Numbers against each other: heads and kv heads, rope base, eps, scaling.
base::Result<void> check_numbers(std::string_view file, const ModelConfig& config);

// Tensors against numbers; sets qkv_bias, parameters, parameters_active and (where empty)
// quantization. Tensors of `mtp_layers_stated` layers after the last may be there even if they are
// not enough for config.mtp_layers.
base::Result<void> check_tensors(const ModelFiles& files, std::string_view file,
                                 ModelConfig& config, int mtp_layers_stated = 0);

// The multiplier on cos and sin that YaRN states by default: 0.1 ln(factor) + 1.
double yarn_multiplier(double factor);

// Reads temperature, top_p and top_k as numbers in their ranges into a sampling_defaults object.
base::Result<void> add_sampling_default(std::string_view file, std::string_view key, double value,
                                        base::Json& defaults);

}  // namespace format
