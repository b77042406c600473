// The tensor names of Janus in both namings of the hub (models.md §3.7: DeepSeek's own, and the
// port to transformers) as the normal ones, which stand in janus_config.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace format {

struct JanusName {
  std::string name;  // normal; empty: nothing of the model is computed with it
  int part = -1;     // 0, 1, 2: it is q, k or v of the one tensor `name`
};

// Nothing for a name of neither naming. A name inside of the tower or the picture decoder that is
// not known becomes "vision.…" or "vq.…" all the same, so that it is noticed.
std::optional<JanusName> janus_name(std::string_view own);

// Whether a normal name belongs to what Janus has besides its language model.
bool is_of_pictures(std::string_view normal);

}  // namespace format
