// What the keys of a GGUF file say of the DeepSeek families.
#pragma once

#include "base/result.h"
#include "format/deepseek_check.h"
#include "format/gguf_keys.h"
#include "format/model_files.h"

namespace format {

// Sets mtp_layers, and takes them out of config.layers where block_count includes them. Returns how
// many the keys state.
base::Result<int> read_gguf_mtp(const GgufKeys& keys, const ModelFiles& files, ModelConfig& config);

// Fills config.mla (deepseek2) and config.moe; the sizes and the rope of `config` are read already.
// Sets head_dim and kv_heads where latent attention changes them.
base::Result<void> read_gguf_deepseek(const GgufKeys& keys, const ModelFiles& files,
                                      ModelConfig& config);

}  // namespace format
