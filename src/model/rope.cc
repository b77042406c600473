#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace model {
namespace {

using format::RopeScaling;

// Long waves (fewer than low_freq_factor turns in the original context) are slowed by `factor`,
// short ones stay, those between are blended.
double llama3(double frequency, const RopeScaling& scaling) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double original = scaling.original_context;
  if (wavelength < original / scaling.high_freq_factor) return frequency;
  if (wavelength > original / scaling.low_freq_factor) return frequency / scaling.factor;
  const double s = (original / wavelength - scaling.low_freq_factor) /
                   (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - s) * frequency / scaling.factor + s * frequency;
}

// YaRN's blend for pair i: the pair that turns `turns` times in the original context.
struct YarnRamp {
  double low, high;
  YarnRamp(const RopeScaling& scaling, int dims, double base) {
    const auto pair_of = [&](double turns) {
      return dims * std::log(scaling.original_context / (2 * std::numbers::pi * turns)) /
             (2 * std::log(base));
    };
    low = std::max(0.0, std::floor(pair_of(scaling.beta_fast)));
    high = std::min(dims - 1.0, std::ceil(pair_of(scaling.beta_slow)));
    if (low == high) high += 0.001;
  }
  double slowed(int i) const { return std::clamp((i - low) / (high - low), 0.0, 1.0); }
};

}  // namespace

int rotary_dims(const format::ModelConfig& config) {
  return config.mla ? config.mla->qk_rope_dim : config.head_dim;
}

Rope make_rope(const format::ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  const int dims = rotary_dims(config);
  const int pairs = dims / 2;
  Rope rope;
  rope.frequencies.resize(pairs);
  if (scaling.kind == RopeScaling::Kind::yarn) {
    rope.multiplier = static_cast<float>(scaling.attention_factor);
  }
  const YarnRamp ramp(scaling, dims, config.rope_base);
  for (int i = 0; i < pairs; ++i) {
    double f = std::pow(config.rope_base, -2.0 * i / dims);
    switch (scaling.kind) {
      case RopeScaling::Kind::none:
        break;
      case RopeScaling::Kind::linear:
        f /= scaling.factor;
        break;
      case RopeScaling::Kind::llama3:
        // A GGUF file carries the outcome as divisors and may omit the numbers.
        if (config.rope_divisors.empty()) f = llama3(f, scaling);
        break;
      case RopeScaling::Kind::yarn:
        f = f * (1 - ramp.slowed(i)) + f / scaling.factor * ramp.slowed(i);
        break;
    }
    if (i < static_cast<int>(config.rope_divisors.size())) f /= config.rope_divisors[i];
    rope.frequencies[i] = static_cast<float>(f);
  }
  return rope;
}

void Rope::angles(int position, float* cosine, float* sine) const {
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double angle = static_cast<double>(position) * frequencies[i];
    cosine[i] = static_cast<float>(std::cos(angle)) * multiplier;
    sine[i] = static_cast<float>(std::sin(angle)) * multiplier;
  }
}

}  // namespace model
