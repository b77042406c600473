// A job as a list of units that is made once, when a model is loaded, and run by every job on
// memory of its own. For pictures_*.cc.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "model/pictures.h"

namespace model {

// A unit is made about this large where work can be cut; it is some milliseconds.
inline constexpr uint64_t unit_operations = operations_unit_max / 2;

template <class State>
struct UnitPlan {
  struct Unit {
    uint64_t operations;
    std::function<void(State&)> run;
  };
  std::vector<Unit> units;
  uint64_t operations = 0;

  void add(uint64_t cost, std::function<void(State&)> run) {
    units.push_back({cost, std::move(run)});
    operations += cost;
  }
};

template <class State>
class UnitJob final : public PictureJob {
 public:
  // The plan outlives the job; `state` is what its units work on.
  UnitJob(const UnitPlan<State>& plan, std::unique_ptr<State> state)
      : plan_(plan), state_(std::move(state)), left_(plan.operations) {}

  bool advance(uint64_t operations_max) override {
    uint64_t spent = 0;
    while (next_ < plan_.units.size()) {
      const auto& unit = plan_.units[next_];
      if (spent > 0 && spent + unit.operations > operations_max) return false;
      unit.run(*state_);
      spent += unit.operations;
      left_ -= unit.operations;
      ++next_;
    }
    return true;
  }
  uint64_t operations_left() const override { return left_; }

 private:
  const UnitPlan<State>& plan_;
  std::unique_ptr<State> state_;
  size_t next_ = 0;
  uint64_t left_;
};

}  // namespace model
