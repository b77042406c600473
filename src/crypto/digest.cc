#include "crypto/digest.h"

#include <openssl/evp.h>

#include "base/check.h"

namespace crypto {

struct Digest::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Digest::Digest(Kind kind) : state_(std::make_unique<State>()) {
  const EVP_MD* const method = kind == Kind::sha256 ? EVP_sha256() : EVP_sha1();
  CHECK(state_->context != nullptr && EVP_DigestInit_ex(state_->context, method, nullptr) == 1,
        "libcrypto has both digests");
}

Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;
Digest::~Digest() = default;

void Digest::update(std::string_view bytes) {
  CHECK(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1,
        "a digest that was begun takes bytes");
}

std::string Digest::finish_hex() {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  CHECK(EVP_DigestFinal_ex(state_->context, bytes, &size) == 1, "a digest ends once");
  static constexpr char digits[] = "0123456789abcdef";
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) {
    hex += digits[bytes[i] >> 4];
    hex += digits[bytes[i] & 15];
  }
  return hex;
}

Digest git_blob_digest(uint64_t size) {
  Digest digest(Digest::Kind::sha1);
  digest.update("blob " + std::to_string(size) + std::string(1, '\0'));
  return digest;
}

}  // namespace crypto
