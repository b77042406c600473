// Opens the input as a safetensors file and reads every byte of every tensor.
#include "format/model_fuzz.h"
#include "format/opened.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto model =
      format::open_safetensors_file(format::memory_source({data, size}, "fuzz.safetensors"));
  if (model) format::read_everything(**model);
  return 0;
}
