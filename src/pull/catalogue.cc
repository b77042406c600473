#include "pull/catalogue.h"

#include <algorithm>

#include "base/check.h"

namespace pull {
namespace {

constexpr double gib_bytes = 1024.0 * 1024.0 * 1024.0;
constexpr double program_gib = 0.3;
constexpr int context_tokens = 8192;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  return out;
}

}  // namespace

double CatalogueModel::memory_gib() const {
  return gib + static_cast<double>(kv_bytes_per_token) * context_tokens / gib_bytes + program_gib;
}

double CatalogueModel::tokens_per_s(double bandwidth_gb_per_s) const {
  const double bytes_per_token = gib * gib_bytes * active_b / parameters_b;
  return bandwidth_gb_per_s * 1e9 / bytes_per_token;
}

bool CatalogueModel::fits(uint64_t memory_bytes) const {
  return memory_gib() * gib_bytes <= static_cast<double>(memory_bytes);
}

const std::vector<CatalogueModel>& catalogue() {
  static const std::vector<CatalogueModel> models = {
      {"DeepSeek-R1-Distill-Qwen-1.5B", "r1-1.5b",
       "hf:unsloth/DeepSeek-R1-Distill-Qwen-1.5B-GGUF:Q4_K_M", "MIT (Qwen2.5: Apache-2.0)", 1.04,
       1.78, 1.54, 28'672, true},
      {"DeepSeek-R1-Distill-Qwen-7B", "r1-7b", "hf:unsloth/DeepSeek-R1-Distill-Qwen-7B-GGUF:Q4_K_M",
       "MIT (Qwen2.5: Apache-2.0)", 4.36, 7.62, 7.07, 57'344, true},
      {"DeepSeek-R1-Distill-Llama-8B", "r1-llama-8b",
       "hf:unsloth/DeepSeek-R1-Distill-Llama-8B-GGUF:Q4_K_M", "MIT (Llama 3.1 licence)", 4.58, 8.03,
       7.51, 131'072, true},
      {"DeepSeek-R1-0528-Qwen3-8B", "r1-0528-8b",
       "hf:unsloth/DeepSeek-R1-0528-Qwen3-8B-GGUF:Q4_K_M", "MIT (Qwen3: Apache-2.0)", 4.68, 8.19,
       7.57, 147'456, true},
      {"DeepSeek-R1-Distill-Qwen-14B", "r1-14b",
       "hf:unsloth/DeepSeek-R1-Distill-Qwen-14B-GGUF:Q4_K_M", "MIT (Qwen2.5: Apache-2.0)", 8.37,
       14.77, 13.99, 196'608, true},
      {"DeepSeek-R1-Distill-Qwen-32B", "r1-32b",
       "hf:unsloth/DeepSeek-R1-Distill-Qwen-32B-GGUF:Q4_K_M", "MIT (Qwen2.5: Apache-2.0)", 18.5,
       32.76, 31.98, 262'144, true},
      {"DeepSeek-R1-Distill-Llama-70B", "r1-70b",
       "hf:unsloth/DeepSeek-R1-Distill-Llama-70B-GGUF:Q4_K_M", "MIT (Llama 3.3 licence)", 39.6,
       70.55, 69.50, 327'680, true},
      {"DeepSeek-V2-Lite-Chat", "v2-lite", "hf:mradermacher/DeepSeek-V2-Lite-Chat-GGUF:Q4_K_M",
       "DeepSeek Model License", 9.7, 15.71, 2.45, 31'104, false},
      {"DeepSeek-V3", "v3", "hf:unsloth/DeepSeek-V3-GGUF:Q4_K_M", "DeepSeek Model License", 377,
       671.03, 36.6, 70'272, false},
      {"DeepSeek-R1", "r1", "hf:unsloth/DeepSeek-R1-GGUF:Q4_K_M", "MIT", 377, 671.03, 36.6, 70'272,
       false},
      {"DeepSeek-R1-UD-IQ1_S", "r1-iq1", "hf:unsloth/DeepSeek-R1-GGUF:UD-IQ1_S", "MIT", 131, 671.03,
       36.6, 70'272, false},
      {"Janus-Pro-1B", "janus-1b", "hf:deepseek-community/Janus-Pro-1B:safetensors",
       "DeepSeek Model License", 3.9, 2.09, 1.65, 196'608, false},
      {"Janus-Pro-7B", "janus-7b", "hf:deepseek-community/Janus-Pro-7B:safetensors",
       "DeepSeek Model License", 13.8, 7.42, 6.91, 491'520, false},
  };
  return models;
}

const CatalogueModel* find_in_catalogue(std::string_view name) {
  const std::string wanted = lower(name);
  for (const CatalogueModel& model : catalogue()) {
    if (lower(model.name) == wanted || model.short_name == wanted) return &model;
  }
  return nullptr;
}

const CatalogueModel* find_by_source(std::string_view source) {
  for (const CatalogueModel& model : catalogue()) {
    // A receipt says which commit the reference stood for: "hf:… at 0123…".
    if (source == model.reference || source.starts_with(std::string(model.reference) + " at ")) {
      return &model;
    }
  }
  return nullptr;
}

const CatalogueModel& largest_distill(uint64_t memory_bytes) {
  const CatalogueModel* smallest = nullptr;
  const CatalogueModel* largest = nullptr;
  const double room_gib = static_cast<double>(memory_bytes) * 0.75 / gib_bytes;
  for (const CatalogueModel& model : catalogue()) {
    if (!model.distill) continue;
    if (smallest == nullptr || model.gib < smallest->gib) smallest = &model;
    if (model.gib <= room_gib && (largest == nullptr || model.gib > largest->gib)) {
      largest = &model;
    }
  }
  CHECK(smallest != nullptr, "the catalogue has distills");
  return largest != nullptr ? *largest : *smallest;
}

base::Result<Reference> resolve_reference(std::string_view text, uint64_t memory_bytes) {
  if (const CatalogueModel* model = find_in_catalogue(text)) {
    return parse_reference(model->reference);
  }
  auto reference = parse_reference(text);
  if (!reference) {
    base::Error error = reference.error();
    error.next += fmt::format("; the largest R1 distill for this machine: nautile pull {}",
                              largest_distill(memory_bytes).name);
    return base::fail(std::move(error));
  }
  return reference;
}

}  // namespace pull
