// Opens the input as a GGUF model and reads all that is accepted: metadata, numbers, tokenizer and
// every byte of every tensor.
#include "format/model_fuzz.h"
#include "format/opened.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::unique_ptr<format::ByteSource>> shards;
  shards.push_back(format::memory_source({data, size}, "fuzz.gguf"));
  auto model = format::open_gguf(std::move(shards));
  if (model) format::read_everything(**model);
  return 0;
}
