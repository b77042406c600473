// Splitter: sampled ids to reasoning and answer, as they come. The border is a token id where the
// vocabulary has one for it (`<think>`, `</think>`); only for models without such tokens is it a
// text, found across token borders with no more held back than may still become the marker. One
// stream, one thread.
//
//   template ends with `<think>`:   hm \n </think> \n\n Hello   (starts_inside)
//   reasoning "hm" ------------------+               +--------- answer "Hello"
// Markers are never text. White space at both ends of the reasoning and before the answer that
// follows it belongs to the markers and is dropped. The ids of markers count as reasoning.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/detokenizer.h"
#include "text/pieces.h"
#include "text/tokenizer.h"

namespace text {

struct ThinkMarkers {
  std::string open = "<think>", close = "</think>";
  int32_t open_id = -1, close_id = -1;  // -1: no such token, the text counts
  std::vector<int32_t> close_ids;       // what to feed the model to end its thinking

  // The markers of a vocabulary, by their text.
  static ThinkMarkers of(const Tokenizer& tokenizer);
};

class Splitter {
 public:
  // `starts_inside`: the prompt ended with an open marker. `thinks` false: everything is answer
  // and no marker is looked for. Hidden control tokens give no text. The tokenizer outlives this.
  // `tool_marks`: ids that outside the reasoning come as pieces of their own (Piece::mark).
  Splitter(const Tokenizer& tokenizer, ThinkMarkers markers, bool starts_inside, bool thinks = true,
           std::vector<int32_t> tool_marks = {});

  // Appends what the id makes certain: nothing, one piece, or the end of one part and the
  // beginning of the other.
  void push(int32_t id, std::vector<Piece>& out);
  // The stream ends: gives out what is held.
  void finish(std::vector<Piece>& out);

  bool inside() const { return state_ == State::reasoning; }
  // Whether the reasoning may be opened still, by its token; whether `id` would do it.
  bool may_open() const { return state_ == State::start && markers_.open_id >= 0; }
  bool opens(int32_t id) const { return may_open() && id == markers_.open_id; }

 private:
  // `start`: nothing but white space so far, so an open marker may still come.
  enum class State : uint8_t { start, reasoning, after_reasoning, answer };
  void close(int32_t id, std::vector<Piece>& out);
  void hand_mark(int32_t id, std::vector<Piece>& out);
  void settle(std::vector<Piece>& out);
  bool settle_start(std::vector<Piece>& out);
  bool settle_reasoning(std::vector<Piece>& out);
  void give(size_t bytes, Part part, std::vector<Piece>& out);
  void skip_space(Part part, std::vector<Piece>& out);

  ThinkMarkers markers_;
  std::vector<int32_t> tool_marks_;
  Detokenizer detokenizer_;
  HeldText held_;
  State state_;
  bool fresh_ = true;  // no reasoning given out yet: leading space is dropped
  bool finishing_ = false;
};

}  // namespace text
