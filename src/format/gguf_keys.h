// The keys of one architecture in a GGUF header ("deepseek2.block_count"), checked one by one.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "format/decoder_check.h"
#include "format/gguf.h"

namespace format {

// Reads the keys of one architecture.
class GgufKeys {
 public:
  GgufKeys(const GgufHeader& header, std::string prefix)
      : header_(header), prefix_(std::move(prefix)) {}

  const GgufHeader& header() const { return header_; }
  const std::string& file() const { return header_.file(); }
  std::string key(std::string_view rest) const { return prefix_ + "." + std::string(rest); }
  std::string shown(std::string_view rest) const { return "key " + base::shown_name(key(rest)); }
  tl::unexpected<base::Error> bad(std::string_view rest, std::string why,
                                  base::ErrorKind kind = base::ErrorKind::invalid_input) const {
    return base::fail(
        kind, fmt::format("{}: {}", header_.file(), shown(rest)), std::move(why),
        kind == base::ErrorKind::unsupported ? "take another version of the model" : get_another);
  }

  base::Result<int> size(std::string_view rest, int64_t most) const {
    ASSIGN(const auto value, header_.integer(key(rest)));
    if (!value) return bad(rest, "is missing");
    return checked_size(header_.file(), shown(rest), *value, most);
  }
  base::Result<std::optional<int>> size_or_nothing(std::string_view rest, int64_t most) const {
    if (!header_.has(key(rest))) return std::optional<int>();
    ASSIGN(const int value, size(rest, most));
    return std::optional<int>(value);
  }
  // A number, or a list of one for each layer; the lists of the supported models are all equal.
  base::Result<int> size_by_layer(std::string_view rest, int64_t most, int layers) const {
    const GgufValue* value = header_.find(key(rest));
    if (value == nullptr || value->type != GgufType::array) return size(rest, most);
    ASSIGN(const auto list, header_.integers(key(rest)));
    if (!list || list->size() != static_cast<size_t>(layers)) {
      return bad(rest, fmt::format("must have one entry for each of {} layers", layers));
    }
    for (const int64_t entry : *list) {
      TRY(checked_size(header_.file(), shown(rest), entry, most));
      if (entry != list->front()) {
        return bad(rest, "differs from layer to layer", base::ErrorKind::unsupported);
      }
    }
    return static_cast<int>(list->front());
  }
  // From 0 to `most`.
  base::Result<int> count(std::string_view rest, int64_t most, int absent) const {
    ASSIGN(const auto value, header_.integer(key(rest)));
    if (!value) return absent;
    if (*value == 0) return 0;
    return checked_size(header_.file(), shown(rest), *value, most);
  }
  base::Result<bool> flag(std::string_view rest, bool absent) const {
    ASSIGN(const auto value, header_.boolean(key(rest)));
    return value.value_or(absent);
  }
  base::Result<double> number(std::string_view rest, std::optional<double> absent) const {
    ASSIGN(const auto value, header_.number(key(rest)));
    if (value) return *value;
    if (!absent) return bad(rest, "is missing");
    return *absent;
  }

 private:
  const GgufHeader& header_;
  std::string prefix_;
};

}  // namespace format
