// The numbers and tensors of latent attention, experts and MTP layers, checked for both
// containers; and what they have in common where a file says nothing.
#pragma once

#include <optional>
#include <string_view>

#include "base/result.h"
#include "format/model_files.h"
#include "format/tensor_check.h"

namespace format {

namespace deepseek_limits {
inline constexpr int64_t rank_max = 1 << 16;
inline constexpr int64_t experts_max = 4096;
inline constexpr int64_t mtp_layers_max = 16;
inline constexpr int64_t shared_experts_max = 64;
inline constexpr int64_t scale_block_max = 1 << 16;
}  // namespace deepseek_limits

// Numbers against each other; `file` stands in errors. Sets shared_ffn.
base::Result<void> check_mla_numbers(std::string_view file, const MlaConfig& mla);
base::Result<void> check_moe_numbers(std::string_view file, int layers, MoeConfig& moe);

// (nope + rope)^-0.5, times (1 + log_multiplier ln(factor))² with YaRN. log_multiplier is 0.1
// mscale_all_dim, as GGUF keeps it.
double mla_softmax_scale(const MlaConfig& mla, const RopeScaling& scaling, double log_multiplier);

// Groups of files that do not state them: V3 and V2 (236B) are known by their counts of experts.
void assume_groups(MoeConfig& moe);

// How many MTP layers follow layer `layers` - 1, by their tensors. `stated` of them (or none) are
// expected; a checkpoint may have been published without them.
base::Result<int> find_mtp_layers(const ModelFiles& files, std::string_view file, int layers,
                                  int stated);

// The tensors of one layer. The dense parts are checked by the caller.
base::Result<void> check_mla_layer(TensorCheck& check, const ModelConfig& config, int layer);
base::Result<void> check_moe_layer(TensorCheck& check, const ModelConfig& config, int layer);
base::Result<void> check_mtp_layer(TensorCheck& check, const ModelConfig& config, int layer);

// Which form of kv_b the layers have: all the pair, or all the single one.
bool has_split_kv_b(const ModelFiles& files);

// "unsupported" for families that look like ours but are computed otherwise, by the name that
// config.json or general.architecture gives; nothing for all others.
std::optional<base::Error> newer_family(std::string_view file, std::string_view architecture);

}  // namespace format
