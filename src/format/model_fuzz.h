// For the fuzz targets of this folder: touches every accepted byte, so that a sanitizer sees a
// wrong one.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "format/model_files.h"

namespace format {

// Keeps a value alive without printing it.
inline void consume_bytes(std::string_view bytes) {
  uint8_t sum = 0;
  for (const char c : bytes) sum = static_cast<uint8_t>(sum + static_cast<uint8_t>(c));
  asm volatile("" : : "r"(sum));  // so that the sum is computed
}

inline void consume(const ModelConfig& config) {
  CHECK(config.heads % config.kv_heads == 0, "heads are a multiple of kv heads");
  CHECK(config.layers > 0 && config.hidden > 0 && config.vocab > 0, "sizes are positive");
  CHECK(config.mtp_layers >= 0 && config.mtp_layers <= 16, "a few MTP layers at most");
  if (config.mla) {
    const MlaConfig& mla = *config.mla;
    CHECK(mla.kv_lora_rank > 0 && mla.q_lora_rank >= 0, "ranks are sizes");
    CHECK(mla.qk_rope_dim > 0 && mla.qk_rope_dim % 2 == 0, "pairs rotate");
    CHECK(mla.qk_nope_dim > 0 && mla.v_dim > 0, "heads have sizes");
    CHECK(mla.softmax_scale > 0 && mla.softmax_scale < 1e7, "the scale is a number");
  }
  if (config.moe) {
    const MoeConfig& moe = *config.moe;
    CHECK(moe.groups > 0 && moe.experts % moe.groups == 0, "groups divide experts");
    CHECK(moe.groups_used > 0 && moe.groups_used <= moe.groups, "groups are chosen of all");
    CHECK(moe.experts_used > 0 && moe.experts_used <= moe.experts / moe.groups * moe.groups_used,
          "experts are chosen of those of the groups");
    CHECK(moe.layer_freq > 0 && moe.routed_scale > 0, "divisors and scales are positive");
  }
  if (config.janus) {
    const JanusVision& vision = config.janus->vision;
    const JanusDrawing& drawing = config.janus->drawing;
    CHECK(vision.aligner_layers >= 0 && vision.layers >= 0 && vision.heads > 0, "0: not stated");
    CHECK(drawing.aligner_layers >= 0 && drawing.multipliers.size() <= 8, "a few levels at most");
  }
  consume_bytes(config.name + config.license + config.quantization);
  consume_bytes(config.sampling_defaults.dump());
}

inline void consume(const text::TokenizerSpec& spec) {
  CHECK(spec.tokens.size() == spec.kinds.size(), "every token has a kind");
  const auto size = static_cast<int64_t>(spec.tokens.size());
  for (const std::string& token : spec.tokens) consume_bytes(token);
  for (const auto& [left, right] : spec.merges) consume_bytes(left + right);
  for (const auto& added : spec.added) CHECK(added.id >= 0 && added.id < size, "id in range");
  for (const int32_t id : spec.end_ids) CHECK(id >= 0 && id < size, "id in range");
  CHECK(spec.bos_id < size && spec.eos_id < size && spec.pad_id < size, "id in range");
  consume_bytes(spec.chat_template);
}

inline void read_everything(const ModelFiles& model) {
  std::vector<uint8_t> bytes;
  for (const TensorInfo& tensor : model.tensors()) {
    CHECK(model.find(tensor.name) == &tensor, "a tensor is found by its name");
    for (uint64_t at = 0; at < tensor.bytes;) {
      bytes.resize(std::min<uint64_t>(tensor.bytes - at, 1 << 16));
      const auto done = model.read(tensor, at, bytes);
      // The weights and scales of FP8 are looked at only when they are read.
      CHECK(done.has_value() || tensor.stored != tensor.dtype, "what open() accepted can be read");
      consume_bytes({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
      at += bytes.size();
    }
  }
  consume_bytes(model.metadata().dump());
  if (const auto config = model.config()) consume(*config);
  if (const auto spec = model.tokenizer()) consume(*spec);
}

}  // namespace format
