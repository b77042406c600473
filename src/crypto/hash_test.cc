#include "crypto/hash.h"

#include <gtest/gtest.h>

#include "crypto/digest.h"

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

TEST(Digest, MatchesThePublishedVectors) {
  Digest sha256(Digest::Kind::sha256), sha1(Digest::Kind::sha1);
  for (const char* piece : {"a", "b", "c"}) {
    sha256.update(piece);
    sha1.update(piece);
  }
  EXPECT_EQ(sha256.finish_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha1.finish_hex(), "a9993e364706816aba3e25717850c26c9cd0d89d");
}

TEST(Digest, NamesABlobAsGitDoes) {
  Digest digest = git_blob_digest(6);  // echo hello | git hash-object --stdin
  digest.update("hello\n");
  EXPECT_EQ(digest.finish_hex(), "ce013625030ba8dba906f756967f9e9ca394464a");
}

}  // namespace
}  // namespace crypto
