#include "base/json.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/check.h"

namespace base {
namespace {

constexpr uint32_t large_container = 1024;  // elements

struct ContainerSize {
  uint64_t ordinal;  // in the order in which they open
  uint64_t elements;
};

// The containers of many elements, found by their commas in a glance at the text, so that each gets
// its memory at once: one that grows by doubling leaves holes as large as itself. For text that is
// not JSON the answer is of no use, but never more than its commas.
std::vector<ContainerSize> large_containers(std::string_view text, const JsonLimits& limits) {
  std::vector<ContainerSize> open, found;
  uint64_t opened = 0, commas = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size() && commas < limits.values_max; ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (open.size() >= static_cast<size_t>(limits.depth_max)) break;
      open.push_back({opened++, 1});
    } else if (c == ',' && !open.empty()) {
      ++open.back().elements;
      ++commas;
    } else if ((c == ']' || c == '}') && !open.empty()) {
      if (open.back().elements >= large_container) found.push_back(open.back());
      open.pop_back();
    }
  }
  for (const ContainerSize& unclosed : open) {
    if (unclosed.elements >= large_container) found.push_back(unclosed);
  }
  std::sort(found.begin(), found.end(),
            [](const ContainerSize& a, const ContainerSize& b) { return a.ordinal < b.ordinal; });
  return found;
}

// Builds the tree from nlohmann's events, so that depth and duplicate keys are judged while
// reading and not after a tree of any depth exists.
class TreeBuilder {
 public:
  TreeBuilder(const JsonLimits& limits, std::vector<ContainerSize> large)
      : limits_(limits), large_(std::move(large)) {}

  bool null() { return add(Json()); }
  bool boolean(bool value) { return add(Json(value)); }
  bool number_integer(int64_t value) { return add(Json(value)); }
  bool number_unsigned(uint64_t value) {
    if (value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return add(Json(static_cast<int64_t>(value)));
    }
    return add(Json(static_cast<double>(value)));
  }
  bool number_float(double value, const std::string&) { return add(Json(value)); }
  bool string(std::string& value) { return add(Json(std::move(value))); }
  bool binary(std::vector<uint8_t>&) { return refuse("binary value"); }
  bool start_object(size_t) { return open(Frame{true, {}, {}, {}}); }
  bool start_array(size_t) { return open(Frame{false, {}, {}, {}}); }
  bool key(std::string& key) {
    open_.back().key = std::move(key);
    return count();
  }
  bool end_object() {
    Frame frame = std::move(open_.back());
    open_.pop_back();
    if (!settle_duplicates(frame.members)) return false;
    give_back_slack(frame.members);
    return place(Json::from_members(std::move(frame.members)));
  }
  bool end_array() {
    Frame frame = std::move(open_.back());
    open_.pop_back();
    give_back_slack(frame.elements);
    return place(Json(std::move(frame.elements)));
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) {
    return refuse(fmt::format("not valid JSON at byte {}", position));
  }

  Json take_root() { return std::move(root_); }
  const std::string& reason() const { return reason_; }
  ErrorKind kind() const { return kind_; }

 private:
  struct Frame {
    bool is_object;
    std::string key;
    Json::Object members;
    Json::Array elements;
  };

  bool refuse(std::string reason, ErrorKind kind = ErrorKind::invalid_input) {
    if (reason_.empty()) {
      reason_ = std::move(reason);
      kind_ = kind;
    }
    return false;
  }
  bool open(Frame frame) {
    if (static_cast<int>(open_.size()) >= limits_.depth_max) {
      return refuse(fmt::format("nested deeper than {} levels", limits_.depth_max),
                    ErrorKind::limit_exceeded);
    }
    if (!count()) return false;
    if (next_large_ < large_.size() && large_[next_large_].ordinal == opened_) {
      const uint64_t elements = large_[next_large_++].elements;
      if (frame.is_object) {
        frame.members.reserve(elements);
      } else {
        frame.elements.reserve(elements);
      }
    }
    ++opened_;
    open_.push_back(std::move(frame));
    return true;
  }
  bool add(Json value) { return count() && place(std::move(value)); }
  bool count() {
    if (++values_ <= limits_.values_max) return true;
    return refuse(fmt::format("holds more than {} values", limits_.values_max),
                  ErrorKind::limit_exceeded);
  }
  // A small vector may have grown to almost twice what it holds, and there can be very many of
  // them. A large one got its memory at once.
  template <class T>
  static void give_back_slack(std::vector<T>& finished) {
    if (finished.size() < large_container) finished.shrink_to_fit();
  }
  bool place(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (open_.back().is_object) {
      open_.back().members.emplace_back(std::move(open_.back().key), std::move(value));
    } else {
      open_.back().elements.push_back(std::move(value));
    }
    return true;
  }
  // Finds equal keys by sorting their places; the last value wins at the first one's place.
  bool settle_duplicates(Json::Object& members) {
    std::vector<uint32_t> order(members.size());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return members[a].first < members[b].first; });
    std::vector<bool> dropped;
    for (size_t i = 0; i < order.size();) {
      size_t j = i + 1;
      while (j < order.size() && members[order[j]].first == members[order[i]].first) ++j;
      if (j - i > 1) {
        if (limits_.duplicate_keys_refused) {
          return refuse("the key " + shown_name(members[order[i]].first) + " stands there twice");
        }
        if (dropped.empty()) dropped.resize(members.size());
        members[order[i]].second = std::move(members[order[j - 1]].second);
        for (size_t k = i + 1; k < j; ++k) dropped[order[k]] = true;
      }
      i = j;
    }
    if (!dropped.empty()) {
      size_t kept = 0;
      for (size_t i = 0; i < members.size(); ++i) {
        if (dropped[i]) continue;
        if (kept != i) members[kept] = std::move(members[i]);
        ++kept;
      }
      members.erase(members.begin() + static_cast<std::ptrdiff_t>(kept), members.end());
    }
    return true;
  }

  const JsonLimits& limits_;
  std::vector<ContainerSize> large_;
  size_t next_large_ = 0;
  uint64_t opened_ = 0;
  std::vector<Frame> open_;
  uint64_t values_ = 0;
  Json root_;
  std::string reason_;
  ErrorKind kind_ = ErrorKind::invalid_input;
};

void append_string(std::string& out, const std::string& text) {
  out += nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void append_value(std::string& out, const Json& value) {
  if (value.is_null()) {
    out += "null";
  } else if (value.is_bool()) {
    out += value.as_bool() ? "true" : "false";
  } else if (value.is_integer()) {
    out += std::to_string(value.as_integer());
  } else if (value.is_number()) {
    out += nlohmann::json(value.as_number()).dump();
  } else if (value.is_string()) {
    append_string(out, value.as_string());
  } else if (value.is_array()) {
    out += '[';
    bool first = true;
    for (const Json& element : value.as_array()) {
      if (!first) out += ',';
      first = false;
      append_value(out, element);
    }
    out += ']';
  } else {
    out += '{';
    bool first = true;
    for (const auto& [key, member] : value.as_object()) {
      if (!first) out += ',';
      first = false;
      append_string(out, key);
      out += ':';
      append_value(out, member);
    }
    out += '}';
  }
}

}  // namespace

Json Json::make(Object members) {
  Json json;
  json.value_ = std::move(members);
  return json;
}

double Json::as_number() const {
  if (is_integer()) return static_cast<double>(as_integer());
  return std::get<double>(value_);
}

const Json* Json::find(std::string_view key) const {
  if (!is_object()) return nullptr;
  for (const auto& [name, member] : as_object()) {
    if (name == key) return &member;
  }
  return nullptr;
}

void Json::set(std::string_view key, Json value) {
  CHECK(is_object(), "only an object has members");
  for (auto& [name, member] : as_object()) {
    if (name == key) {
      member = std::move(value);
      return;
    }
  }
  as_object().emplace_back(std::string(key), std::move(value));
}

std::string Json::dump() const {
  std::string out;
  append_value(out, *this);
  return out;
}

Result<Json> parse_json(std::string_view text, std::string_view what, const JsonLimits& limits) {
  if (text.size() > limits.bytes_max) {
    return fail(ErrorKind::limit_exceeded, fmt::format("{} has {} bytes, at most {} are read", what,
                                                       text.size(), limits.bytes_max));
  }
  // The library takes a NUL for the end of the text and would ignore what follows it; RFC 8259 has
  // no place for a raw NUL anywhere.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    return fail(ErrorKind::invalid_input, fmt::format("{}: not valid JSON at byte {}", what, nul));
  }
  TreeBuilder builder(limits, large_containers(text, limits));
  bool ok = false;
  try {
    ok = nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  } catch (const nlohmann::json::exception&) {
    ok = false;
  }
  if (!ok) {
    return fail(builder.kind(),
                fmt::format("{}: {}", what,
                            builder.reason().empty() ? "not valid JSON" : builder.reason()));
  }
  return builder.take_root();
}

}  // namespace base
