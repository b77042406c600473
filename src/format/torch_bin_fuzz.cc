// Opens the input as a PyTorch checkpoint, and its bytes as the pickle alone; reads every byte of
// every tensor that is accepted.
#include "format/model_fuzz.h"
#include "format/torch_bin.h"
#include "format/torch_pickle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto source = format::memory_source({data, size}, "fuzz.bin");
  if (const auto entries = format::parse_torch_bin(*source)) {
    std::vector<uint8_t> bytes;
    for (const format::SafetensorsEntry& entry : *entries) {
      bytes.resize(entry.bytes);
      CHECK(source->read(entry.offset, bytes).has_value(), "what is accepted is in the file");
      format::consume_bytes({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
  }
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto tensors = format::read_torch_pickle(text, "fuzz.bin")) {
    for (const format::PickledTensor& tensor : *tensors) {
      CHECK(!tensor.shape.empty() && tensor.shape.size() <= 4, "1 to 4 dimensions");
      format::consume_bytes(tensor.name + tensor.storage);
    }
  }
  return 0;
}
