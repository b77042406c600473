// The engine in this process, for `nautile run`, the one-shot verbs and tests. Destroying the
// client ends every request (End{cancelled}) and joins the model thread.
#pragma once

#include <memory>

#include "engine/engine.h"
#include "engine/options.h"

namespace engine {

// Opens every model's headers, vocabulary and template; weights are read in the background when
// first needed (or at once: preload_first). A model that cannot be opened is an error here, because
// a person is waiting at the terminal; the child process leaves it out and says so in its log.
base::Result<std::unique_ptr<EngineClient>> make_local_client(const EngineOptions& options);

}  // namespace engine
