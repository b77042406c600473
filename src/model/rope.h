// The rotary frequencies of a model, resolved once: scaling (linear, llama3, YaRN) is folded into
// them. Computed in double, kept as float, as the reference implementations keep them.
#pragma once

#include <vector>

#include "format/model_files.h"

namespace model {

// Of each head: all dimensions, or with latent attention the last qk_rope_dim.
int rotary_dims(const format::ModelConfig& config);

struct Rope {
  std::vector<float> frequencies;  // (rotary_dims / 2) radians a position
  float multiplier = 1;            // on cosine and sine (YaRN)

  // cosine and sine of every pair at `position`, both (rotary_dims / 2).
  void angles(int position, float* cosine, float* sine) const;
};

Rope make_rope(const format::ModelConfig& config);

}  // namespace model
