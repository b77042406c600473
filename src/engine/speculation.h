// Speculation: whether guessing a second id a step pays, from what was measured. Plain data in,
// decisions out; no clock. A guess is computed beside the right id and costs time (with experts a
// step reads nearly twice the weights); when it is right, a step gives two ids instead of one. What
// the ids are never depends on it.
#pragma once

#include <array>

namespace engine {

enum class SpeculationMode { off, automatic, on };

class Speculation {
 public:
  explicit Speculation(SpeculationMode mode) : mode_(mode) {}

  // Whether the next step, which decodes `rows` ids, shall guess.
  bool guess(int rows) const;
  // After a step that did nothing but decode `rows` ids; `seconds` with the time for guessing.
  void note_step(int rows, bool guessed, double seconds);
  void note_guess(bool right);

 private:
  static constexpr int rows_counted_max = 17;  // more rows are counted as so many
  struct Cost {
    double seconds = 0;  // of a step, smoothed
    int steps = 0;       // measured
  };
  struct Costs {
    Cost plain, guessing;
    int since_probe = 0;  // steps since the form that was not in use had been tried
  };
  static int place(int rows);
  bool pays(const Costs& costs) const;

  SpeculationMode mode_;
  std::array<Costs, rows_counted_max + 1> costs_{};
  double right_share_ = 0.5;
};

}  // namespace engine
