#include "app/config.h"

#include <charconv>
#include <cstdlib>
#include <limits>
#include <optional>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "base/check.h"

namespace app {
namespace {

constexpr uint64_t config_bytes_max = 1 << 20;

std::string variable_name(std::string_view key) {
  std::string name = "NAUTILE_";
  for (char c : key) name += c == '-' ? '_' : static_cast<char>(std::toupper(c));
  return name;
}

bool is_word_of(std::string_view words, std::string_view word) {
  while (!words.empty()) {
    const size_t comma = words.find(", ");
    if (words.substr(0, comma) == word) return true;
    words = comma == std::string_view::npos ? std::string_view{} : words.substr(comma + 2);
  }
  return false;
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    if (comma != 0) parts.emplace_back(text.substr(0, comma));
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
  }
  return parts;
}

// "900M", "8G" (powers of 1024) or a number of bytes.
std::optional<int64_t> parse_size(std::string_view text) {
  constexpr std::string_view units = "KMGT";
  int shift = 0;
  if (const size_t unit = text.empty() ? text.npos : units.find(text.back()); unit != text.npos) {
    shift = 10 * (static_cast<int>(unit) + 1);
    text.remove_suffix(1);
  }
  int64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc() || end != text.data() + text.size() || number < 0) return {};
  if (number > std::numeric_limits<int64_t>::max() >> shift) return {};
  return number << shift;
}

std::optional<int64_t> parse_number(const SettingSpec& spec, std::string_view text) {
  if (spec.kind == SettingSpec::Kind::size) return parse_size(text);
  int64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc() || end != text.data() + text.size()) return {};
  return number;
}

}  // namespace

std::string_view origin_name(Origin origin) {
  switch (origin) {
    case Origin::standard:
      return "default";
    case Origin::file:
      return "file";
    case Origin::environment:
      return "environment";
    case Origin::flag:
      return "flag";
  }
  return "?";
}

const std::vector<SettingSpec>& setting_specs() {
  using Kind = SettingSpec::Kind;
  static const std::vector<SettingSpec> specs = {
      {Kind::text, "listen", "127.0.0.1:8080", 0, 0, "address and port to serve on (loopback)"},
      {Kind::list, "model", "", 0, 0, "models to serve: names, .gguf files or directories"},
      {Kind::text, "default-model", "", 0, 0, "the model used when a client names none"},
      {Kind::integer, "threads", "0", 0, 256, "threads that compute; 0: one per core"},
      {Kind::integer, "context", "8192", 256, 1 << 20, "tokens that a conversation may hold"},
      {Kind::integer, "kv-cache-mb", "0", 0, 1 << 20,
       "memory for the key/value cache; 0: for 2 full contexts, less where memory is short"},
      {Kind::text, "kv-type", "f16", 0, 0, "storage of keys and values", "f16, bf16, f32"},
      {Kind::integer, "batch-tokens", "256", 16, 4096, "prompt tokens computed in one step"},
      {Kind::integer, "batch-sequences", "16", 1, 256, "answers computed at the same time"},
      {Kind::integer, "queue", "256", 1, 65536, "requests that may wait"},
      {Kind::size, "memory", "0", 0, int64_t{1} << 50,
       "memory for models, like 8G or 900M; 0: what the machine has. Experts of a larger model are "
       "read from disk"},
      {Kind::text, "speculation", "auto", 0, 0,
       "guess a second token a step, with models that have a layer for it (MTP); auto: where it is "
       "faster. Answers stay the same",
       "off, auto, on"},
      {Kind::text, "isa", "auto", 0, 0, "instruction set", "auto, scalar, avx2, avx512, amx"},
      {Kind::text, "language", "auto", 0, 0,
       "language of the terminal (auto is that of the system)", "auto, en, fr"},
      {Kind::text, "page-pull", "auto", 0, 0,
       "what the site's owner may fetch from the page: every model (on), those of the catalogue, "
       "none (off); auto: on where only this machine is served",
       "auto, on, catalogue, off"},
      {Kind::text, "hf-endpoint", "https://huggingface.co", 0, 0,
       "where `pull hf:…` asks: the hub or a mirror of it"},
      {Kind::text, "ollama-endpoint", "https://registry.ollama.ai", 0, 0,
       "where `pull ollama:…` asks"},
      {Kind::text, "log-level", "warning", 0, 0,
       "how much the server logs: processes that start, end or are restarted",
       "error, warning, info, debug"},
  };
  return specs;
}

const SettingSpec* find_spec(std::string_view key) {
  for (const SettingSpec& spec : setting_specs()) {
    if (spec.key == key) return &spec;
  }
  return nullptr;
}

base::Result<void> Config::put(std::string_view key, std::vector<std::string> values, Origin origin,
                               std::string_view where) {
  const SettingSpec* spec = find_spec(key);
  CHECK(spec != nullptr, "callers look the key up first");
  const auto refused = [&](const std::string& shown, const std::string& expected) {
    return base::fail(
        base::ErrorKind::wrong_usage,
        fmt::format("{} = {} ({}) is not acceptable", key, shown, where), expected + " is expected",
        spec->standard.empty()
            ? "correct it, or leave it out"
            : fmt::format("correct it, or leave it out: then it is {}", spec->standard));
  };
  if (spec->kind != SettingSpec::Kind::list && values.size() != 1) {
    return refused("a list", "one value");
  }
  const bool size = spec->kind == SettingSpec::Kind::size;
  if (size || spec->kind == SettingSpec::Kind::integer) {
    const auto number = parse_number(*spec, values.front());
    if (!number || *number < spec->least || *number > spec->most) {
      return refused(base::shown_name(values.front()),
                     size ? "a size like 8G or 900M"
                          : fmt::format("a whole number from {} to {}", spec->least, spec->most));
    }
  }
  if (!spec->words.empty() && !is_word_of(spec->words, values.front())) {
    return refused(base::shown_name(values.front()), fmt::format("one of {}", spec->words));
  }
  settings_.insert_or_assign(std::string(key), Setting{std::move(values), origin});
  return {};
}

base::Result<void> Config::read_toml(const std::string& path) {
  auto text = read_file(path, config_bytes_max);
  if (!text) {
    if (text.error().kind == base::ErrorKind::not_found) return {};
    return base::fail(text.error());
  }
  const toml::parse_result parsed = toml::parse(*text, path);
  if (!parsed) {
    return base::fail(
        base::ErrorKind::invalid_input,
        fmt::format("{}: line {} is not understood", path, parsed.error().source().begin.line),
        std::string(parsed.error().description()),
        "correct the line, or remove the file to use the defaults");
  }
  for (const auto& [name, node] : parsed.table()) {
    std::string key(name.str());
    for (char& c : key) c = c == '_' ? '-' : c;
    const SettingSpec* spec = find_spec(key);
    if (spec == nullptr) {
      return base::fail(base::ErrorKind::invalid_input,
                        fmt::format("{}: there is no setting {}", path, base::shown_name(key)), "",
                        "`nautile config` lists the settings");
    }
    std::vector<std::string> values;
    bool taken = true;
    const auto add = [&](const toml::node& value) {
      if (const auto* string = value.as_string()) {
        values.push_back(string->get());
      } else if (const auto* number = value.as_integer()) {
        values.push_back(std::to_string(number->get()));
      } else {
        taken = false;
      }
    };
    if (const auto* array = node.as_array()) {
      for (const toml::node& element : *array) add(element);
    } else {
      add(node);
    }
    if (!taken) {
      return base::fail(
          base::ErrorKind::invalid_input, fmt::format("{}: {} has the wrong type", path, key),
          "text, a whole number or a list of texts is expected", "correct it, or leave it out");
    }
    TRY(put(key, std::move(values), Origin::file, path));
  }
  return {};
}

base::Result<Config> Config::load(const Places& places,
                                  const std::map<std::string, std::vector<std::string>>& flags) {
  Config config;
  for (const SettingSpec& spec : setting_specs()) {
    std::vector<std::string> values{std::string(spec.standard)};
    if (spec.kind == SettingSpec::Kind::list) values = split_list(spec.standard);
    TRY(config.put(spec.key, std::move(values), Origin::standard, "default"));
  }
  TRY(config.read_toml(places.config_file));
  for (const SettingSpec& spec : setting_specs()) {
    const std::string name = variable_name(spec.key);
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) continue;
    std::vector<std::string> values{value};
    if (spec.kind == SettingSpec::Kind::list) values = split_list(value);
    TRY(config.put(spec.key, std::move(values), Origin::environment, name));
  }
  for (const auto& [key, values] : flags) {
    TRY(config.put(key, values, Origin::flag, "--" + key));
  }
  return config;
}

const std::string& Config::text(std::string_view key) const {
  const auto found = settings_.find(key);
  CHECK(found != settings_.end() && !found->second.values.empty(), "load() filled every setting");
  return found->second.values.front();
}

int64_t Config::integer(std::string_view key) const {
  const SettingSpec* spec = find_spec(key);
  CHECK(spec != nullptr, "a key of the table");
  return parse_number(*spec, text(key)).value_or(0);  // put() has refused what is no number
}

const std::vector<std::string>& Config::list(std::string_view key) const {
  const auto found = settings_.find(key);
  CHECK(found != settings_.end(), "load() filled every setting");
  return found->second.values;
}

}  // namespace app
