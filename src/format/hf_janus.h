// Janus in Hugging Face layout, DeepSeek's own form of it (model_type "multi_modality") and the
// port to transformers ("janus"): what config.json and preprocessor_config.json say, and the
// tensors under their normal names.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "format/byte_source.h"
#include "format/hf_tensors.h"
#include "format/model_files.h"

namespace format {

bool is_hf_janus(const base::Json& config);

// The part of config.json that speaks of the language model, as that of a Llama: keys that it
// leaves out have the values that transformers' LlamaConfig gives them.
base::Result<base::Json> janus_language_config(const base::Json& config);

// What config.json states of the parts that see and draw. 0 stands for what it leaves to the
// tensors; complete_janus() (janus_check.h) finds that.
base::Result<JanusConfig> read_hf_janus(const base::Json& config);

// How a picture is laid on the canvas. `preprocessor` may be null.
base::Result<void> read_janus_preprocessor(const base::Json& preprocessor, JanusVision& vision);

// Renames; drops what nothing is computed with; makes q, k and v of the port's tower one tensor.
base::Result<NormalTensors> normal_janus_tensors(
    std::vector<TensorInfo> raw, std::span<const std::unique_ptr<ByteSource>> files);

}  // namespace format
