// Reads the input as config.json and as generation_config.json.
#include "format/hf_config.h"
#include "format/model_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto json = base::parse_json(text, "config.json");
  if (!json) return 0;
  const auto config = format::read_hf_config(*json, *json);
  if (config) format::consume(*config);
  return 0;
}
