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
inline int pages_for(int tokens) { return (tokens + page_tokens - 1) / page_tokens; }

// The states that a page keeps of its newest positions, for the layer that predicts one id more:
// position p stands at p % states_kept.
inline constexpr int states_kept = 4;

struct KvLayout {
  tensor::Dtype k = tensor::Dtype::f16;
  tensor::Dtype v = tensor::Dtype::f16;
  int layers = 0;       // one more for a layer that predicts one id more
  int width_k = 0;      // elements a position and layer: kv heads * head_dim; MLA: latent + rope
  int width_v = 0;      // the same, head_dim rounded up to 16 (tensor/attention.h); MLA: none
  int state_width = 0;  // f32 of each state kept, behind the layers; 0: none
  uint64_t layers_bytes() const;  // of a page: all layers, K and V
  uint64_t page_bytes() const;    // and its states
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
