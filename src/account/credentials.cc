// sessions.json, the file format:
//   {"version":1, "owned":true, "spent_code":hex|null, "secret":hex|null,
//    "sessions":[{"hash":hex, "used_unix_ms":integer}, …]}
// Rules: 1 at most 64 KiB; 2 version is 1; 3 hashes and the secret are 64 hexadecimal digits;
// 4 at most sessions_max sessions. A file that breaks one is refused with its path: it is never
// overwritten by guess, since that would hand the server to whoever asks first.
#include "account/credentials.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"

namespace account {
namespace {

constexpr size_t state_file_bytes_max = 64 * 1024;
constexpr std::string_view code_letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr int code_length = 8;
constexpr int cookie_bytes = 32;
constexpr int64_t renew_after_ms = 24ll * 3600 * 1000;

base::Error io_error(const std::string& path, const char* doing) {
  return {base::ErrorKind::io, path + ": cannot " + doing, std::strerror(errno),
          "check the folder's owner and free space"};
}

// The file's text, or nothing when there is no such file.
base::Result<std::optional<std::string>> read_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) {
    if (errno == ENOENT) return std::optional<std::string>();
    return base::fail(io_error(path, "open"));
  }
  std::string text(state_file_bytes_max + 1, '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t got = ::read(fd, text.data() + done, text.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      base::Error error = io_error(path, "read");
      ::close(fd);
      return base::fail(std::move(error));
    }
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  ::close(fd);
  if (done > state_file_bytes_max) {
    return base::fail(base::ErrorKind::limit_exceeded, path + " is larger than 64 KiB",
                      "it is not a file of ours", "move it away");
  }
  text.resize(done);
  return std::optional<std::string>(std::move(text));
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(fd, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    text.remove_prefix(static_cast<size_t>(put));
  }
  return true;
}

// Whole or not at all: a reader sees the old text or the new one, also after a crash.
base::Result<void> replace_file(const std::string& path, std::string_view text) {
  const std::string next = path + ".new";
  const int fd = ::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return base::fail(io_error(next, "create"));
  const bool written = write_all(fd, text) && ::fsync(fd) == 0;
  base::Error error = io_error(next, "write");
  ::close(fd);
  if (!written || ::rename(next.c_str(), path.c_str()) != 0) {
    if (written) error = io_error(path, "replace");
    ::unlink(next.c_str());
    return base::fail(std::move(error));
  }
  return {};
}

base::Error malformed(const std::string& path, const char* why) {
  return {base::ErrorKind::invalid_input, path + " is not a list of sessions", why,
          "restore it from a backup, or delete it to set the server up again"};
}

std::string cookie_purpose() { return "nautile session"; }
std::string code_purpose() { return "nautile code"; }

}  // namespace

base::Result<std::string> load_or_make_api_key(const std::string& state_dir, base::Random& random) {
  const std::string path = state_dir + "/api-key";
  ASSIGN(std::optional<std::string> text, read_file(path));
  if (text) {
    while (!text->empty() && (text->back() == '\n' || text->back() == ' ')) text->pop_back();
    const bool ok =
        text->size() >= 20 && text->size() <= 200 && text->starts_with("sk-") &&
        std::all_of(text->begin(), text->end(), [](char c) { return c > ' ' && c < 127; });
    if (!ok) {
      return base::fail(base::ErrorKind::invalid_input, path + " holds no API key",
                        "a key starts with sk- and has 20 to 200 visible characters",
                        "delete the file to have a new key made");
    }
    return std::move(*text);
  }
  std::string key = "sk-" + base::random_hex(random, 24);
  TRY(replace_file(path, key + "\n"));
  return key;
}

std::string make_code(base::Random& random) {
  std::string code;
  for (int i = 0; i < code_length; ++i) {
    if (i == code_length / 2) code += '-';
    code += code_letters[random.below(code_letters.size())];
  }
  return code;
}

std::string normalised_code(std::string_view typed) {
  std::string out;
  for (char c : typed) {
    if (c == ' ' || c == '-') continue;
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    if (c == 'O') c = '0';
    if (c == 'I' || c == 'L') c = '1';
    out += c;
  }
  return out;
}

SecretCheck::SecretCheck(std::string_view purpose, std::string_view secret)
    : purpose_(purpose), hash_(crypto::hash(purpose, secret)) {}

bool SecretCheck::matches(std::string_view candidate) const {
  return crypto::equal(hash_, crypto::hash(purpose_, candidate));
}

uint64_t account_of(std::string_view user_id) {
  const crypto::Hash hash = crypto::hash("nautile user_id", user_id);
  uint64_t value;
  std::memcpy(&value, hash.data(), sizeof value);
  return value | (1ull << 63);
}

base::Result<Sessions> Sessions::open(const std::string& state_dir, const base::Clock& clock,
                                      base::Random& random) {
  Sessions sessions(state_dir + "/sessions.json", clock, random);
  TRY(sessions.load());
  return sessions;
}

base::Result<void> Sessions::load() {
  ASSIGN(std::optional<std::string> text, read_file(path_));
  if (!text) return {};
  base::JsonLimits json_limits;
  json_limits.duplicate_keys_refused = true;
  ASSIGN(base::Json root, base::parse_json(*text, path_, json_limits));
  const base::Json* version = root.find("version");
  if (version == nullptr || !version->is_integer() || version->as_integer() != 1) {
    return base::fail(malformed(path_, "version is not 1"));
  }
  const base::Json* owned = root.find("owned");
  const base::Json* list = root.find("sessions");
  if (owned == nullptr || !owned->is_bool() || list == nullptr || !list->is_array() ||
      list->as_array().size() > sessions_max) {
    return base::fail(malformed(path_, "owned or sessions is missing or of another form"));
  }
  owned_ = owned->as_bool();
  if (const base::Json* spent = root.find("spent_code"); spent != nullptr && spent->is_string()) {
    spent_code_ = crypto::hash_from_hex(spent->as_string());
    if (!spent_code_) return base::fail(malformed(path_, "spent_code is not a hash"));
  }
  if (const base::Json* secret = root.find("secret"); secret != nullptr && secret->is_string()) {
    secret_ = crypto::hash_from_hex(secret->as_string());
    if (!secret_) return base::fail(malformed(path_, "secret is not 32 bytes"));
  }
  for (const base::Json& entry : list->as_array()) {
    const base::Json* hash = entry.find("hash");
    const base::Json* used = entry.find("used_unix_ms");
    if (hash == nullptr || !hash->is_string() || used == nullptr || !used->is_integer()) {
      return base::fail(malformed(path_, "a session has no hash or no time"));
    }
    const std::optional<crypto::Hash> parsed = crypto::hash_from_hex(hash->as_string());
    if (!parsed) return base::fail(malformed(path_, "a session's hash is not one"));
    sessions_.push_back({*parsed, used->as_integer(), next_number_++});
  }
  return {};
}

base::Result<void> Sessions::save() const {
  base::Json list = base::Json::array();
  for (const Session& session : sessions_) {
    list.push(base::Json::object(
        {{"hash", crypto::to_hex(session.hash)}, {"used_unix_ms", session.used_unix_ms}}));
  }
  const base::Json root = base::Json::object(
      {{"version", 1},
       {"owned", owned_},
       {"spent_code", spent_code_ ? base::Json(crypto::to_hex(*spent_code_)) : base::Json()},
       {"secret", secret_ ? base::Json(crypto::to_hex(*secret_)) : base::Json()},
       {"sessions", std::move(list)}});
  return replace_file(path_, root.dump() + "\n");
}

base::Result<std::string> Sessions::sign_in(std::string_view code) {
  const Sessions before = *this;
  std::string cookie = base::random_hex(*random_, cookie_bytes);
  if (sessions_.size() >= sessions_max) {
    sessions_.erase(std::min_element(
        sessions_.begin(), sessions_.end(),
        [](const Session& a, const Session& b) { return a.used_unix_ms < b.used_unix_ms; }));
  }
  sessions_.push_back(
      {crypto::hash(cookie_purpose(), cookie), clock_->wall_unix_ms(), next_number_++});
  owned_ = true;
  if (!secret_) {
    secret_.emplace();
    random_->fill(*secret_);
  }
  spent_code_ = crypto::hash(code_purpose(), normalised_code(code));
  if (auto saved = save(); !saved) {
    *this = before;
    return base::fail(std::move(saved).error());
  }
  return cookie;
}

bool Sessions::spent(std::string_view code) const {
  return spent_code_ &&
         crypto::equal(*spent_code_, crypto::hash(code_purpose(), normalised_code(code)));
}

std::optional<uint64_t> Sessions::find(std::string_view cookie) {
  if (cookie.size() != 2 * cookie_bytes) return std::nullopt;
  const crypto::Hash hash = crypto::hash(cookie_purpose(), cookie);
  const int64_t now = clock_->wall_unix_ms();
  for (Session& session : sessions_) {
    if (!crypto::equal(session.hash, hash)) continue;
    if (now - session.used_unix_ms > idle_ms_max) return std::nullopt;
    if (now - session.used_unix_ms > renew_after_ms) {
      session.used_unix_ms = now;
      // A disk that is full must not sign anybody out: the old date stays in the file.
      static_cast<void>(save());
    }
    return session.number;
  }
  return std::nullopt;
}

std::string Sessions::draft_key() const {
  if (!secret_) return "";
  const std::string_view bytes(reinterpret_cast<const char*>(secret_->data()), secret_->size());
  return crypto::to_hex(crypto::hash("nautile draft key", bytes));
}

base::Result<void> Sessions::sign_out(std::string_view cookie) {
  const crypto::Hash hash = crypto::hash(cookie_purpose(), cookie);
  const auto at = std::find_if(sessions_.begin(), sessions_.end(), [&](const Session& session) {
    return crypto::equal(session.hash, hash);
  });
  if (at == sessions_.end()) return {};
  sessions_.erase(at);
  return save();
}

int64_t TryLimit::wait_ms(int64_t now_ms) const {
  if (static_cast<int>(failures_ms_.size()) < tries_max_) return 0;
  return std::max<int64_t>(0, failures_ms_.front() + window_ms_ - now_ms);
}

void TryLimit::failed(int64_t now_ms) {
  if (static_cast<int>(failures_ms_.size()) >= tries_max_) failures_ms_.erase(failures_ms_.begin());
  failures_ms_.push_back(now_ms);
}

}  // namespace account
