// PagedKv: the KvPool of a runner on this machine. One mapping of `pages` * page_bytes, in huge
// pages, taken from the machine as a whole when it is made: no answer fails for memory half way,
// and the program takes what it said that it would. A page that had an owner is zeroed when it is
// taken again.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "model/kv.h"
#include "tensor/arena.h"

namespace model {

class PagedKv final : public KvPool {
 public:
  // What create() takes of the machine.
  static uint64_t bytes(const KvLayout& layout, int pages);
  static base::Result<std::unique_ptr<PagedKv>> create(const KvLayout& layout, int pages);

  int pages_total() const override { return static_cast<int>(references_.size()); }
  int pages_free() const override { return static_cast<int>(free_.size()); }
  PageId take() override;
  void add_reference(PageId page) override;
  void release(PageId page) override;
  int references(PageId page) const override { return references_[page]; }

  uint8_t* data(PageId page) { return base_ + page * stride_; }

 private:
  PagedKv() = default;

  tensor::WeightArena memory_;
  uint8_t* base_ = nullptr;
  uint64_t page_bytes_ = 0;
  uint64_t stride_ = 0;
  std::vector<int> references_;  // by page
  std::vector<bool> used_;       // by page: holds something
  std::vector<PageId> free_;     // the next one to take is last
};

}  // namespace model
