#include "text/pieces.h"

#include <algorithm>

namespace text {

void HeldText::append(std::string_view text, int32_t id) {
  text_ += text;
  ends_.push_back({text_.size(), id});
}

void HeldText::take(size_t bytes, Piece& into) {
  bytes = std::min(bytes, text_.size());
  into.text.append(text_, 0, bytes);
  text_.erase(0, bytes);
  size_t gone = 0;
  while (gone < ends_.size() && ends_[gone].at <= bytes) into.ids.push_back(ends_[gone++].id);
  ends_.erase(ends_.begin(), ends_.begin() + static_cast<ptrdiff_t>(gone));
  for (End& end : ends_) end.at -= bytes;
}

void HeldText::drop(Piece& into) {
  for (const End& end : ends_) into.ids.push_back(end.id);
  ends_.clear();
  text_.clear();
}

}  // namespace text
