// A KvPool of numbers only, for the tests of who holds which page. Not part of the program.
#pragma once

#include <gtest/gtest.h>
#include <vector>

#include "model/kv.h"

namespace engine {

class FakePool : public model::KvPool {
 public:
  explicit FakePool(int pages) : references_(static_cast<size_t>(pages), 0) {}
  int pages_total() const override { return static_cast<int>(references_.size()); }
  int pages_free() const override {
    int free = 0;
    for (int r : references_) free += r == 0;
    return free;
  }
  model::PageId take() override {
    for (size_t i = 0; i < references_.size(); ++i) {
      if (references_[i] == 0) {
        references_[i] = 1;
        return static_cast<model::PageId>(i);
      }
    }
    return -1;
  }
  void add_reference(model::PageId page) override {
    EXPECT_GT(references_.at(static_cast<size_t>(page)), 0);
    ++references_[static_cast<size_t>(page)];
  }
  void release(model::PageId page) override {
    EXPECT_GT(references_.at(static_cast<size_t>(page)), 0);
    --references_[static_cast<size_t>(page)];
  }
  int references(model::PageId page) const override {
    return references_.at(static_cast<size_t>(page));
  }

 private:
  std::vector<int> references_;
};

}  // namespace engine
