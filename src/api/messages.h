// The messages of a chat request: roles, contents, parts. Pure; any thread.
#pragma once

#include <vector>

#include "api/fields.h"
#include "engine/engine.h"

namespace api {

// Reads `messages` of the body. Faults are noted in `fields` with the path of the culprit.
void parse_messages(Fields& fields, bool beta, std::vector<engine::Message>& out);

}  // namespace api
