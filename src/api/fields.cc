#include "api/fields.h"

#include <cmath>

namespace api {

Fields::Fields(const base::Json& json, std::string path) : json_(&json), path_(std::move(path)) {
  if (!json.is_object()) {
    fault(400, "invalid_type", "",
          (path_.empty() ? std::string("the body") : path_) + " must be a JSON object");
  } else {
    used_.resize(json.as_object().size());
  }
}

std::string Fields::path_of(std::string_view key) const {
  if (path_.empty()) return std::string(key);
  if (key.empty()) return path_;
  return path_ + "." + std::string(key);
}

const base::Json* Fields::take(std::string_view key) {
  if (!json_->is_object()) return nullptr;
  const base::Json::Object& members = json_->as_object();
  for (size_t i = 0; i < members.size(); ++i) {
    if (members[i].first != key) continue;
    used_[i] = true;
    return members[i].second.is_null() ? nullptr : &members[i].second;
  }
  return nullptr;
}

void Fields::fault(ApiError error) {
  if (!error_) error_ = std::move(error);
}

void Fields::fault(int status, std::string_view code, std::string_view key, std::string message) {
  ApiError error;
  error.status = status;
  error.code = code;
  error.param = path_of(key);
  error.message = std::move(message);
  fault(std::move(error));
}

void Fields::wrong_type(std::string_view key, std::string_view wanted) {
  fault(400, "invalid_type", key, fmt::format("{} must be {}", path_of(key), wanted));
}

bool Fields::has(std::string_view key) { return take(key) != nullptr; }

const base::Json* Fields::any(std::string_view key) { return take(key); }

std::optional<double> Fields::number(std::string_view key, double least, double most) {
  const base::Json* value = take(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    wrong_type(key, "a number");
    return std::nullopt;
  }
  const double number = value->as_number();
  if (!(number >= least && number <= most)) {
    fault(422, "invalid_value", key,
          fmt::format("{} must be from {} to {}", path_of(key), least, most));
    return std::nullopt;
  }
  return number;
}

std::optional<int64_t> Fields::integer(std::string_view key, int64_t least, int64_t most) {
  const base::Json* value = take(key);
  if (value == nullptr) return std::nullopt;
  // 4.0 is the integer 4: several languages write every number with a fraction.
  const bool whole = value->is_integer() ||
                     (value->is_number() && std::trunc(value->as_number()) == value->as_number());
  if (!whole) {
    wrong_type(key, "an integer");
    return std::nullopt;
  }
  const double number = value->as_number();
  if (value->is_integer() ? (value->as_integer() < least || value->as_integer() > most)
                          : !(std::fabs(number) < 9e15 && number >= static_cast<double>(least) &&
                              number <= static_cast<double>(most))) {
    fault(422, "invalid_value", key,
          fmt::format("{} must be from {} to {}", path_of(key), least, most));
    return std::nullopt;
  }
  return value->is_integer() ? value->as_integer() : static_cast<int64_t>(number);
}

std::optional<bool> Fields::boolean(std::string_view key) {
  const base::Json* value = take(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_bool()) {
    wrong_type(key, "true or false");
    return std::nullopt;
  }
  return value->as_bool();
}

const std::string* Fields::text(std::string_view key, size_t bytes_max) {
  const base::Json* value = take(key);
  if (value == nullptr) return nullptr;
  if (!value->is_string()) {
    wrong_type(key, "a string");
    return nullptr;
  }
  if (value->as_string().size() > bytes_max) {
    fault(422, "invalid_value", key,
          fmt::format("{} has {} bytes, at most {} are taken", path_of(key),
                      value->as_string().size(), bytes_max));
    return nullptr;
  }
  return &value->as_string();
}

const base::Json::Array* Fields::array(std::string_view key, size_t count_max) {
  const base::Json* value = take(key);
  if (value == nullptr) return nullptr;
  if (!value->is_array()) {
    wrong_type(key, "an array");
    return nullptr;
  }
  if (value->as_array().size() > count_max) {
    fault(422, "invalid_value", key,
          fmt::format("{} has {} elements, at most {} are taken", path_of(key),
                      value->as_array().size(), count_max));
    return nullptr;
  }
  return &value->as_array();
}

const base::Json* Fields::object(std::string_view key) {
  const base::Json* value = take(key);
  if (value == nullptr) return nullptr;
  if (!value->is_object()) {
    wrong_type(key, "an object");
    return nullptr;
  }
  return value;
}

std::optional<int> Fields::word(std::string_view key,
                                std::initializer_list<std::string_view> words) {
  const base::Json* value = take(key);
  if (value == nullptr) return std::nullopt;
  int index = 0;
  std::string listed;
  for (std::string_view word : words) {
    if (value->is_string() && value->as_string() == word) return index;
    listed += (index == 0 ? "" : ", ") + std::string(word);
    ++index;
  }
  fault(value->is_string() ? 422 : 400, "invalid_value", key,
        path_of(key) + " must be one of: " + listed);
  return std::nullopt;
}

void Fields::require(std::string_view key) {
  if (!has(key)) fault(400, "missing_field", key, path_of(key) + " is missing");
}

void Fields::ignore(std::initializer_list<std::string_view> keys) {
  for (std::string_view key : keys) take(key);
}

void Fields::unsupported(std::initializer_list<std::string_view> keys) {
  for (std::string_view key : keys) {
    const base::Json* value = take(key);
    if (value == nullptr) continue;
    const bool asks_nothing = (value->is_bool() && !value->as_bool()) ||
                              (value->is_array() && value->as_array().empty()) ||
                              (value->is_object() && value->as_object().empty()) ||
                              (value->is_string() && value->as_string().empty());
    if (asks_nothing) continue;
    fault(400, "unsupported_field", key,
          path_of(key) + " is not supported by this server yet: leave it out");
  }
}

std::optional<ApiError> Fields::finish() {
  if (error_) return error_;
  for (size_t i = 0; i < used_.size(); ++i) {
    if (used_[i]) continue;
    const std::string& key = json_->as_object()[i].first;
    std::string name = key.substr(0, 61);
    if (key.size() > 64) name.append("...");
    ApiError error;
    error.code = "unknown_field";
    error.param = path_of(key.size() > 64 ? name : key);
    error.message = fmt::format("there is no field {} in {}", base::shown_name(key),
                                path_.empty() ? "this request" : path_);
    return error;
  }
  return std::nullopt;
}

}  // namespace api
