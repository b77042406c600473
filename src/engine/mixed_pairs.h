// MixedPairs: how many rows of pictures may go along in a step that somebody's text waits for.
//
// Every row makes the step longer, and a person who reads sees each step as a pause. So the first
// such step takes one picture's two rows; two more come along whenever the step would surely end
// in time, and two stay behind when it took more than gap_aim_ms.
// Where even one picture does not fit into that time (a large model, a small machine) a step may
// take twice as long as with one, else drawing would crawl and reading be hardly better.
//
//   rows of text + pictures   1 + 2   1 + 4   1 + 6   1 + 8   1 + 6
//   the step took, ms            60      83     106     139     107
//   may go along next             4       6       8       6       6   for a while
//
// The model thread owns it.
#pragma once

namespace engine {

class MixedPairs {
 public:
  int rows_max() const { return rows_max_; }
  // A step of `text_rows` rows that decoded text and `pair_rows` of pictures, nothing else.
  void note_step(int text_rows, int pair_rows, double ms);

 private:
  int rows_max_ = 2;
  int patience_ = 0;           // steps until more rows are tried again
  double one_picture_ms_ = 0;  // of a step with two rows of pictures, smoothed; 0: none yet
};

}  // namespace engine
