// The key/value cache: fixed pages from one arena, each `page_tokens` positions of every layer. A
// page has one owner list (reference count), is zeroed before another account gets it, and is
// written only while it has a single owner. One thread owns the pool.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "tensor/dtype.h"

namespace model {

using PageId = int32_t;
// 64: attention walks fixed blocks of 64 keys from position 0, so a page is one block.
inline constexpr int page_tokens = 64;

struct KvLayout {
  tensor::Dtype k = tensor::Dtype::f16;
  tensor::Dtype v = tensor::Dtype::f16;
  int layers = 0;
  int width_k = 0;              // elements a position and layer: kv heads * head_dim
  int width_v = 0;              // the same, head_dim rounded up to 16 (tensor/attention.h)
  uint64_t page_bytes() const;  // of all layers, K and V
};

struct KvTable {
  std::vector<PageId> pages;
  int length = 0;  // positions written
};

class KvPool {
 public:
  virtual ~KvPool() = default;
  virtual int pages_total() const = 0;
  virtual int pages_free() const = 0;
  // -1 when none is free. The page has one reference and holds zeros.
  virtual PageId take() = 0;
  virtual void add_reference(PageId page) = 0;
  // Drops a reference; the last one frees the page (and zeroes it before it is taken again).
  virtual void release(PageId page) = 0;
  virtual int references(PageId page) const = 0;
};

}  // namespace model
