// ExpertPlaces: which experts of one layer are in memory when only some of them fit, and which one
// gives way to another. Plain data in, decisions out.
//
// The one that gives way is the one that tokens chose least, counted with a half-life: of two that
// were chosen equally often, the one whose last use is longer ago.
#pragma once

#include <span>
#include <vector>

namespace model {

class ExpertPlaces {
 public:
  // Tokens after which a use counts half: an answer or two of a conversation.
  static constexpr int use_half_life_tokens = 256;

  ExpertPlaces(int experts, int places);

  // `tokens` more have chosen: rows[e] of them expert e.
  void note_use(std::span<const int> rows, int tokens);

  int place_of(int expert) const { return place_of_[expert]; }  // -1: not in memory
  // A place for an expert that has none, held; -1 if all are held. Who was there is gone.
  int take(int expert);
  // What was read into its place is not there.
  void forget(int expert);
  // The expert's place is not given to another until it is released.
  void hold(int expert) { held_[place_of_[expert]] = true; }
  void release(int expert);

 private:
  std::vector<int> place_of_;   // (experts)
  std::vector<double> uses_;    // (experts)
  std::vector<int> expert_at_;  // (places) -1: empty
  std::vector<bool> held_;      // (places)
};

}  // namespace model
