#include "engine/prefix_index.h"

#include <gtest/gtest.h>
#include <numeric>

#include "engine/fake_pool_for_test.h"

namespace engine {
namespace {

std::vector<int32_t> text(int pages, int first = 0) {
  std::vector<int32_t> ids(static_cast<size_t>(pages) * 64);
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

// Lists every full page of `ids` as freshly computed; returns the pages, still held.
std::vector<model::PageId> list(PrefixIndex& index, FakePool& pool, uint64_t account,
                                const std::vector<int32_t>& ids, int prompt_length) {
  std::vector<model::PageId> pages;
  PrefixIndex::Node parent = PrefixIndex::root;
  for (size_t start = 0; start + 64 <= ids.size(); start += 64) {
    model::PageId page = pool.take();
    EXPECT_GE(page, 0);
    int prompt_ids = std::clamp(prompt_length - static_cast<int>(start), 0, 64);
    auto listed =
        index.insert(parent, account, std::span(ids).subspan(start, 64), prompt_ids, page);
    parent = listed.node;
    pages.push_back(listed.page);
  }
  return pages;
}
void release(FakePool& pool, const std::vector<model::PageId>& pages) {
  for (auto page : pages) pool.release(page);
}

TEST(PrefixIndex, FindsTheLongestPrefixOfTheAccount) {
  FakePool pool(16);
  PrefixIndex index(pool);
  auto ids = text(3);
  auto pages = list(index, pool, 7, ids, 192);
  auto match = index.match(7, ids, 192, 100);
  EXPECT_EQ(match.pages, pages);
  EXPECT_EQ(pool.references(pages[0]), 3);
  release(pool, match.pages);
  EXPECT_EQ(index.match(7, ids, 192, 1).pages.size(), 1u);
  auto other = text(2);
  other.push_back(-1);
  EXPECT_EQ(index.match(7, other, 129, 100).pages.size(), 2u);
  other[70] = 5000;
  EXPECT_EQ(index.match(7, other, 129, 100).pages.size(), 1u);
}

TEST(PrefixIndex, APictureIsPartOfWhatAPageHolds) {
  FakePool pool(16);
  PrefixIndex index(pool);
  const auto ids = text(2);
  const auto shows = [](uint64_t picture) {
    return [picture](int first) {
      return first == 64 ? PrefixIndex::Contents{1, picture} : PrefixIndex::Contents();
    };
  };
  auto node = index.insert(PrefixIndex::root, 7, std::span(ids).first(64), 64, pool.take()).node;
  index.insert(node, 7, std::span(ids).subspan(64), 64, pool.take(), {1, 5});
  EXPECT_EQ(index.match(7, ids, 128, 9, shows(5)).pages.size(), 2u);
  EXPECT_EQ(index.match(7, ids, 128, 9, shows(6)).pages.size(), 1u);
  EXPECT_EQ(index.match(7, ids, 128, 9).pages.size(), 1u);
  // The same ids with another picture beside it: a page of its own.
  const auto page = pool.take();
  EXPECT_EQ(index.insert(node, 7, std::span(ids).subspan(64), 64, page, {1, 6}).page, page);
  EXPECT_EQ(index.match(7, ids, 128, 9, shows(6)).pages.back(), page);
}

TEST(PrefixIndex, NeverAcrossAccountsOrOrigins) {
  FakePool pool(16);
  PrefixIndex index(pool);
  auto ids = text(3);
  list(index, pool, 7, ids, 100);  // page 1 mixes prompt and sampled ids, page 2 is sampled
  EXPECT_TRUE(index.match(8, ids, 100, 100).pages.empty());
  EXPECT_EQ(index.match(7, ids, 100, 100).pages.size(), 3u);
  EXPECT_EQ(index.match(7, ids, 192, 100).pages.size(), 1u);
  EXPECT_EQ(index.match(7, ids, 101, 100).pages.size(), 1u);
  EXPECT_TRUE(index.match(7, ids, 63, 100).pages.empty());
}

TEST(PrefixIndex, APageOfAnotherPlaceIsNotReused) {
  FakePool pool(16);
  PrefixIndex index(pool);
  list(index, pool, 1, text(2), 128);
  EXPECT_TRUE(index.match(1, text(1, 64), 64, 9).pages.empty());
}

TEST(PrefixIndex, TheSamePageIsKeptOnce) {
  FakePool pool(16);
  PrefixIndex index(pool);
  auto first = list(index, pool, 1, text(2), 128);
  auto second = list(index, pool, 1, text(2), 128);
  EXPECT_EQ(first, second);
  EXPECT_EQ(index.size(), 2);
  EXPECT_EQ(pool.pages_free(), 14);
  release(pool, first);
  release(pool, second);
  EXPECT_EQ(index.evictable(), 2);
}

TEST(PrefixIndex, EvictsTheLeastRecentLeafAndNothingInUse) {
  FakePool pool(8);
  PrefixIndex index(pool);
  auto a = list(index, pool, 1, text(2), 128);
  auto b = list(index, pool, 1, text(2, 1000), 128);
  release(pool, b);
  EXPECT_EQ(index.evictable(), 2);
  EXPECT_TRUE(index.evict_one());
  EXPECT_EQ(index.match(1, text(2, 1000), 128, 9).pages.size(), 1u);  // its leaf went first
  pool.release(b[0]);                                                 // the reference of that match
  EXPECT_TRUE(index.evict_one());
  EXPECT_FALSE(index.evict_one()) << "the pages of a running request stay";
  release(pool, a);
  index.match(1, text(1), 64, 9);  // page 0 of a in use again: it stays, its child goes
  EXPECT_TRUE(index.evict_one());
  EXPECT_FALSE(index.evict_one());
  EXPECT_EQ(index.size(), 1);
}

TEST(PrefixIndex, UseKeepsAPrefixAlive) {
  FakePool pool(8);
  PrefixIndex index(pool);
  release(pool, list(index, pool, 1, text(2), 128));
  release(pool, list(index, pool, 1, text(2, 1000), 128));
  release(pool, index.match(1, text(2), 128, 9).pages);
  EXPECT_TRUE(index.evict_one());
  EXPECT_TRUE(index.evict_one());
  EXPECT_EQ(index.match(1, text(2), 128, 9).pages.size(), 2u);
}

TEST(PrefixIndex, ClearGivesEverythingBack) {
  FakePool pool(8);
  {
    PrefixIndex index(pool);
    release(pool, list(index, pool, 1, text(3), 192));
    EXPECT_EQ(pool.pages_free(), 5);
  }
  EXPECT_EQ(pool.pages_free(), 8);
}

}  // namespace
}  // namespace engine
