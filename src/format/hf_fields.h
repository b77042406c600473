// Fields of config.json, checked one by one; null is the same as absent. Errors name the file and
// the key.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace format::hf {

inline constexpr std::string_view file_name = "config.json";

// The member, or nullptr if absent or null.
const base::Json* member(const base::Json& object, std::string_view key);

tl::unexpected<base::Error> bad(std::string_view key, std::string why,
                                base::ErrorKind kind = base::ErrorKind::invalid_input);

// Whole numbers from 1 to `most`.
base::Result<std::optional<int>> size_or_nothing(const base::Json& object, std::string_view key,
                                                 int64_t most);
base::Result<int> size(const base::Json& object, std::string_view key, int64_t most);
// Whole numbers from 0 to `most`.
base::Result<int> count(const base::Json& object, std::string_view key, int64_t most, int absent);

// Finite numbers.
base::Result<std::optional<double>> number_or_nothing(const base::Json& object,
                                                      std::string_view key);
base::Result<double> number(const base::Json& object, std::string_view key, double absent);
base::Result<double> number(const base::Json& object, std::string_view key);

base::Result<bool> flag(const base::Json& object, std::string_view key, bool absent);
base::Result<std::string> string(const base::Json& object, std::string_view key,
                                 std::string_view absent);

}  // namespace format::hf
