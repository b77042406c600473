// PictureWork: what a loaded model computes for pictures besides steps: the features of those that
// are seen, the pixels of those that were drawn, the palette of sketches. One slice at a time,
// between two steps, so that nobody's answer stands still for long.
//
//   seeing    queue by account -> one job --+
//   drawing   queue by account -> one job --+--> a slice of one, then of the other
//             (the palette first)
//
// Within a queue the account that was served longest ago comes first, so eight pictures of one do
// not hold up the one picture of another. Each kind has one job under way: that much memory was
// planned for.
//
// Features are kept per account and picture, the least recently used ones go first; those that a
// sequence still holds stay.
//
// The model thread owns it.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "engine/canvas.h"
#include "model/pictures.h"

namespace engine {

using Features = std::vector<float>;  // (tokens, hidden)

inline constexpr uint64_t features_bytes_max = 64ull << 20;

// What a person whose answer is running may see between two tokens; work is planned for
// gap_aim_ms, so that a moment in which the machine is slower stays within it.
inline constexpr double gap_target_ms = 150, gap_aim_ms = 100;
// How long the slice after a step may take: what the step left of gap_aim_ms, within slice_ms_min
// and slice_ms_max. `free`: nobody's tokens wait for it; then gap_target_ms, so that Stop is heard
// soon.
inline constexpr double slice_ms_min = 15, slice_ms_max = 60;
double slice_ms(double step_ms, bool free);

class PictureWork {
 public:
  PictureWork(model::PictureModel& model, const base::Clock& clock,
              uint64_t cache_bytes_max = features_bytes_max);

  const model::PictureInfo& info() const { return model_.info(); }

  // Features of a picture, or null: then `owner` waits for them, and asks again after slices.
  std::shared_ptr<const Features> features(uint64_t owner, uint64_t account,
                                           const std::shared_ptr<const Canvas>& canvas);
  // Pixels of a whole grid of codes; they come out of take_painted().
  void paint(uint64_t owner, uint64_t account, std::span<const int32_t> codes);
  // Nobody waits any more: what only `owner` wanted is dropped, also half way.
  void drop(uint64_t owner);

  // (codes, 3) RGB, null until it is there.
  const std::vector<uint8_t>* palette() const { return palette_ ? &*palette_ : nullptr; }

  struct Painted {
    uint64_t owner = 0;
    std::vector<uint8_t> pixels;  // (drawn_side, drawn_side, 3)
  };
  std::vector<Painted> take_painted();

  // Somebody waits for something.
  bool wanted() const;
  // One slice of about `milliseconds`, of what is wanted, and of the palette if `with_palette`.
  void advance(double milliseconds, bool with_palette);

 private:
  struct Task {
    std::vector<uint64_t> owners;  // none: the palette
    uint64_t account = 0;
    std::shared_ptr<const Canvas> canvas;  // of one to see
    std::vector<int32_t> codes;            // of one to paint
    Features features;
    std::vector<uint8_t> pixels;
    std::unique_ptr<model::PictureJob> job;  // goes before what it writes to
  };
  using TaskPtr = std::unique_ptr<Task>;
  struct Line {  // of one kind
    std::list<TaskPtr> waiting;
    TaskPtr current;
  };
  struct Kept {
    uint64_t account;
    PictureHash hash;
    std::shared_ptr<const Features> features;
  };

  uint64_t features_bytes() const;
  bool room_for_features() const;
  void keep(uint64_t account, const PictureHash& hash, Features features);
  TaskPtr next(Line& line);
  bool begin_seeing();
  bool begin_painting(bool with_palette);
  bool slice(Task& task, double milliseconds);
  void seen();
  void painted();
  static void drop_from(Line& line, uint64_t owner);

  model::PictureModel& model_;
  const base::Clock& clock_;
  const uint64_t cache_bytes_max_;
  Line seeing_, painting_;
  bool painting_turn_ = false;
  std::list<Kept> kept_;                // the most recently used first
  std::map<uint64_t, int64_t> served_;  // account -> when, in tasks begun
  int64_t begun_ = 0;
  std::optional<std::vector<uint8_t>> palette_;
  std::vector<Painted> painted_;
  double operations_per_ms_;
};

}  // namespace engine
