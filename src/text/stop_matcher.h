// StopMatcher: ends a stream at the first of some stop strings, wherever token borders fall. Text
// is held back only while it may still become a stop string; a stop string is not part of the
// output. What is found does not depend on how the text is portioned: the string that is complete
// first ends the stream, of several the longest. One stream, one thread.
#pragma once

#include <string>
#include <vector>

#include "text/pieces.h"

namespace text {

class StopMatcher {
 public:
  explicit StopMatcher(const std::vector<std::string>& stops);

  // Appends what of `piece` is certain. After a stop was found nothing more comes; the ids up to
  // the one that completed it have been given out.
  void push(Piece piece, std::vector<Piece>& out);
  // The stream ends otherwise: gives out what is held.
  void finish(std::vector<Piece>& out);

  bool stopped() const { return stopped_; }

 private:
  struct Stop {
    std::string text;
    std::vector<size_t> border;  // of each prefix, the length of its longest proper border
    size_t matched = 0;          // bytes of `text` that the held text ends with
  };
  void flush(std::vector<Piece>& out);

  std::vector<Stop> stops_;
  HeldText held_;
  Part part_ = Part::answer;
  bool stopped_ = false;
};

}  // namespace text
