#include "format/hf_fields.h"

#include <cmath>

#include "format/decoder_check.h"

namespace format::hf {

using base::ErrorKind;
using base::fail;
using base::Json;

const Json* member(const Json& object, std::string_view key) {
  const Json* value = object.find(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

tl::unexpected<base::Error> bad(std::string_view key, std::string why, ErrorKind kind) {
  return fail(kind, fmt::format("{}: key \"{}\"", file_name, key), std::move(why),
              kind == ErrorKind::unsupported ? "take another version of the model" : get_another);
}

base::Result<std::optional<int>> size_or_nothing(const Json& object, std::string_view key,
                                                 int64_t most) {
  const Json* value = member(object, key);
  if (value == nullptr) return std::optional<int>();
  if (!value->is_integer()) return bad(key, "is not a whole number of a sane size");
  ASSIGN(const int size,
         checked_size(file_name, fmt::format("key \"{}\"", key), value->as_integer(), most));
  return std::optional<int>(size);
}

base::Result<int> size(const Json& object, std::string_view key, int64_t most) {
  ASSIGN(const auto value, size_or_nothing(object, key, most));
  if (!value) return bad(key, "is missing");
  return *value;
}

base::Result<std::optional<double>> number_or_nothing(const Json& object, std::string_view key) {
  const Json* value = member(object, key);
  if (value == nullptr) return std::optional<double>();
  if (!value->is_number() || !std::isfinite(value->as_number())) return bad(key, "is not a number");
  return std::optional<double>(value->as_number());
}

base::Result<double> number(const Json& object, std::string_view key, double absent) {
  ASSIGN(const auto value, number_or_nothing(object, key));
  return value.value_or(absent);
}

base::Result<double> number(const Json& object, std::string_view key) {
  ASSIGN(const auto value, number_or_nothing(object, key));
  if (!value) return bad(key, "is missing");
  return *value;
}

base::Result<bool> flag(const Json& object, std::string_view key, bool absent) {
  const Json* value = member(object, key);
  if (value == nullptr) return absent;
  if (!value->is_bool()) return bad(key, "is not true or false");
  return value->as_bool();
}

base::Result<int> count(const Json& object, std::string_view key, int64_t most, int absent) {
  const Json* value = member(object, key);
  if (value == nullptr) return absent;
  if (value->is_integer() && value->as_integer() == 0) return 0;
  return size(object, key, most);
}

base::Result<std::string> string(const Json& object, std::string_view key,
                                 std::string_view absent) {
  const Json* value = member(object, key);
  if (value == nullptr) return std::string(absent);
  if (!value->is_string()) return bad(key, "is not a string");
  return value->as_string();
}

}  // namespace format::hf
