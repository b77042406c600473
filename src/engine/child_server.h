// The engine's end of the wire: an Engine served over one socket.
#pragma once

#include <functional>
#include <memory>

#include "engine/core.h"

namespace engine {

// Makes the engine with the hooks that the server needs.
using MakeEngine = std::function<std::unique_ptr<Engine>(Engine::Hooks hooks)>;

// Takes ownership of `fd` (AF_UNIX stream). Blocks until the other end closes (0) or breaks the
// protocol (1); by then every request has ended and every thread has been joined.
int serve_engine(int fd, const MakeEngine& make_engine);

}  // namespace engine
