// EngineOptions: everything that an engine is told when it starts. Plain data; the composition root
// fills it from configuration, the child process gets it on its command line or inherits it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/speculation.h"
#include "media/pictures.h"

namespace engine {

struct ModelEntry {
  std::string id;          // as clients name it; unique
  std::string path;        // a .gguf file or a Hugging Face directory
  bool starter = false;    // the demonstration model
  int context_tokens = 0;  // what is served; 0: what the file declares, within default_context_max
};

struct EngineOptions {
  std::vector<ModelEntry> models;
  bool preload_first = true;  // load models[0] at once, before anyone asks
  int threads = 0;            // arithmetic threads, the model thread included; 0: one a core
  std::string isa;            // forced instruction set (tensor::choose_isa); empty: the best
  bool exact = false;         // f32 activations: one-shot verbs and goldens only
  // Experts of each layer that stay in memory, of models that have some; 0: all, or as many as fit.
  int expert_places = 0;
  // Weights, KV and work space of all resident models together; no more than the machine has
  // available when the engine starts. 0: that, less memory_margin_bytes.
  uint64_t memory_bytes_max = 0;
  int64_t unload_after_idle_ms = -1;  // a model that nobody used for so long is unloaded; -1: never
  int running_max = 16;               // requests computed at the same time
  int waiting_max = 1024;             // requests in the queue; above: refused as unavailable
  // The key/value cache of a model: positions, or bytes. Both 0: two full contexts, at least 16,384
  // positions, less where memory is short; one context where one request runs at a time.
  int kv_tokens = 0;
  uint64_t kv_bytes = 0;
  std::string kv_type;         // "f16", "bf16", "f32"; empty: f16, or f32 when exact
  int batch_tokens_max = 512;  // rows of one step, decoding included
  // Prompt tokens of one step; 0: as many as the measured speed computes in step_target_ms.
  int prompt_chunk_tokens = 0;
  bool prefix_cache = true;
  // Told of each model that cannot be opened where the others are served without it; empty: it is
  // logged.
  std::function<void(const ModelEntry&, const base::Error&)> left_out;
  // Guessing a second id a step, with models that have a layer for it (MTP). The ids stay the same.
  SpeculationMode speculation = SpeculationMode::automatic;
  // Reads the pictures of messages in another process; null: they are refused as unavailable.
  std::shared_ptr<media::PictureReader> pictures;
  std::function<void(std::string_view)> log;  // one line, never text of a member; may be empty
  // What each model will take of the memory (and how fast it will be, if its experts stay on disk),
  // before it is loaded: a line or two, `larger` if it is larger than the memory. May be empty.
  std::function<void(std::string_view line, bool larger)> announce;
};

inline constexpr int default_context_max = 32'768;
inline constexpr uint64_t memory_margin_bytes = 512ull << 20;
inline constexpr int step_target_ms = 150;  // so that Stop is heard soon

}  // namespace engine
