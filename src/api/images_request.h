// POST /images/generations, parsed: OpenAI's fields, of which this server honours those that mean
// something here, and seed, guidance and temperature beside them. Every fault is a 400 that says
// what would be right. Pure; any thread.
#pragma once

#include "api/http.h"
#include "base/json.h"
#include "engine/engine.h"

namespace api {

inline constexpr int partial_images_max = 3;
inline constexpr size_t draw_prompt_bytes_max = 32'000;

struct ImagesRequest {
  std::string model;  // empty: the first that draws
  std::string prompt, user_id;
  std::string size;  // "384x384"; empty: whatever the model draws
  int pictures = 1;
  std::optional<uint64_t> seed;
  double guidance = 5.0, temperature = 1.0;
  bool stream = false;
  int partial_images = 0;
};

Parsed<ImagesRequest> parse_images_request(const base::Json& body);

}  // namespace api
