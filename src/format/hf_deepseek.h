// What config.json says of the DeepSeek families beside the sizes that all decoders have.
#pragma once

#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "format/model_files.h"

namespace format {

// Fills config.mla and config.moe for the class `full_name` ("DeepseekV3ForCausalLM"); nothing for
// other families. The sizes and the rope of `config` are read already. Sets head_dim and
// rope_layout where latent attention changes them.
base::Result<void> read_hf_deepseek(const base::Json& json, std::string_view full_name,
                                    ModelConfig& config);

// The keys of DeepSeek's own inference code ("dim", "n_layers") as those of transformers; any other
// config.json comes back as it is.
base::Json from_deepseek_config(const base::Json& json);

// Layers for multi-token prediction that config.json states.
base::Result<int> stated_mtp_layers(const base::Json& json);

}  // namespace format
