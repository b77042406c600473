#include "pull/reference.h"

#include <algorithm>

namespace pull {
namespace {

constexpr size_t name_bytes_max = 96;
constexpr size_t revision_bytes_max = 256;
constexpr size_t selector_bytes_max = 1024;

bool is_plain(unsigned char c) {
  return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' ||
         c == '.' || c == '_';
}

// A name of a hub: it becomes part of an address and of a file name, so it may be nothing else.
bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= name_bytes_max && text.front() != '.' &&
         text.front() != '-' && std::all_of(text.begin(), text.end(), is_plain);
}

bool is_revision(std::string_view text) {
  if (text.empty() || text.size() > revision_bytes_max) return false;
  if (text.front() == '/' || text.back() == '/') return false;
  if (text.find("..") != std::string_view::npos) return false;
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return is_plain(c) || c == '/'; });
}

tl::unexpected<base::Error> not_understood(std::string_view text, std::string why) {
  return base::fail(
      base::ErrorKind::wrong_usage, base::shown_name(text) + " is not something to pull",
      std::move(why),
      "write hf:ORG/REPO[@REVISION][:FILE or QUANT], ollama:NAME[:TAG], file:PATH, or a "
      "name from `nautile list --catalogue`");
}

base::Result<Reference> parse_hugging_face(std::string_view text, std::string_view rest) {
  Reference reference{Reference::Kind::hugging_face};
  const size_t colon = std::min(rest.find(':'), rest.size());
  if (colon < rest.size()) {
    reference.selector = rest.substr(colon + 1);
    if (reference.selector.empty() || reference.selector.size() > selector_bytes_max) {
      return not_understood(text, "after the colon stands a file or a quantisation");
    }
  }
  rest = rest.substr(0, colon);
  const size_t at = std::min(rest.find('@'), rest.size());
  reference.revision = at < rest.size() ? std::string(rest.substr(at + 1)) : "main";
  rest = rest.substr(0, at);
  const size_t slash = std::min(rest.find('/'), rest.size());
  reference.owner = rest.substr(0, slash);
  reference.name = slash < rest.size() ? rest.substr(slash + 1) : std::string_view();
  if (!is_name(reference.owner) || !is_name(reference.name)) {
    return not_understood(text, "the repository is ORG/REPO");
  }
  if (!is_revision(reference.revision)) return not_understood(text, "the revision is malformed");
  return reference;
}

base::Result<Reference> parse_ollama(std::string_view text, std::string_view rest) {
  Reference reference{Reference::Kind::ollama};
  const size_t colon = std::min(rest.rfind(':'), rest.size());
  reference.revision = colon < rest.size() ? std::string(rest.substr(colon + 1)) : "latest";
  rest = rest.substr(0, colon);
  const size_t slash = rest.find('/');
  reference.owner = slash == std::string_view::npos ? "library" : rest.substr(0, slash);
  reference.name = slash == std::string_view::npos ? rest : rest.substr(slash + 1);
  if (!is_name(reference.owner) || !is_name(reference.name) || !is_name(reference.revision)) {
    return not_understood(text, "the model is [NAMESPACE/]NAME[:TAG]");
  }
  return reference;
}

}  // namespace

std::string Reference::text() const {
  switch (kind) {
    case Kind::hugging_face:
      return "hf:" + repository() + (revision == "main" ? "" : "@" + revision) +
             (selector.empty() ? "" : ":" + selector);
    case Kind::ollama:
      return "ollama:" + (owner == "library" ? name : repository()) + ":" + revision;
    case Kind::file:
      return "file:" + path;
  }
  return {};
}

base::Result<Reference> parse_reference(std::string_view text) {
  if (text.starts_with("hf:")) return parse_hugging_face(text, text.substr(3));
  if (text.starts_with("ollama:")) return parse_ollama(text, text.substr(7));
  if (text.starts_with("file:")) {
    Reference reference{Reference::Kind::file};
    reference.path = text.substr(5);
    while (reference.path.size() > 1 && reference.path.ends_with('/')) reference.path.pop_back();
    if (reference.path.empty() || reference.path.find('\0') != std::string::npos) {
      return not_understood(text, "after file: stands a path");
    }
    return reference;
  }
  return not_understood(text, "");
}

}  // namespace pull
