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
      for (const app::VectorShown& shown : prompt.shown) {
        if (static_cast<size_t>(shown.at) >= prompt.ids.size()) std::abort();
        sum += vectors.pictures.at(static_cast<size_t>(shown.picture)).embeds.front().row;
      }
    }
    for (const app::VectorPicture& picture : vectors.pictures) {
      if (picture.file.empty() || picture.embeds.empty()) std::abort();
      for (const app::VectorEmbed& embed : picture.embeds) {
        for (const double value : embed.values) sum += value;
      }
    }
    for (const app::VectorDrawing& drawing : vectors.drawings) {
      if (drawing.with_text.size() != drawing.without_text.size()) std::abort();
      for (const app::VectorRow& row : drawing.rows) {
        sum += drawing.codes.at(static_cast<size_t>(row.position)) + row.logits.front();
      }
    }
    for (const app::VectorGrid& grid : vectors.grids) {
      if (grid.step < 1 || grid.codes.empty() || grid.levels.size() % 3 != 0) std::abort();
      for (const char level : grid.levels) sum += level;
    }
  };
  if (const auto vectors = app::parse_vectors(all, "vectors.json")) {
    read_all(*vectors);
    const auto again = app::parse_vectors(app::dump_vectors(*vectors), "vectors.json");
    if (!again || again->prompts.size() != vectors->prompts.size()) std::abort();
  }
  if (size > 1) {
    const size_t cut = 1 + (size - 1) * data[0] / 256;
    const auto vectors = app::parse_vector_folder(
        all.substr(1, cut - 1), all.substr(cut),
        [](const std::string& name) { return base::Result<std::string>(name); });
    if (vectors) read_all(*vectors);
  }
  return sum == 0.123456789 ? 1 : 0;
}
