#include "pull/listing.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/json.h"

namespace pull {
namespace {

constexpr base::JsonLimits json_limits{
    .bytes_max = 16ull << 20, .depth_max = 32, .duplicate_keys_refused = true};
constexpr size_t path_bytes_max = 1024;
constexpr size_t part_bytes_max = 200;  // leaves room for ".partial.progress" in a file name
constexpr size_t files_max = 100'000;
constexpr size_t layers_max = 4096;
constexpr size_t token_bytes_max = 16 * 1024;
constexpr int64_t file_bytes_max = int64_t{1} << 50;

tl::unexpected<base::Error> refused(const char* source, std::string why) {
  return base::fail(base::ErrorKind::invalid_input,
                    std::string("the hub's ") + source + " is not acceptable", std::move(why),
                    "check the reference and the endpoint, or try again later");
}

base::Result<base::Json> parse(std::string_view json, const char* source) {
  auto parsed = base::parse_json(json, source, json_limits);
  if (!parsed) return refused(source, parsed.error().message());
  return parsed;
}

const std::string* text_of(const base::Json& object, std::string_view key) {
  const base::Json* value = object.find(key);
  return value != nullptr && value->is_string() ? &value->as_string() : nullptr;
}

std::optional<uint64_t> size_of(const base::Json& object) {
  const base::Json* value = object.find("size");
  if (value == nullptr || !value->is_integer()) return std::nullopt;
  if (value->as_integer() < 0 || value->as_integer() > file_bytes_max) return std::nullopt;
  return static_cast<uint64_t>(value->as_integer());
}

std::optional<int64_t> number(std::string_view text) {
  if (text.empty() || text.size() > 18) return std::nullopt;
  int64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

base::Result<ListedFile> parse_tree_file(const base::Json& entry, const std::string& path) {
  ListedFile file;
  file.path = path;
  const auto size = size_of(entry);
  if (!size) return refused("file list", base::shown_name(path) + " has no acceptable size");
  file.size = *size;
  const base::Json* lfs = entry.find("lfs");
  if (lfs != nullptr && lfs->is_object()) {
    const std::string* oid = text_of(*lfs, "oid");
    const auto content = size_of(*lfs);
    if (oid == nullptr || !content) {
      return refused("file list", base::shown_name(path) + " has no digest");
    }
    file.sha256 = oid->starts_with("sha256:") ? oid->substr(7) : *oid;
    file.size = *content;
    if (!is_hex(file.sha256, 64)) {
      return refused("file list", "the digest of " + base::shown_name(path) + " is none");
    }
  } else if (const std::string* oid = text_of(entry, "oid")) {
    if (!is_hex(*oid, 40)) {
      return refused("file list", "the git name of " + base::shown_name(path) + " is none");
    }
    file.git_sha1 = *oid;
  }
  return file;
}

// The value of key="…" or key=… in a list of parameters.
std::string parameter(std::string_view text, std::string_view key) {
  for (size_t at = text.find(key); at != std::string_view::npos; at = text.find(key, at + 1)) {
    const bool begins = at == 0 || text[at - 1] == ' ' || text[at - 1] == ',';
    std::string_view rest = text.substr(at + key.size());
    if (!begins || !rest.starts_with('=')) continue;
    rest.remove_prefix(1);
    if (rest.starts_with('"')) {
      const size_t end = rest.find('"', 1);
      return end == std::string_view::npos ? "" : std::string(rest.substr(1, end - 1));
    }
    return std::string(rest.substr(0, rest.find_first_of(", ")));
  }
  return {};
}

}  // namespace

bool is_hex(std::string_view text, size_t digits) {
  return text.size() == digits && std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

bool is_safe_path(std::string_view path) {
  if (path.empty() || path.size() > path_bytes_max || !base::is_utf8(path)) return false;
  for (const unsigned char c : path) {
    if (c < 0x20 || c == 0x7f || c == '\\') return false;
  }
  for (;;) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part == "." || part == ".." || part.size() > part_bytes_max) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

base::Result<std::vector<ListedFile>> parse_tree(std::string_view json) {
  ASSIGN(const base::Json tree, parse(json, "file list"));
  if (!tree.is_array()) return refused("file list", "it is not a list");
  if (tree.as_array().size() > files_max) return refused("file list", "it is too long");
  std::vector<ListedFile> files;
  for (const base::Json& entry : tree.as_array()) {
    const std::string* type = entry.is_object() ? text_of(entry, "type") : nullptr;
    const std::string* path = entry.is_object() ? text_of(entry, "path") : nullptr;
    if (type == nullptr || path == nullptr) return refused("file list", "an entry has no path");
    if (*type == "directory") continue;
    if (!is_safe_path(*path)) {
      return refused("file list", base::shown_name(*path) + " is no acceptable file name");
    }
    ASSIGN(ListedFile file, parse_tree_file(entry, *path));
    files.push_back(std::move(file));
  }
  return files;
}

base::Result<std::string> parse_commit(std::string_view json) {
  ASSIGN(const base::Json object, parse(json, "revision"));
  const std::string* sha = object.is_object() ? text_of(object, "sha") : nullptr;
  if (sha == nullptr || !is_hex(*sha, 40)) return refused("revision", "it names no commit");
  return *sha;
}

base::Result<std::vector<OllamaLayer>> parse_manifest(std::string_view json) {
  ASSIGN(const base::Json manifest, parse(json, "manifest"));
  const base::Json* list = manifest.is_object() ? manifest.find("layers") : nullptr;
  if (list == nullptr || !list->is_array()) return refused("manifest", "it has no layers");
  if (list->as_array().size() > layers_max) return refused("manifest", "it has too many layers");
  std::vector<OllamaLayer> layers;
  for (const base::Json& entry : list->as_array()) {
    const std::string* type = entry.is_object() ? text_of(entry, "mediaType") : nullptr;
    const std::string* digest = entry.is_object() ? text_of(entry, "digest") : nullptr;
    const auto size = entry.is_object() ? size_of(entry) : std::nullopt;
    if (type == nullptr || digest == nullptr || !size) {
      return refused("manifest", "a layer has no type, digest or size");
    }
    if (!digest->starts_with("sha256:") || !is_hex(std::string_view(*digest).substr(7), 64)) {
      return refused("manifest", base::shown_name(*digest) + " is no digest");
    }
    layers.push_back({type->substr(type->rfind('.') + 1), digest->substr(7), *size});
  }
  return layers;
}

std::optional<ContentRange> parse_content_range(std::string_view field) {
  if (!field.starts_with("bytes ")) return std::nullopt;
  field.remove_prefix(6);
  const size_t dash = field.find('-');
  const size_t slash = field.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || dash > slash) {
    return std::nullopt;
  }
  const auto first = number(field.substr(0, dash));
  const auto last = number(field.substr(dash + 1, slash - dash - 1));
  if (!first || !last || *first > *last) return std::nullopt;
  ContentRange range{*first, *last, -1};
  const std::string_view total = field.substr(slash + 1);
  if (total == "*") return range;
  const auto bytes = number(total);
  if (!bytes || *bytes <= *last) return std::nullopt;
  range.total = *bytes;
  return range;
}

std::optional<std::string> next_link(std::string_view field) {
  while (!field.empty()) {
    const size_t open = field.find('<');
    const size_t close = field.find('>', open == std::string_view::npos ? 0 : open);
    if (open == std::string_view::npos || close == std::string_view::npos) return std::nullopt;
    const size_t end = std::min(field.find(',', close), field.size());
    const std::string_view about = field.substr(close, end - close);
    if (about.find("rel=\"next\"") != std::string_view::npos ||
        about.find("rel=next") != std::string_view::npos) {
      return std::string(field.substr(open + 1, close - open - 1));
    }
    field.remove_prefix(end);
  }
  return std::nullopt;
}

std::optional<Challenge> parse_challenge(std::string_view field) {
  constexpr std::string_view scheme = "bearer ";
  if (field.size() <= scheme.size()) return std::nullopt;
  for (size_t i = 0; i < scheme.size(); ++i) {
    if ((field[i] | 0x20) != scheme[i]) return std::nullopt;
  }
  field.remove_prefix(scheme.size());
  Challenge challenge{parameter(field, "realm"), parameter(field, "service"),
                      parameter(field, "scope")};
  if (challenge.realm.empty()) return std::nullopt;
  return challenge;
}

base::Result<std::string> parse_token(std::string_view json) {
  ASSIGN(const base::Json object, parse(json, "token"));
  const std::string* token = object.is_object() ? text_of(object, "token") : nullptr;
  if (token == nullptr && object.is_object()) token = text_of(object, "access_token");
  const bool usable = token != nullptr && !token->empty() && token->size() <= token_bytes_max &&
                      std::all_of(token->begin(), token->end(),
                                  [](unsigned char c) { return c > 0x20 && c < 0x7f; });
  if (!usable) return refused("token", "there is none in it");
  return *token;
}

std::string etag_value(std::string_view field) {
  if (field.starts_with("W/")) field.remove_prefix(2);
  if (field.size() < 2 || field.front() != '"' || field.back() != '"') return {};
  field = field.substr(1, field.size() - 2);
  if (field.size() > 256 || field.find('"') != std::string_view::npos) return {};
  return std::string(field);
}

std::optional<int64_t> retry_after_s(std::string_view field) { return number(field); }

}  // namespace pull
