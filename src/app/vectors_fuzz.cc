// Both forms of reference vectors. The first byte says where expected.bin begins, for the folder.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "app/vectors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  double sum = 0;
  const auto read_all = [&](const app::Vectors& vectors) {
    for (const app::VectorPrompt& prompt : vectors.prompts) {
      for (const app::VectorRow& row : prompt.rows) {
        if (row.ids.size() != row.logits.size() || row.ids.empty()) std::abort();
        if (static_cast<size_t>(row.position) >= prompt.ids.size()) std::abort();
        for (const double logit : row.logits) sum += logit;
      }
    }
  };
  if (const auto vectors = app::parse_vectors(all, "vectors.json")) {
    read_all(*vectors);
    const auto again = app::parse_vectors(app::dump_vectors(*vectors), "vectors.json");
    if (!again || again->prompts.size() != vectors->prompts.size()) std::abort();
  }
  if (size > 1) {
    const size_t cut = 1 + (size - 1) * data[0] / 256;
    const auto vectors = app::parse_vector_folder(all.substr(1, cut - 1), all.substr(cut));
    if (vectors) read_all(*vectors);
  }
  return sum == 0.123456789 ? 1 : 0;
}
