// Settings: each is one key in nautile.toml, one NAUTILE_… variable and one flag, in this order of
// strength (a flag beats a variable beats the file beats the default). `nautile config` prints the
// effective ones and where each came from.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "app/places.h"
#include "base/result.h"

namespace app {

enum class Origin { standard, file, environment, flag };
std::string_view origin_name(Origin origin);

struct SettingSpec {
  enum class Kind { text, integer, size, list } kind;
  std::string_view key;         // "listen"; flag "--listen", variable "NAUTILE_LISTEN"
  std::string_view standard;    // default, as text
  int64_t least = 0, most = 0;  // integers, and sizes in bytes
  std::string_view help;
  std::string_view words = {};  // "auto, en, fr": the only values there are; empty: any text
};
const std::vector<SettingSpec>& setting_specs();
const SettingSpec* find_spec(std::string_view key);

struct Setting {
  std::vector<std::string> values;  // one, or any number for a list
  Origin origin = Origin::standard;
};

class Config {
 public:
  // `flags`: what the command line gave, by key. Every value is checked; errors (wrong_usage) name
  // the key, where it came from and what is accepted.
  static base::Result<Config> load(const Places& places,
                                   const std::map<std::string, std::vector<std::string>>& flags);

  const std::string& text(std::string_view key) const;
  int64_t integer(std::string_view key) const;  // of a size: its bytes
  const std::vector<std::string>& list(std::string_view key) const;
  const std::map<std::string, Setting, std::less<>>& all() const { return settings_; }

 private:
  base::Result<void> put(std::string_view key, std::vector<std::string> values, Origin origin,
                         std::string_view where);
  base::Result<void> read_toml(const std::string& path);
  std::map<std::string, Setting, std::less<>> settings_;
};

}  // namespace app
