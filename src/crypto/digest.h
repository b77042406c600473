// SHA-256 and SHA-1 of long data, a piece at a time: the checksums that model hubs give with their
// files. OpenSSL's, because it uses the processor's SHA instructions (four times libsodium's speed,
// which counts for files of hundreds of gigabytes). SHA-1 only names content (git); it proves
// nothing against somebody who wants to deceive.
//
// Threads: an object belongs to one at a time.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "crypto/hash.h"

namespace crypto {

class Digest {
 public:
  enum class Kind : uint8_t { sha256, sha1 };
  explicit Digest(Kind kind);
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;
  ~Digest();
  void update(std::string_view bytes);
  std::string finish_hex();  // 64 or 40 lower-case digits; call it once

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// What git calls a file of this content: SHA-1 of "blob SIZE\0" and the bytes. Feed it the bytes.
Digest git_blob_digest(uint64_t size);

}  // namespace crypto
