// The secrets of a server that one person owns ("just me"): the local API key, the one-time code of
// the console, and browser sessions. Nothing here is ever stored in the clear except the API key in
// its own 0600 file, which is there to be read by its owner.
//
// Threads: one at a time; the gate uses it on its loop thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "crypto/hash.h"

namespace account {

// Reads DIR/api-key or makes it ("sk-" and 48 hexadecimal digits, 192 random bits, mode 0600).
base::Result<std::string> load_or_make_api_key(const std::string& state_dir, base::Random& random);

// "K7QF-2MDX": eight of 32 letters and digits that are hard to mistake for each other (40 bits).
std::string make_code(base::Random& random);
// As typed by a person: spaces and dashes dropped, upper case, O is 0, I and L are 1.
std::string normalised_code(std::string_view typed);

// One secret that is checked often: keeps its hash only and compares in constant time.
class SecretCheck {
 public:
  SecretCheck(std::string_view purpose, std::string_view secret);
  bool matches(std::string_view candidate) const;

 private:
  std::string purpose_;
  crypto::Hash hash_;
};

// A number that stands for a name from outside (the API's user_id), never equal to a small one.
uint64_t account_of(std::string_view user_id);

// Who owns this server, and which browsers are signed in. Kept in DIR/sessions.json (0600, replaced
// by rename), which holds hashes of cookies and of the last spent code, never the secrets.
class Sessions {
 public:
  static constexpr int sessions_max = 64;  // the one unused for longest gives way
  static constexpr int64_t idle_ms_max = 90ll * 24 * 3600 * 1000;

  static base::Result<Sessions> open(const std::string& state_dir, const base::Clock& clock,
                                     base::Random& random);

  bool owned() const { return owned_; }
  // Records the owner or another browser; returns the cookie's value (64 hexadecimal digits).
  // `code` is remembered as spent. Nothing has changed if the file could not be written.
  base::Result<std::string> sign_in(std::string_view code);
  bool spent(std::string_view code) const;
  // The session's number (unique while the process lives), or nothing. Renews at most once a day.
  std::optional<uint64_t> find(std::string_view cookie);
  // 64 hexadecimal digits, the same for this owner as long as the file lives: the key under which
  // a browser keeps its unsent drafts. Empty while nobody owns the server.
  std::string draft_key() const;
  base::Result<void> sign_out(std::string_view cookie);

 private:
  struct Session {
    crypto::Hash hash;
    int64_t used_unix_ms = 0;
    uint64_t number = 0;
  };
  Sessions(std::string path, const base::Clock& clock, base::Random& random)
      : path_(std::move(path)), clock_(&clock), random_(&random) {}
  base::Result<void> load();
  base::Result<void> save() const;

  std::string path_;
  const base::Clock* clock_;
  base::Random* random_;
  bool owned_ = false;
  std::optional<crypto::Hash> spent_code_;
  std::optional<crypto::Hash> secret_;  // random, not a hash: what the draft key is made from
  std::vector<Session> sessions_;
  uint64_t next_number_ = 1;
};

// At most `tries_max` failures in `window_ms`; then says how long to wait. Counts and a clock only.
class TryLimit {
 public:
  TryLimit(int tries_max, int64_t window_ms) : tries_max_(tries_max), window_ms_(window_ms) {}
  // 0: may try now; otherwise milliseconds until the next try.
  int64_t wait_ms(int64_t now_ms) const;
  void failed(int64_t now_ms);

 private:
  int tries_max_;
  int64_t window_ms_;
  std::vector<int64_t> failures_ms_;  // at most tries_max_
};

}  // namespace account
