// What the hubs answer, taken apart: foreign text in, checked parts out. No network, no disk.
//
// A name from a hub becomes a file name on this machine, so every path is checked here: relative,
// no "..", no ".", no empty part, no "\", no control byte, UTF-8, bounded. A digest is exactly
// 64 (or for git's 40) lower-case hexadecimal digits, or the answer is refused (CVE-2024-37032 was
// a digest that was a path).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pull {

struct ListedFile {
  std::string path;
  uint64_t size = 0;
  std::string sha256;    // of the content, or empty
  std::string git_sha1;  // git's name of the content, or empty
};

bool is_safe_path(std::string_view path);
bool is_hex(std::string_view text, size_t digits);  // lower case

// GET /api/models/REPO/tree/REV: an array; folders are left out.
base::Result<std::vector<ListedFile>> parse_tree(std::string_view json);
// GET /api/models/REPO/revision/REV: the commit, 40 hexadecimal digits.
base::Result<std::string> parse_commit(std::string_view json);

struct OllamaLayer {
  std::string kind;    // "model", "template", …: the media type's last word
  std::string sha256;  // 64 digits
  uint64_t size = 0;
};
base::Result<std::vector<OllamaLayer>> parse_manifest(std::string_view json);

// "bytes 0-1023/146515"; total -1 for "*". Nothing for anything else, and for first > last >=
// total.
struct ContentRange {
  int64_t first = 0, last = 0, total = -1;
};
std::optional<ContentRange> parse_content_range(std::string_view field);

// The address of rel="next" in a Link field.
std::optional<std::string> next_link(std::string_view field);

// WWW-Authenticate: Bearer realm="…",service="…",scope="…".
struct Challenge {
  std::string realm, service, scope;
};
std::optional<Challenge> parse_challenge(std::string_view field);
// {"token": "…"} or {"access_token": "…"}; visible ASCII only.
base::Result<std::string> parse_token(std::string_view json);

// The tag without quotes and "W/"; empty if the field is malformed.
std::string etag_value(std::string_view field);
// Seconds of a Retry-After field; dates are not understood.
std::optional<int64_t> retry_after_s(std::string_view field);

}  // namespace pull
