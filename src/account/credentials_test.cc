#include "account/credentials.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <sys/stat.h>

#include "base/scratch_for_test.h"

namespace account {
namespace {

class Credentials : public base::ScratchTest {
 protected:
  Sessions open() {
    auto sessions = Sessions::open(dir_, clock_, random_);
    EXPECT_TRUE(sessions);
    return std::move(*sessions);
  }
  std::string read(const char* file) {
    std::ifstream in(dir_ + file);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  int mode(const char* file) {
    struct stat info {};
    EXPECT_EQ(stat((dir_ + file).c_str(), &info), 0);
    return info.st_mode & 0777;
  }

  const std::string dir_ = folder_.string();
  base::FakeClock clock_;
  base::SeededRandom random_{1};
};

TEST_F(Credentials, TheKeyIsMadeOnceAndOnlyItsOwnerReadsIt) {
  const auto made = load_or_make_api_key(dir_, random_);
  ASSERT_TRUE(made);
  EXPECT_EQ(made->substr(0, 3), "sk-");
  EXPECT_EQ(made->size(), 51u);
  EXPECT_EQ(mode("/api-key"), 0600);
  EXPECT_EQ(*load_or_make_api_key(dir_, random_), *made);
}

TEST_F(Credentials, AKeyFileWithSomethingElseIsRefused) {
  std::ofstream(dir_ + "/api-key") << "hello\n";
  const auto key = load_or_make_api_key(dir_, random_);
  ASSERT_FALSE(key);
  EXPECT_NE(key.error().what.find("api-key"), std::string::npos);
}

TEST_F(Credentials, SessionsOutliveTheProcessAndTheFileHoldsNoCookie) {
  std::string cookie;
  {
    Sessions sessions = open();
    EXPECT_FALSE(sessions.owned());
    cookie = *sessions.sign_in("ABCD-2345");
  }
  EXPECT_EQ(mode("/sessions.json"), 0600);
  EXPECT_EQ(read("/sessions.json").find(cookie), std::string::npos);
  EXPECT_EQ(read("/sessions.json").find("ABCD"), std::string::npos);
  Sessions again = open();
  EXPECT_TRUE(again.owned());
  EXPECT_TRUE(again.find(cookie));
  EXPECT_TRUE(again.spent("abcd 2345"));
  EXPECT_FALSE(again.spent("ABCD-2346"));
  ASSERT_TRUE(again.sign_out(cookie));
  EXPECT_FALSE(again.find(cookie));
  EXPECT_FALSE(open().find(cookie));
}

TEST_F(Credentials, TheDraftKeyIsTheOwnersAndStaysTheSame) {
  Sessions sessions = open();
  EXPECT_EQ(sessions.draft_key(), "");
  ASSERT_TRUE(sessions.sign_in("A"));
  const std::string key = sessions.draft_key();
  EXPECT_EQ(key.size(), 64u);
  ASSERT_TRUE(sessions.sign_in("B"));
  EXPECT_EQ(open().draft_key(), key);
  EXPECT_EQ(read("/sessions.json").find(key), std::string::npos);
}

TEST_F(Credentials, OneSessionMoreThanTheLimitEndsTheOneUnusedForLongest) {
  Sessions sessions = open();
  const std::string first = *sessions.sign_in("A");
  std::string last;
  for (int i = 0; i < Sessions::sessions_max; ++i) {
    clock_.advance_ms(10);
    last = *sessions.sign_in("A");
  }
  EXPECT_FALSE(sessions.find(first));
  EXPECT_TRUE(sessions.find(last));
}

TEST_F(Credentials, AnUnusedSessionExpires) {
  Sessions sessions = open();
  const std::string cookie = *sessions.sign_in("A");
  clock_.advance_ms(Sessions::idle_ms_max - 1000);
  EXPECT_TRUE(sessions.find(cookie));
  clock_.advance_ms(Sessions::idle_ms_max - 1000);
  EXPECT_TRUE(sessions.find(cookie)) << "the first use renewed it";
  clock_.advance_ms(Sessions::idle_ms_max + 1000);
  EXPECT_FALSE(sessions.find(cookie));
}

TEST_F(Credentials, AMalformedSessionsFileIsNeverTakenForAnUnownedServer) {
  const char* bad[] = {"",
                       "{}",
                       "[]",
                       R"({"version":2,"owned":true,"sessions":[]})",
                       R"({"version":1,"owned":"yes","sessions":[]})",
                       R"({"version":1,"owned":true,"sessions":[{"hash":"xyz","used_unix_ms":1}]})",
                       R"({"version":1,"owned":true,"spent_code":"1","sessions":[]})"};
  for (const char* text : bad) {
    std::ofstream(dir_ + "/sessions.json") << text;
    const auto sessions = Sessions::open(dir_, clock_, random_);
    ASSERT_FALSE(sessions) << text;
    EXPECT_NE(sessions.error().what.find("sessions.json"), std::string::npos);
  }
}

TEST_F(Credentials, NothingChangesWhenTheFileCannotBeWritten) {
  auto sessions = Sessions::open("/proc/nautile-no-such-folder", clock_, random_);
  ASSERT_TRUE(sessions);
  EXPECT_FALSE(sessions->sign_in("A"));
  EXPECT_FALSE(sessions->owned());
}

TEST_F(Credentials, CodesAreReadAsPeopleTypeThem) {
  const std::string code = make_code(random_);
  EXPECT_EQ(code.size(), 9u);
  EXPECT_EQ(code[4], '-');
  EXPECT_EQ(normalised_code(" k7qf 2mdx"), "K7QF2MDX");
  EXPECT_EQ(normalised_code("oOiIlL"), "001111");
}

TEST_F(Credentials, FiveWrongTriesAMinute) {
  TryLimit limit(5, 60'000);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(limit.wait_ms(i), 0);
    limit.failed(i);
  }
  EXPECT_EQ(limit.wait_ms(10), 59'990);
  EXPECT_EQ(limit.wait_ms(60'000), 0);
  limit.failed(60'000);
  EXPECT_EQ(limit.wait_ms(60'000), 1);
}

TEST_F(Credentials, UserIdsNeverMeetTheOwnersAccounts) {
  EXPECT_NE(account_of("a"), account_of("b"));
  EXPECT_GT(account_of(""), 1ull << 62);
}

}  // namespace
}  // namespace account
