// Json: the one JSON value of the program, and the only wall around nlohmann/json. Parsing has a
// bound on bytes, depth and the number of values, refuses ill-formed UTF-8, trailing bytes and NaN,
// and keeps the order of keys (chat templates print objects in it). Numbers without fraction or
// exponent that fit in int64 are integers, all others are doubles.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/limits.h"
#include "base/result.h"

namespace base {

class Json {
 public:
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  using Object = std::vector<Member>;  // in order of appearance; keys are unique

  Json() = default;  // null
  Json(std::nullptr_t) {}
  Json(bool value) : value_(value) {}
  Json(int value) : value_(static_cast<int64_t>(value)) {}
  Json(int64_t value) : value_(value) {}
  Json(double value) : value_(value) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  static Json array() { return Json(Array{}); }
  static Json object() { return make(Object{}); }
  static Json object(std::initializer_list<Member> members) { return make(Object(members)); }
  static Json from_members(Object members) { return make(std::move(members)); }

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_bool() const { return std::holds_alternative<bool>(value_); }
  bool is_integer() const { return std::holds_alternative<int64_t>(value_); }
  bool is_number() const { return is_integer() || std::holds_alternative<double>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }

  // Each requires the matching is_*().
  bool as_bool() const { return std::get<bool>(value_); }
  int64_t as_integer() const { return std::get<int64_t>(value_); }
  double as_number() const;
  const std::string& as_string() const { return std::get<std::string>(value_); }
  const Array& as_array() const { return std::get<Array>(value_); }
  Array& as_array() { return std::get<Array>(value_); }
  const Object& as_object() const { return std::get<Object>(value_); }
  Object& as_object() { return std::get<Object>(value_); }

  // The member, or nullptr if this is no object or has no such key. Linear in the members.
  const Json* find(std::string_view key) const;
  // Sets or replaces a member of an object.
  void set(std::string_view key, Json value);
  void push(Json value) { as_array().push_back(std::move(value)); }

  // Compact text: no spaces, UTF-8 kept as it is; ill-formed UTF-8 becomes U+FFFD.
  std::string dump() const;

  friend bool operator==(const Json&, const Json&) = default;

 private:
  static Json make(Object members);
  std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> value_;
};

struct JsonLimits {
  uint64_t bytes_max = limits::json_bytes_max;
  int depth_max = limits::json_depth_max;
  uint64_t values_max = limits::json_values_max;
  bool duplicate_keys_refused = false;  // otherwise the last one wins, at the place of the first
};

// `what` names the source in errors: "request body", "config.json".
Result<Json> parse_json(std::string_view text, std::string_view what,
                        const JsonLimits& limits = {});

}  // namespace base
