#include "model/expert_places.h"

#include <cmath>

#include "base/check.h"

namespace model {

ExpertPlaces::ExpertPlaces(int experts, int places)
    : place_of_(experts, -1), uses_(experts, 0), expert_at_(places, -1), held_(places, false) {}

void ExpertPlaces::note_use(std::span<const int> rows, int tokens) {
  CHECK(rows.size() == uses_.size(), "a count for each expert");
  const double kept = std::exp2(-static_cast<double>(tokens) / use_half_life_tokens);
  for (size_t e = 0; e < uses_.size(); ++e) uses_[e] = uses_[e] * kept + rows[e];
}

int ExpertPlaces::take(int expert) {
  CHECK(place_of_[expert] < 0, "an expert has one place");
  int chosen = -1;
  for (int p = 0; p < static_cast<int>(expert_at_.size()); ++p) {
    if (held_[p]) continue;
    if (expert_at_[p] < 0) {
      chosen = p;
      break;
    }
    if (chosen < 0 || uses_[expert_at_[p]] < uses_[expert_at_[chosen]]) chosen = p;
  }
  if (chosen < 0) return -1;
  if (expert_at_[chosen] >= 0) place_of_[expert_at_[chosen]] = -1;
  expert_at_[chosen] = expert;
  place_of_[expert] = chosen;
  held_[chosen] = true;
  return chosen;
}

void ExpertPlaces::forget(int expert) {
  const int place = place_of_[expert];
  if (place < 0) return;
  expert_at_[place] = -1;
  held_[place] = false;
  place_of_[expert] = -1;
}

void ExpertPlaces::release(int expert) {
  if (place_of_[expert] >= 0) held_[place_of_[expert]] = false;
}

}  // namespace model
