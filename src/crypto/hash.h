// Hashes and comparisons for secrets: the wall around libsodium. Everything here is a pure function
// and may be called from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace crypto {

using Hash = std::array<uint8_t, 32>;

// BLAKE2b-256 of `data`, keyed by `purpose` (at most 64 bytes), so that a hash made for one purpose
// never equals one made for another.
Hash hash(std::string_view purpose, std::string_view data);

// Takes the same time wherever the first difference stands.
bool equal(const Hash& a, const Hash& b);

std::string to_hex(const Hash& hash);
std::optional<Hash> hash_from_hex(std::string_view hex);  // exactly 64 hexadecimal digits

}  // namespace crypto
