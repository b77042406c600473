#include "net/connection_table.h"

#include <gtest/gtest.h>

namespace net {
namespace {

using Phase = ConnectionTable::Phase;
constexpr uint64_t here = 1, there = 2;

TEST(ConnectionTable, GivesUpTheSlowestHeaderFirst) {
  ConnectionTable table(3, 100);
  table.enter(10, here);
  table.enter(11, here);
  table.enter(12, there);
  table.move(10, Phase::idle);
  EXPECT_EQ(table.arrive(there).evict, 11u);  // 12 is younger, 10 has proved itself
  table.leave(11);
  EXPECT_FALSE(table.arrive(there).evict.has_value());
  EXPECT_TRUE(table.arrive(there).admit);
}

TEST(ConnectionTable, TheOrderIsHeaderIdleBodyBlocked) {
  ConnectionTable table(4, 100);
  for (uint64_t id : {1, 2, 3, 4}) table.enter(id, here);
  table.move(1, Phase::blocked);
  table.move(2, Phase::body);
  table.move(3, Phase::idle);
  for (uint64_t expected : {4, 3, 2, 1}) {
    const auto decision = table.arrive(there);
    ASSERT_TRUE(decision.admit);
    ASSERT_EQ(decision.evict, expected);
    table.leave(expected);
    table.enter(expected + 100, here);
    table.move(expected + 100, Phase::busy);
  }
  EXPECT_FALSE(table.arrive(there).admit);  // all are being answered
  EXPECT_FALSE(table.victim().has_value());
}

TEST(ConnectionTable, APrefixPaysForItsOwnCrowd) {
  ConnectionTable table(100, 2);
  table.enter(1, there);
  table.enter(2, here);
  table.enter(3, here);
  EXPECT_EQ(table.arrive(here).evict, 2u);
  EXPECT_FALSE(table.arrive(there).evict.has_value());
  table.move(2, Phase::busy);
  table.move(3, Phase::busy);
  EXPECT_FALSE(table.arrive(here).admit);
  EXPECT_TRUE(table.arrive(there).admit);
}

TEST(ConnectionTable, AMemberComesInThroughAnyFloodOfSlowHeaders) {
  ConnectionTable table(1024, 1024);
  uint64_t next = 1;
  const auto come = [&](uint64_t prefix) {
    const auto decision = table.arrive(prefix);
    if (!decision.admit) return uint64_t{0};
    if (decision.evict) table.leave(*decision.evict);
    table.enter(next, prefix);
    return next++;
  };
  for (int i = 0; i < 5000; ++i) ASSERT_NE(come(here), 0u);
  const uint64_t member = come(here);
  for (int i = 0; i < 1000; ++i) come(here);  // while its header travels
  table.move(member, Phase::busy);
  for (int i = 0; i < 5000; ++i) come(here);
  EXPECT_EQ(table.size(), 1024);
  table.move(member, Phase::idle);            // still there: it was never given up
  for (int i = 0; i < 5000; ++i) come(here);  // nor is it while younger headers can go
  table.move(member, Phase::busy);
  table.leave(member);
  EXPECT_EQ(table.size(), 1023);
}

TEST(ConnectionTable, ForgetsPrefixesThatLeft) {
  ConnectionTable table(10, 10);
  for (uint64_t id = 1; id < 10; ++id) table.enter(id, id);
  EXPECT_EQ(table.prefixes(), 9);
  for (uint64_t id = 1; id < 10; ++id) table.leave(id);
  table.leave(5);  // twice does no harm
  EXPECT_EQ(table.prefixes(), 0);
}

}  // namespace
}  // namespace net
