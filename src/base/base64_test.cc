#include "base/base64.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace base {
namespace {

TEST(Base64, TheVectorsOfRfc4648) {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : vectors) {
    EXPECT_EQ(base64(bytes), text);
    EXPECT_EQ(from_base64(text), bytes);
  }
}

TEST(Base64, EveryLengthComesBack) {
  SeededRandom random(3);
  for (size_t length = 0; length < 70; ++length) {
    std::string bytes(length, '\0');
    random.fill({reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
    const std::string text = base64(bytes);
    EXPECT_EQ(from_base64(text), bytes);
  }
}

TEST(Base64, NothingElseIsTaken) {
  for (const char* text : {"Zg", "Zg=", "Zg===", "=", "====", "Z===", "Zh==", "Zm9=", "Zm 9v",
                           "Zm9v\n", "Zm9-", "Zm_v", "Zg==Zg==", "\xff\xff\xff\xff"}) {
    EXPECT_EQ(from_base64(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace base
