// Routing: which experts a row goes to, and with which weights. In f64 from f32 logits, so that a
// choice depends on the logits alone; ties go to the lower index.
#pragma once

#include <span>

#include "format/deepseek_config.h"

namespace model {

inline constexpr int experts_max = 1024;  // scratch on the stack

struct Route {
  int expert = 0;
  float weight = 0;
};

// chosen: (experts_used), the best first. logits: (experts). bias: (experts)?
void choose_experts(const format::MoeConfig& config, const float* logits, const float* bias,
                    std::span<Route> chosen);

}  // namespace model
