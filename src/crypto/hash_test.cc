#include "crypto/hash.h"

#include <gtest/gtest.h>

namespace crypto {
namespace {

TEST(Hash, MatchesThePublishedVectorForBlake2b256) {
  // Python: hashlib.blake2b(b'abc', digest_size=32, key=b'k').hexdigest()
  EXPECT_EQ(to_hex(hash("k", "abc")),
            "12f0b4a482a321476483eac3387d86e810573152916fb35bf7a6b9951f221db3");
}

TEST(Hash, PurposesDoNotMix) {
  EXPECT_NE(to_hex(hash("session", "x")), to_hex(hash("key", "x")));
  EXPECT_TRUE(equal(hash("key", "x"), hash("key", "x")));
  EXPECT_FALSE(equal(hash("key", "x"), hash("key", "y")));
}

TEST(Hash, HexRoundTripsAndRefusesOtherText) {
  const Hash one = hash("a", "b");
  ASSERT_TRUE(hash_from_hex(to_hex(one)));
  EXPECT_EQ(*hash_from_hex(to_hex(one)), one);
  EXPECT_FALSE(hash_from_hex("abc"));
  EXPECT_FALSE(hash_from_hex(std::string(64, 'g')));
}

}  // namespace
}  // namespace crypto
