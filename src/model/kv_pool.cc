#include "model/kv_pool.h"

#include <cstring>

#include "base/check.h"

namespace model {
namespace {

uint64_t element_bytes(tensor::Dtype dtype) { return dtype == tensor::Dtype::f32 ? 4 : 2; }

}  // namespace

uint64_t KvLayout::layers_bytes() const {
  return uint64_t{page_tokens} * layers * (width_k * element_bytes(k) + width_v * element_bytes(v));
}

uint64_t KvLayout::page_bytes() const {
  return layers_bytes() + sizeof(float) * states_kept * state_width;
}

uint64_t PagedKv::bytes(const KvLayout& layout, int pages) {
  return tensor::arena_bytes(layout.page_bytes()) * pages;
}

base::Result<std::unique_ptr<PagedKv>> PagedKv::create(const KvLayout& layout, int pages) {
  CHECK(pages > 0, "whoever sizes the cache gives it at least one page");
  std::unique_ptr<PagedKv> pool(new PagedKv);
  ASSIGN(pool->memory_, tensor::WeightArena::create(bytes(layout, pages)));
  ASSIGN(pool->base_, pool->memory_.allocate(bytes(layout, pages)));
  pool->memory_.reserve();
  pool->page_bytes_ = layout.page_bytes();
  pool->stride_ = tensor::arena_bytes(pool->page_bytes_);
  pool->references_.resize(pages);
  pool->used_.resize(pages);
  pool->free_.reserve(pages);
  for (PageId page = pages - 1; page >= 0; --page) pool->free_.push_back(page);
  return pool;
}

PageId PagedKv::take() {
  if (free_.empty()) return -1;
  const PageId page = free_.back();
  free_.pop_back();
  if (used_[page]) std::memset(data(page), 0, page_bytes_);
  used_[page] = true;
  references_[page] = 1;
  return page;
}

void PagedKv::add_reference(PageId page) {
  CHECK(references_[page] > 0, "only an owner can share a page");
  ++references_[page];
}

void PagedKv::release(PageId page) {
  CHECK(references_[page] > 0, "a page is released once for each reference");
  if (--references_[page] == 0) free_.push_back(page);
}

}  // namespace model
