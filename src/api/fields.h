// Fields: reads one JSON object of a request, field by field, with the type and range of each.
// The first fault is kept and named by its path; reading goes on harmlessly after it. What was
// never asked for is found by finish(): an unknown field is refused by name, so that no client
// believes that something was honoured which nobody here knows.
//
// null counts as absent: clients write out optional fields that way.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/http.h"
#include "base/json.h"

namespace api {

class Fields {
 public:
  // `path` is "" for the body itself, "messages[3]" for what is inside. `json` outlives this.
  Fields(const base::Json& json, std::string path);

  bool has(std::string_view key);
  std::optional<double> number(std::string_view key, double least, double most);
  std::optional<int64_t> integer(std::string_view key, int64_t least, int64_t most);
  std::optional<bool> boolean(std::string_view key);
  // nullptr: absent, or a fault was noted. Views into the JSON that was given.
  const std::string* text(std::string_view key, size_t bytes_max);
  const base::Json::Array* array(std::string_view key, size_t count_max);
  const base::Json* object(std::string_view key);
  const base::Json* any(std::string_view key);
  // One of `words`, as its index.
  std::optional<int> word(std::string_view key, std::initializer_list<std::string_view> words);

  void require(std::string_view key);  // notes a fault if it is absent
  void ignore(std::initializer_list<std::string_view> keys);
  // Known fields of the API that this server cannot honour yet: refused when present, unless the
  // value asks for nothing (false, empty array, object or string).
  void unsupported(std::initializer_list<std::string_view> keys);

  // Notes a fault of the caller's own finding, unless there is one already.
  void fault(int status, std::string_view code, std::string_view key, std::string message);
  void fault(ApiError error);
  bool ok() const { return !error_; }
  std::string path_of(std::string_view key) const;

  // The first fault, or the first unknown field, or nothing.
  std::optional<ApiError> finish();

 private:
  const base::Json* take(std::string_view key);
  void wrong_type(std::string_view key, std::string_view wanted);

  const base::Json* json_;
  std::string path_;
  std::vector<bool> used_;
  std::optional<ApiError> error_;
};

}  // namespace api
