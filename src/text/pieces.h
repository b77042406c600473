// What the parts of the output pipeline hand on: text, and the sampled ids that it accounts for.
// ids -> Splitter (which owns the detokeniser) -> ToolParser, where tools are declared ->
// StopMatcher -> the reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace text {

enum class Part : uint8_t { reasoning, answer };

// Every id is in exactly one piece, in order; `text` is whole characters and may be empty.
struct Piece {
  Part part = Part::answer;
  std::string text;
  std::vector<int32_t> ids;
  int32_t mark = -1;   // from Splitter to ToolParser: this one id is a mark and has no text
  std::string called;  // from ToolParser: a whole call of this function; `text` is its arguments
};

// Text that is held back, and which ids it came from. An id goes out with the last byte that it
// brought, an id without bytes with the text before it.
class HeldText {
 public:
  void append(std::string_view text, int32_t id);  // what the id brought, maybe nothing
  void append_text(std::string_view text) { text_ += text; }
  // Takes the first `bytes` of the text and the ids that end in them.
  void take(size_t bytes, Piece& into);
  // Takes all ids and drops the text.
  void drop(Piece& into);
  const std::string& text() const { return text_; }
  size_t size() const { return text_.size(); }
  bool empty() const { return text_.empty() && ends_.empty(); }

 private:
  struct End {
    size_t at;  // bytes of text_ up to the last one of the id
    int32_t id;
  };
  std::string text_;
  std::vector<End> ends_;
};

}  // namespace text
