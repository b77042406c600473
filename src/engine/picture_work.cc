#include "engine/picture_work.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace engine {
namespace {

constexpr double guess_operations_per_ms = 5e6;  // before anything is measured; rather too few
constexpr double slice_smoothing = 0.3;          // weight of the newest slice
constexpr double slice_operations_max = 1e15;    // whatever a clock says
constexpr size_t accounts_remembered_max = 1024;

}  // namespace

double slice_ms(double step_ms, bool free) {
  return free ? gap_target_ms : std::clamp(gap_aim_ms - step_ms, slice_ms_min, slice_ms_max);
}

PictureWork::PictureWork(model::PictureModel& model, const base::Clock& clock,
                         uint64_t cache_bytes_max)
    : model_(model),
      clock_(clock),
      cache_bytes_max_(cache_bytes_max),
      operations_per_ms_(guess_operations_per_ms) {}

// ---- features ----------------------------------------------------------------------------------

uint64_t PictureWork::features_bytes() const {
  return static_cast<uint64_t>(info().tokens) * static_cast<uint64_t>(info().hidden) *
         sizeof(float);
}

std::shared_ptr<const Features> PictureWork::features(uint64_t owner, uint64_t account,
                                                      const std::shared_ptr<const Canvas>& canvas) {
  for (auto kept = kept_.begin(); kept != kept_.end(); ++kept) {
    if (kept->account != account || kept->hash != canvas->hash) continue;
    kept_.splice(kept_.begin(), kept_, kept);
    return kept->features;
  }
  const auto is_it = [&](const TaskPtr& task) {
    return task && task->account == account && task->canvas->hash == canvas->hash;
  };
  Task* task = is_it(seeing_.current) ? seeing_.current.get() : nullptr;
  for (const TaskPtr& waiting : seeing_.waiting) {
    if (is_it(waiting)) task = waiting.get();
  }
  if (!task) {
    seeing_.waiting.push_back(std::make_unique<Task>());
    task = seeing_.waiting.back().get();
    task->account = account;
    task->canvas = canvas;
  }
  auto& owners = task->owners;
  if (std::find(owners.begin(), owners.end(), owner) == owners.end()) owners.push_back(owner);
  return nullptr;
}

// Those that are held cannot go. One more is always computed when none is, else nobody would get
// on.
bool PictureWork::room_for_features() const {
  uint64_t held = 0;
  for (const Kept& kept : kept_) held += kept.features.use_count() > 1 ? features_bytes() : 0;
  return held == 0 || held + features_bytes() <= cache_bytes_max_;
}

void PictureWork::keep(uint64_t account, const PictureHash& hash, Features features) {
  uint64_t bytes = (kept_.size() + 1) * features_bytes();
  for (auto kept = kept_.end(); kept != kept_.begin() && bytes > cache_bytes_max_;) {
    --kept;
    if (kept->features.use_count() > 1) continue;
    kept = kept_.erase(kept);
    bytes -= features_bytes();
  }
  kept_.push_front({account, hash, std::make_shared<const Features>(std::move(features))});
}

// ---- who wants what ----------------------------------------------------------------------------

void PictureWork::paint(uint64_t owner, uint64_t account, std::span<const int32_t> codes) {
  auto task = std::make_unique<Task>();
  task->owners = {owner};
  task->account = account;
  task->codes.assign(codes.begin(), codes.end());
  painting_.waiting.push_back(std::move(task));
}

void PictureWork::drop_from(Line& line, uint64_t owner) {
  const auto leaves = [owner](const TaskPtr& task) {
    return std::erase(task->owners, owner) > 0 && task->owners.empty();
  };
  std::erase_if(line.waiting, leaves);
  if (line.current && leaves(line.current)) line.current.reset();
}

void PictureWork::drop(uint64_t owner) {
  drop_from(seeing_, owner);
  drop_from(painting_, owner);
  std::erase_if(painted_, [owner](const Painted& painted) { return painted.owner == owner; });
}

std::vector<PictureWork::Painted> PictureWork::take_painted() {
  return std::exchange(painted_, {});
}

bool PictureWork::wanted() const {
  const auto has = [](const Line& line) {
    return !line.waiting.empty() || (line.current && !line.current->owners.empty());
  };
  return has(seeing_) || has(painting_) || !painted_.empty();
}

// ---- slices ------------------------------------------------------------------------------------

// The oldest task of the account that was served longest ago.
PictureWork::TaskPtr PictureWork::next(Line& line) {
  const auto served = [this](const TaskPtr& task) {
    const auto found = served_.find(task->account);
    return found == served_.end() ? 0 : found->second;
  };
  const auto first =
      std::min_element(line.waiting.begin(), line.waiting.end(),
                       [&](const TaskPtr& a, const TaskPtr& b) { return served(a) < served(b); });
  TaskPtr task = std::move(*first);
  line.waiting.erase(first);
  if (served_.size() >= accounts_remembered_max) served_.clear();
  served_[task->account] = ++begun_;
  return task;
}

bool PictureWork::begin_seeing() {
  if (seeing_.current) return true;
  if (seeing_.waiting.empty() || !room_for_features()) return false;
  seeing_.current = next(seeing_);
  Task& task = *seeing_.current;
  task.job = model_.see(task.canvas->pixels, &task.features, nullptr);
  return true;
}

bool PictureWork::begin_painting(bool with_palette) {
  // A palette half way is put off only while nobody draws.
  if (painting_.current) return !painting_.current->owners.empty() || with_palette;
  if (with_palette && !palette_) {
    painting_.current = std::make_unique<Task>();
    painting_.current->job = model_.palette(&painting_.current->pixels);
    return true;
  }
  if (painting_.waiting.empty()) return false;
  painting_.current = next(painting_);
  Task& task = *painting_.current;
  task.job = model_.draw(task.codes, &task.pixels, nullptr);
  return true;
}

bool PictureWork::slice(Task& task, double milliseconds) {
  CHECK(task.job, "the memory of one job of each kind was taken when the model was loaded");
  const uint64_t before = task.job->operations_left();
  const int64_t began = clock_.monotonic_ns();
  const double operations =
      std::clamp(operations_per_ms_ * milliseconds, 1.0, slice_operations_max);
  const bool done = task.job->advance(static_cast<uint64_t>(operations));
  const uint64_t left = done ? 0 : task.job->operations_left();
  const double spent_ms = static_cast<double>(clock_.monotonic_ns() - began) * 1e-6;
  if (spent_ms > 0 && before > left) {
    const double measured = static_cast<double>(before - left) / spent_ms;
    operations_per_ms_ += slice_smoothing * (measured - operations_per_ms_);
  }
  return done;
}

void PictureWork::seen() {
  const TaskPtr task = std::move(seeing_.current);
  task->job.reset();
  keep(task->account, task->canvas->hash, std::move(task->features));
}

void PictureWork::painted() {
  const TaskPtr task = std::move(painting_.current);
  task->job.reset();
  if (task->owners.empty()) {
    palette_ = std::move(task->pixels);
  } else {
    painted_.push_back({task->owners.front(), std::move(task->pixels)});
  }
}

void PictureWork::advance(double milliseconds, bool with_palette) {
  const bool see = begin_seeing();
  const bool paint = begin_painting(with_palette);
  if (!see && !paint) return;
  painting_turn_ = paint && (!see || !painting_turn_);
  if (painting_turn_) {
    if (slice(*painting_.current, milliseconds)) painted();
  } else if (slice(*seeing_.current, milliseconds)) {
    seen();
  }
}

}  // namespace engine
