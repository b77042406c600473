#include "engine/engine_child.h"

#include "base/check.h"
#include "engine/child_server.h"
#include "engine/open_models.h"

namespace engine {

int run_engine_child(int fd, const EngineOptions& options,
                     const std::function<void(EngineClient&)>& opened) {
  return serve_engine(fd, [&](Engine::Hooks hooks) {
    auto engine = open_engine(options, BrokenModel::leave_out, std::move(hooks));
    CHECK(engine.has_value(), "models that cannot be opened are left out");
    if (opened) opened(**engine);
    return std::move(*engine);
  });
}

}  // namespace engine
