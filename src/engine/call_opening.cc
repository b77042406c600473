#include "engine/call_opening.h"

#include <algorithm>
#include <limits>

namespace engine {

OpeningGuide::OpeningGuide(CallOpening opening, const text::Tokenizer& tokenizer)
    : opening_(std::move(opening)), tokenizer_(&tokenizer), name_done_(opening_.names.empty()) {}

bool OpeningGuide::done() const {
  return before_fed_ == opening_.before.size() && name_done_ && after_fed_ == opening_.after.size();
}

// Fills masked_ with the ids that carry a name on; false: there is none.
bool OpeningGuide::allow_name(std::span<const float> logits) {
  masked_.assign(logits.size(), -std::numeric_limits<float>::infinity());
  bool any = false;
  for (size_t id = 0; id < logits.size(); ++id) {
    const std::string_view bytes = tokenizer_->bytes(static_cast<int32_t>(id), false);
    if (bytes.empty()) continue;
    for (const std::string& name : opening_.names) {
      if (!name.starts_with(written_)) continue;
      if (!std::string_view(name).substr(written_.size()).starts_with(bytes)) continue;
      masked_[id] = logits[id];
      any = true;
      break;
    }
  }
  return any;
}

base::Result<int32_t> OpeningGuide::next(std::span<const float> logits, const Pick& pick) {
  if (before_fed_ < opening_.before.size()) return opening_.before[before_fed_++];
  if (!name_done_) {
    const auto& names = opening_.names;
    const bool whole = std::find(names.begin(), names.end(), written_) != names.end();
    const bool goes_on = allow_name(logits);
    if (goes_on) {
      // A name that another one begins with may end here too.
      const auto end = static_cast<size_t>(opening_.after.front());
      if (whole && end < masked_.size()) masked_[end] = logits[end];
      ASSIGN(const int32_t id, pick(masked_));
      if (!whole || id != opening_.after.front()) {
        written_ += tokenizer_->bytes(id, false);
        return id;
      }
    }
    name_done_ = true;
  }
  return opening_.after[after_fed_++];
}

}  // namespace engine
