// Pictures as clients send them: content parts with data: URLs. Nothing is ever fetched, so an
// address is refused and says so. Pure; any thread.
#pragma once

#include "api/fields.h"
#include "engine/engine.h"

namespace api {

// What the pictures of one request have taken of engine.h's limits.
struct PictureBudget {
  int count = 0;
  uint64_t bytes = 0;
};

// Reads `image_url` of a part into `out`, at the place where its text stands now. Faults are noted
// in `part`. Of the bytes only the coding and the sizes are checked: they are read where nothing
// can be done with a hostile one.
void parse_image_part(Fields& part, PictureBudget& spent, engine::Message& out);

// The bytes of "data:image/…;base64,…"; `path` names the field in errors.
Parsed<std::string> picture_of_url(std::string_view url, const std::string& path);

}  // namespace api
