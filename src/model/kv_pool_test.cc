#include "model/kv_pool.h"

#include <algorithm>
#include <gtest/gtest.h>

namespace model {
namespace {

KvLayout layout() { return {tensor::Dtype::f16, tensor::Dtype::f16, 3, 40, 48}; }

TEST(PagedKv, CountsBytesOfAllLayers) {
  EXPECT_EQ(layout().page_bytes(), 64u * 3 * (40 + 48) * 2);
  KvLayout f32 = layout();
  f32.k = f32.v = tensor::Dtype::f32;
  EXPECT_EQ(f32.page_bytes(), 64u * 3 * (40 + 48) * 4);
}

TEST(PagedKv, HandsOutEveryPageOnceAndThenNone) {
  auto pool = PagedKv::create(layout(), 4);
  ASSERT_TRUE(pool.has_value());
  std::vector<PageId> pages;
  for (int i = 0; i < 4; ++i) pages.push_back((*pool)->take());
  EXPECT_EQ((*pool)->take(), -1);
  std::sort(pages.begin(), pages.end());
  EXPECT_EQ(pages, (std::vector<PageId>{0, 1, 2, 3}));
  EXPECT_EQ((*pool)->pages_free(), 0);
}

TEST(PagedKv, PageIsFreeAfterTheLastReferenceAndZeroForTheNextOwner) {
  auto pool = PagedKv::create(layout(), 1);
  ASSERT_TRUE(pool.has_value());
  const PageId page = (*pool)->take();
  std::fill_n((*pool)->data(page), layout().page_bytes(), 0xAB);
  (*pool)->add_reference(page);
  (*pool)->release(page);
  EXPECT_EQ((*pool)->pages_free(), 0);
  EXPECT_EQ((*pool)->references(page), 1);
  (*pool)->release(page);
  EXPECT_EQ((*pool)->pages_free(), 1);
  ASSERT_EQ((*pool)->take(), page);
  const uint8_t* bytes = (*pool)->data(page);
  EXPECT_TRUE(std::all_of(bytes, bytes + layout().page_bytes(), [](uint8_t b) { return b == 0; }));
}

}  // namespace
}  // namespace model
