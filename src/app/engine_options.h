// The engine's options as the settings state them; the caller adds the models. One place for serve
// and for the verbs that run the engine in their own process.
#pragma once

#include "app/config.h"
#include "engine/options.h"

namespace app {

engine::EngineOptions engine_options(const Config& config);

}  // namespace app
