#include "engine/local_client.h"

#include <algorithm>
#include <utility>

#include "engine/open_models.h"
#include "model/memory.h"

namespace engine {
namespace {

uint64_t memory_budget(const EngineOptions& options) {
  uint64_t available = model::available_memory_bytes();
  if (options.memory_bytes_max > 0) {
    return available > 0 ? std::min(available, options.memory_bytes_max) : options.memory_bytes_max;
  }
  // 0 means unknown: then nothing is refused here, and the runner looks again.
  return available > memory_margin_bytes ? available - memory_margin_bytes : available;
}

}  // namespace

base::Result<std::unique_ptr<Engine>> open_engine(const EngineOptions& options, BrokenModel broken,
                                                  Engine::Hooks hooks) {
  Engine::Parts parts;
  parts.memory_bytes_max = memory_budget(options);
  for (const ModelEntry& entry : options.models) {
    auto source = open_model(entry, options, parts.memory_bytes_max);
    if (source) {
      parts.sources.push_back(std::move(*source));
    } else if (broken == BrokenModel::refuse) {
      return base::fail(std::move(source).error());
    } else {
      if (options.left_out) {
        options.left_out(entry, source.error());
      } else if (options.log) {
        options.log(fmt::format("model {} is left out: {}", entry.id, source.error().message()));
      }
      parts.unusable.push_back({entry.id, std::move(source).error()});
    }
  }
  parts.clock = std::make_shared<base::SystemClock>();
  parts.random = std::make_unique<base::SystemRandom>();
  parts.hooks = std::move(hooks);
  return std::make_unique<Engine>(options, std::move(parts));
}

base::Result<std::unique_ptr<EngineClient>> make_local_client(const EngineOptions& options) {
  ASSIGN(auto engine, open_engine(options, BrokenModel::refuse, {}));
  return std::unique_ptr<EngineClient>(std::move(engine));
}

}  // namespace engine
