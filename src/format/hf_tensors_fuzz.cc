// Opens the input as a Hugging Face directory: its first line is config.json, the rest is
// model.safetensors. Reads all that is accepted: experts that are gathered, FP8 with its scales.
#include "format/model_fuzz.h"
#include "format/opened.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const size_t line = std::min(all.find('\n'), size);
  auto config = base::parse_json(all.substr(0, line), "config.json");
  if (!config || !config->is_object() || line == size) return 0;
  auto model = format::open_hf_parts(
      std::move(*config), base::Json(),
      format::memory_source({data + line + 1, size - line - 1}, "fuzz.safetensors"));
  if (model) format::read_everything(**model);
  return 0;
}
