// Opening the configured models and building an Engine on the machine's own clock and randomness.
#pragma once

#include <memory>

#include "engine/core.h"

namespace engine {

enum class BrokenModel { refuse, leave_out };

// refuse: the first model that cannot be opened is the error. leave_out: options.left_out hears of
// it (without one it is logged), unusable_models() names it, the others are served; never fails.
base::Result<std::unique_ptr<Engine>> open_engine(const EngineOptions& options, BrokenModel broken,
                                                  Engine::Hooks hooks);

}  // namespace engine
