#include "text/splitter.h"

#include <algorithm>

namespace text {
namespace {

constexpr std::string_view spaces = " \t\r\n";

// How much of the end of `text` may be the beginning of `marker`.
size_t begun(std::string_view text, std::string_view marker) {
  for (size_t length = std::min(text.size(), marker.size() - 1); length > 0; --length) {
    if (text.ends_with(marker.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

ThinkMarkers ThinkMarkers::of(const Tokenizer& tokenizer) {
  ThinkMarkers markers;
  markers.open_id = tokenizer.id_of(markers.open);
  markers.close_id = tokenizer.id_of(markers.close);
  if (markers.open_id < 0 || markers.close_id < 0) {
    markers.open_id = markers.close_id = -1;  // both or none: a border has two sides
    markers.close_ids = tokenizer.encode(markers.close, {});
  } else {
    markers.close_ids = {markers.close_id};
  }
  return markers;
}

Splitter::Splitter(const Tokenizer& tokenizer, ThinkMarkers markers, bool starts_inside,
                   bool thinks, std::vector<int32_t> tool_marks)
    : markers_(std::move(markers)),
      tool_marks_(std::move(tool_marks)),
      detokenizer_(tokenizer, /*show_control=*/false) {
  state_ = !thinks ? State::answer : starts_inside ? State::reasoning : State::start;
}

void Splitter::push(int32_t id, std::vector<Piece>& out) {
  const bool by_id = markers_.close_id >= 0;
  const bool may_open = state_ == State::start || (state_ == State::reasoning && fresh_);
  if (by_id && id == markers_.close_id && (state_ == State::start || state_ == State::reasoning)) {
    close(id, out);
  } else if (by_id && id == markers_.open_id && may_open) {
    held_.append(detokenizer_.flush(), id);
    state_ = State::reasoning;
    skip_space(Part::reasoning, out);
  } else if (state_ != State::reasoning &&
             std::find(tool_marks_.begin(), tool_marks_.end(), id) != tool_marks_.end()) {
    hand_mark(id, out);
  } else {
    held_.append(detokenizer_.push(id), id);
    settle(out);
  }
}

void Splitter::finish(std::vector<Piece>& out) {
  finishing_ = true;
  held_.append_text(detokenizer_.flush());
  settle(out);
}

// The close marker came as an id: what is held is the end of the reasoning.
void Splitter::close(int32_t id, std::vector<Piece>& out) {
  held_.append(detokenizer_.flush(), id);
  if (fresh_) skip_space(Part::reasoning, out);
  const size_t end = held_.text().find_last_not_of(spaces) + 1;
  Piece last{Part::reasoning};
  held_.take(end, last);
  held_.drop(last);
  if (!last.text.empty() || !last.ids.empty()) out.push_back(std::move(last));
  state_ = State::after_reasoning;
}

// A mark of tool calls: what is held is the answer before it, or white space of the border.
void Splitter::hand_mark(int32_t id, std::vector<Piece>& out) {
  held_.append_text(detokenizer_.flush());
  if (state_ == State::after_reasoning) skip_space(Part::answer, out);
  state_ = State::answer;
  give(held_.size(), Part::answer, out);
  out.push_back({Part::answer, {}, {id}, id});
}

void Splitter::settle(std::vector<Piece>& out) {
  if (state_ == State::start && !settle_start(out)) return;
  if (state_ == State::reasoning && !settle_reasoning(out)) return;
  if (state_ == State::after_reasoning) {
    skip_space(Part::answer, out);
    if (held_.text().empty()) return;
    state_ = State::answer;
  }
  give(held_.size(), Part::answer, out);
}

// True when it is known what the stream begins with.
bool Splitter::settle_start(std::vector<Piece>& out) {
  const std::string& text = held_.text();
  const size_t first = std::min(text.find_first_not_of(spaces), text.size());
  const std::string_view rest = std::string_view(text).substr(first);
  if (markers_.close_id < 0 && rest.starts_with(markers_.open)) {
    Piece marker{Part::reasoning};
    held_.take(first + markers_.open.size(), marker);
    marker.text.clear();
    out.push_back(std::move(marker));
    state_ = State::reasoning;
    return true;
  }
  const bool open_begun =
      rest.empty() || (markers_.close_id < 0 && std::string_view(markers_.open).starts_with(rest));
  if (open_begun && !finishing_) return false;
  state_ = State::answer;
  return true;
}

// True when the reasoning is over (the marker was a text, or the stream ends).
bool Splitter::settle_reasoning(std::vector<Piece>& out) {
  if (fresh_) skip_space(Part::reasoning, out);
  const std::string_view text = held_.text();
  const bool by_text = markers_.close_id < 0;
  const size_t at = by_text ? text.find(markers_.close) : std::string_view::npos;
  const size_t held =
      by_text && at == std::string_view::npos && !finishing_ ? begun(text, markers_.close) : 0;
  const size_t limit = at != std::string_view::npos ? at : text.size() - held;
  const size_t end = text.substr(0, limit).find_last_not_of(spaces) + 1;
  if (at == std::string_view::npos && !finishing_) {
    give(end, Part::reasoning, out);
    return false;
  }
  const size_t after = at != std::string_view::npos ? at + markers_.close.size() : text.size();
  Piece last{Part::reasoning};
  held_.take(end, last);
  Piece border;
  held_.take(after - end, border);
  last.ids.insert(last.ids.end(), border.ids.begin(), border.ids.end());
  if (!last.text.empty() || !last.ids.empty()) out.push_back(std::move(last));
  state_ = State::after_reasoning;
  return true;
}

void Splitter::give(size_t bytes, Part part, std::vector<Piece>& out) {
  Piece piece{part};
  held_.take(bytes, piece);
  if (part == Part::reasoning && !piece.text.empty()) fresh_ = false;
  if (!piece.text.empty() || !piece.ids.empty()) out.push_back(std::move(piece));
}

void Splitter::skip_space(Part part, std::vector<Piece>& out) {
  const std::string& text = held_.text();
  Piece skipped{part};
  held_.take(std::min(text.find_first_not_of(spaces), text.size()), skipped);
  skipped.text.clear();
  if (!skipped.ids.empty()) out.push_back(std::move(skipped));
}

}  // namespace text
