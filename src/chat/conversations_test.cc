#include "chat/conversations.h"

#include <gtest/gtest.h>

namespace chat {
namespace {

Node person(const std::string& id, const std::string& parent, const std::string& text) {
  Node node;
  node.id = id;
  node.parent = parent;
  node.from_person = true;
  node.content = text;
  return node;
}

class ConversationsTest : public testing::Test {
 protected:
  base::FakeClock clock_;
};

TEST_F(ConversationsTest, ATreeOfVersionsInOrderOfCreation) {
  Conversations all(clock_);
  Conversation& one = all.open("c");
  ASSERT_TRUE(all.add(one, person("q", "", "Why?")));
  ASSERT_TRUE(all.add(one, person("a1", "q", "Because.")));
  ASSERT_TRUE(all.add(one, person("a2", "q", "Therefore.")));
  ASSERT_TRUE(all.add(one, person("a1", "q", "a known id changes nothing")));
  ASSERT_EQ(one.nodes.size(), 3u);
  EXPECT_EQ(one.nodes[1].content, "Because.");
  EXPECT_FALSE(all.add(one, person("x", "nowhere", "?")));
  EXPECT_EQ(one.title, "Why?");
}

TEST_F(ConversationsTest, ErasingANodeTakesWhatHangsBelowIt) {
  Conversations all(clock_);
  Conversation& one = all.open("c");
  for (const auto& [id, parent] : std::vector<std::pair<std::string, std::string>>{
           {"q", ""}, {"a", "q"}, {"b", "q"}, {"a2", "a"}, {"a3", "a2"}}) {
    ASSERT_TRUE(all.add(one, person(id, parent, "12345678")));
  }
  const uint64_t before = all.bytes();
  EXPECT_EQ(all.erase_node(one, "a"), 3);
  EXPECT_EQ(one.nodes.size(), 2u);
  EXPECT_EQ(all.bytes(), before / 5 * 2);
  EXPECT_EQ(all.erase_node(one, "a"), 0);
  EXPECT_TRUE(all.erase("c"));
  EXPECT_EQ(all.bytes(), 0u);
}

TEST_F(ConversationsTest, TheOneUntouchedForLongestGoesUnlessBusy) {
  ConversationLimits limits;
  limits.conversations_max = 2;
  Conversations all(clock_, limits);
  all.open("1").busy = true;
  all.open("2");
  all.open("3");
  EXPECT_NE(all.find("1"), nullptr);
  EXPECT_EQ(all.find("2"), nullptr);
  EXPECT_NE(all.find("3"), nullptr);
  all.find("1")->busy = false;
  all.touch(*all.find("1"));
  all.open("4");
  EXPECT_EQ(all.find("3"), nullptr);
  EXPECT_EQ(all.newest(9).size(), 2u);
  EXPECT_EQ(all.newest(1)[0]->id, "4");
}

TEST_F(ConversationsTest, BytesAreBounded) {
  ConversationLimits limits;
  limits.bytes_max = 10'000;
  limits.message_bytes_max = 4'000;
  Conversations all(clock_, limits);
  for (int i = 0; i < 10; ++i) {
    Conversation& one = all.open(std::to_string(i));
    ASSERT_TRUE(all.add(one, person("q", "", std::string(3'000, 'x'))));
    EXPECT_LE(all.bytes(), limits.bytes_max);
  }
  EXPECT_EQ(all.newest(99).size(), 3u);
  EXPECT_FALSE(all.add(*all.find("9"), person("r", "q", std::string(4'001, 'x'))));
}

TEST_F(ConversationsTest, SearchLooksIntoTitlesAndMessages) {
  Conversations all(clock_);
  Conversation& one = all.open("c");
  ASSERT_TRUE(all.add(one, person("q", "", "The Orbit of a comet")));
  EXPECT_EQ(all.search("orbit", 5).size(), 1u);
  EXPECT_EQ(all.search("lease", 5).size(), 0u);
}

TEST(Title, SixtyCharactersNotBytes) {
  EXPECT_EQ(title_of("  a\n\t b  "), "a b");
  EXPECT_EQ(title_of("éèà", 2), "éè");
  EXPECT_EQ(title_of("ab cd", 3), "ab");
  EXPECT_EQ(title_of(std::string(100, 'x')).size(), 60u);
}

}  // namespace
}  // namespace chat
