#include "engine/speculation.h"

#include <algorithm>

namespace engine {
namespace {

constexpr double rate_smoothing = 0.1;     // weight of the newest step or guess
constexpr int steps_tried = 8;             // of each form before one is chosen
constexpr int steps_between_probes = 512;  // then the other form is tried again
constexpr double gain_least = 1.03;        // below, guessing is not worth its noise

void blend(double& value, double now, bool first) {
  value = first ? now : value + rate_smoothing * (now - value);
}

}  // namespace

int Speculation::place(int rows) { return std::clamp(rows, 0, rows_counted_max); }

bool Speculation::pays(const Costs& costs) const {
  return (1 + right_share_) * costs.plain.seconds > gain_least * costs.guessing.seconds;
}

bool Speculation::guess(int rows) const {
  if (mode_ != SpeculationMode::automatic) return mode_ == SpeculationMode::on;
  const Costs& costs = costs_[place(rows)];
  if (costs.plain.steps < steps_tried) return false;
  if (costs.guessing.steps < steps_tried) return true;
  const bool probing = costs.since_probe >= steps_between_probes;
  return pays(costs) != probing;
}

void Speculation::note_step(int rows, bool guessed, double seconds) {
  Costs& costs = costs_[place(rows)];
  Cost& cost = guessed ? costs.guessing : costs.plain;
  blend(cost.seconds, seconds, cost.steps == 0);
  cost.steps = std::min(cost.steps + 1, steps_tried);
  // A probe is as long as the first trial, so that one slow step decides little.
  const int round = steps_between_probes + steps_tried;
  costs.since_probe = (costs.since_probe + 1) % round;
}

void Speculation::note_guess(bool right) { blend(right_share_, right ? 1 : 0, false); }

}  // namespace engine
