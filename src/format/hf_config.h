// Hugging Face's config.json and generation_config.json as the numbers of a decoder.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "format/model_files.h"

namespace format {

// The numbers that config.json states, checked against each other but not yet against tensors
// (check_tensors does that). `generation` may be null.
base::Result<ModelConfig> read_hf_config(const base::Json& config, const base::Json& generation);

// eos_token_id of either file: an integer, a list of them, or absent. Ids from `vocab` on are
// errors.
base::Result<std::vector<int64_t>> read_token_ids(const base::Json& object, std::string_view file,
                                                  std::string_view key, int64_t vocab);

}  // namespace format
