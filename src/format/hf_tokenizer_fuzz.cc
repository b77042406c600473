// Reads the input as tokenizer.json, and as the settings beside it.
#include "format/hf_tokenizer.h"
#include "format/model_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto json = base::parse_json(text, "tokenizer.json");
  if (!json) return 0;
  format::HfTokenizerParts parts;
  parts.tokenizer = *json;
  parts.tokenizer_config = *json;
  const auto spec = format::read_hf_tokenizer(std::move(parts));
  if (spec) format::consume(*spec);
  return 0;
}
