// The public API's pictures: which models see and draw, and the endpoint that draws.
// Loop thread only.
#pragma once

#include <optional>

#include "api/context.h"

namespace api {

// Why `model` cannot take the pictures of these messages, with a model that can; nothing if it can
// or there are none.
std::optional<ApiError> cannot_see(Context& context, const engine::ModelStatus& model,
                                   const std::vector<engine::Message>& messages);
// Why `model` draws no picture, with a model that does; nothing if it does.
std::optional<ApiError> cannot_draw(Context& context, const engine::ModelStatus& model);
// `wish` makes the first one unless the person chose it: seeds stay small enough to be read in
// JSON by every program.
uint64_t drawing_seed(Context& context, std::optional<uint64_t> wish);

void generate_images(Context& context, Call& call);

}  // namespace api
