#include "text/stop_matcher.h"

#include <algorithm>

namespace text {
namespace {

std::vector<size_t> borders(const std::string& text) {
  std::vector<size_t> border(text.size(), 0);
  for (size_t i = 1, length = 0; i < text.size(); ++i) {
    while (length > 0 && text[i] != text[length]) length = border[length - 1];
    if (text[i] == text[length]) ++length;
    border[i] = length;
  }
  return border;
}

}  // namespace

StopMatcher::StopMatcher(const std::vector<std::string>& stops) {
  for (const std::string& stop : stops) {
    if (!stop.empty()) stops_.push_back({stop, borders(stop)});
  }
}

void StopMatcher::push(Piece piece, std::vector<Piece>& out) {
  if (stopped_) return;
  // Nor does one reach across a tool call, whose arguments are not searched.
  if (!piece.called.empty()) flush(out);
  if (stops_.empty() || !piece.called.empty()) {
    out.push_back(std::move(piece));
    return;
  }
  if (piece.part != part_) flush(out);  // a stop string does not reach across the border
  part_ = piece.part;
  const size_t before = held_.size();
  held_.append_text(piece.text);
  for (const int32_t id : piece.ids) held_.append({}, id);
  size_t held_back = 0;
  for (size_t at = 0; at < piece.text.size(); ++at) {
    const char c = piece.text[at];
    size_t longest = 0;
    held_back = 0;
    for (Stop& stop : stops_) {
      while (stop.matched > 0 && stop.text[stop.matched] != c) {
        stop.matched = stop.border[stop.matched - 1];
      }
      if (stop.text[stop.matched] == c) ++stop.matched;
      if (stop.matched == stop.text.size()) longest = std::max(longest, stop.matched);
      held_back = std::max(held_back, stop.matched);
    }
    if (longest == 0) continue;
    stopped_ = true;
    Piece last{part_};
    held_.take(before + at + 1 - longest, last);
    held_.drop(last);
    if (!last.text.empty() || !last.ids.empty()) out.push_back(std::move(last));
    return;
  }
  if (piece.text.empty()) held_back = held_.size();
  Piece certain{part_};
  held_.take(held_.size() - held_back, certain);
  if (!certain.text.empty() || !certain.ids.empty()) out.push_back(std::move(certain));
}

void StopMatcher::flush(std::vector<Piece>& out) {
  Piece rest{part_};
  held_.take(held_.size(), rest);
  if (!rest.text.empty() || !rest.ids.empty()) out.push_back(std::move(rest));
  for (Stop& stop : stops_) stop.matched = 0;
}

void StopMatcher::finish(std::vector<Piece>& out) {
  if (!stopped_) flush(out);
}

}  // namespace text
