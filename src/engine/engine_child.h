// The engine process: serves one connected socket until the gate closes it.
#pragma once

#include <functional>

#include "engine/engine.h"
#include "engine/options.h"

namespace engine {

// Takes ownership of `fd` (AF_UNIX stream). Blocks; returns the exit status: 0 when the other end
// closed, 1 when it broke the protocol. The caller has sealed the process before (this starts
// threads) and has left it the right to read the models' paths. A model that cannot be opened is
// left out of the list (options.left_out hears why); the others are served. `opened` is called
// once, when all have been tried.
int run_engine_child(int fd, const EngineOptions& options,
                     const std::function<void(EngineClient&)>& opened = {});

}  // namespace engine
