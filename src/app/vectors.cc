// Vectors are one JSON object:
//
//   format      "nautile-vectors"
//   version     1
//   origin      text for people: implementation, version, seed, script
//   weights     text: the type of the weights that were computed with
//   model       {name, architecture, layers, hidden, vocab}
//   tolerance   number, may be absent: largest difference of a logit that rounding explains
//   prompts     [{ids: [id…], rows: [{position, log_sum, ids: [id…], logits: [number…]}…]}…]
//
// Rules: prompts are not empty and have at least one row each; ids are below vocab; positions rise
// and are inside the prompt; the ids of a row are distinct, as many as its logits, at least one,
// and its first logit is the largest of all but perhaps the last; numbers are finite, and log_sum
// is at least the largest logit.
//
// A folder has expected.json and expected.bin (little-endian f32). expected.json: tensors[name] =
// {dtype "f32", shape, offset, bytes}; prompts[] = {ids, and either logit_positions with logits =
// the name of a tensor of (positions, vocab), or positions[] = {position, top20_ids, top20_logits,
// logsumexp}}; meta.tolerance.recommended_max_abs_logits, meta.oracle.
#include "app/vectors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <unordered_set>

#include "app/places.h"

namespace app {
namespace {

using base::ErrorKind;
using base::Json;

constexpr std::string_view format_name = "nautile-vectors";
constexpr int version = 1;
constexpr int64_t size_max = 1 << 22;
constexpr double logit_abs_max = 1e6;
constexpr double rounding = 1e-3;  // of numbers written with few digits

tl::unexpected<base::Error> bad(std::string_view file, std::string_view field, std::string why) {
  return base::fail(ErrorKind::invalid_input, fmt::format("{}: {}", base::shown_name(file), field),
                    std::move(why), "make the vectors again with nautile verify --write");
}

// Reads members of one object; `file` and `where` stand in errors.
class Fields {
 public:
  Fields(const Json& object, std::string_view file, std::string where)
      : object_(object), file_(file), where_(std::move(where)) {}

  base::Result<std::string> text(std::string_view key) const {
    const Json* value = object_.find(key);
    if (value == nullptr || !value->is_string()) return wrong(key, "is missing or no text");
    return value->as_string();
  }
  base::Result<int64_t> whole(std::string_view key, int64_t least, int64_t most) const {
    const Json* value = object_.find(key);
    if (value == nullptr || !value->is_integer() || value->as_integer() < least ||
        value->as_integer() > most) {
      return wrong(key, fmt::format("is missing or not a whole number from {} to {}", least, most));
    }
    return value->as_integer();
  }
  base::Result<double> number(std::string_view key) const {
    const Json* value = object_.find(key);
    if (value == nullptr || !value->is_number() ||
        !(std::fabs(value->as_number()) <= logit_abs_max)) {
      return wrong(key, "is missing or no number of a sane size");
    }
    return value->as_number();
  }
  base::Result<const Json::Array*> list(std::string_view key, size_t most) const {
    const Json* value = object_.find(key);
    if (value == nullptr || !value->is_array() || value->as_array().empty() ||
        value->as_array().size() > most) {
      return wrong(key, fmt::format("is missing or no list of 1 to {} entries", most));
    }
    return &value->as_array();
  }
  base::Result<std::vector<int32_t>> ids(std::string_view key, int vocab, size_t most) const {
    ASSIGN(const Json::Array* entries, list(key, most));
    std::vector<int32_t> ids;
    ids.reserve(entries->size());
    for (const Json& id : *entries) {
      if (!id.is_integer() || id.as_integer() < 0 || id.as_integer() >= vocab) {
        return wrong(key, fmt::format("entry {} is no id below {}", ids.size(), vocab));
      }
      ids.push_back(static_cast<int32_t>(id.as_integer()));
    }
    return ids;
  }
  base::Result<std::vector<double>> numbers(std::string_view key, size_t count) const {
    ASSIGN(const Json::Array* entries, list(key, count));
    std::vector<double> numbers;
    for (const Json& entry : *entries) {
      if (!entry.is_number() || !(std::fabs(entry.as_number()) <= logit_abs_max)) {
        return wrong(key, fmt::format("entry {} is no number of a sane size", numbers.size()));
      }
      numbers.push_back(entry.as_number());
    }
    if (numbers.size() != count) {
      return wrong(key, fmt::format("has {} entries, {} were expected", numbers.size(), count));
    }
    return numbers;
  }
  tl::unexpected<base::Error> wrong(std::string_view key, std::string why) const {
    return bad(file_, fmt::format("{}key \"{}\"", where_, key), std::move(why));
  }

 private:
  const Json& object_;
  std::string_view file_;
  std::string where_;
};

base::Result<void> check_row(const Fields& fields, const VectorRow& row) {
  const std::unordered_set<int32_t> distinct(row.ids.begin(), row.ids.end());
  if (distinct.size() != row.ids.size()) return fields.wrong("ids", "names an id twice");
  const auto most = std::max_element(row.logits.begin(), row.logits.end());
  if (*most > row.logits.front() + rounding) {
    return fields.wrong("logits", "does not begin with the largest");
  }
  if (row.log_sum < *most - rounding) {
    return fields.wrong("log_sum", "is less than the largest logit");
  }
  return {};
}

base::Result<VectorPrompt> parse_prompt(const Json& json, std::string_view file, size_t number,
                                        int vocab) {
  const Fields fields(json, file, fmt::format("prompt {}: ", number));
  VectorPrompt prompt;
  ASSIGN(prompt.ids, fields.ids("ids", vocab, vector_limits::prompt_ids_max));
  const auto length = static_cast<int64_t>(prompt.ids.size());
  ASSIGN(const Json::Array* rows, fields.list("rows", prompt.ids.size()));
  int64_t next = 0;
  for (const Json& entry : *rows) {
    const Fields of_row(entry, file,
                        fmt::format("prompt {}, row {}: ", number, prompt.rows.size()));
    VectorRow row;
    ASSIGN(const int64_t position, of_row.whole("position", next, length - 1));
    next = position + 1;
    row.position = static_cast<int>(position);
    ASSIGN(row.log_sum, of_row.number("log_sum"));
    ASSIGN(row.ids, of_row.ids("ids", vocab, static_cast<size_t>(vocab)));
    ASSIGN(row.logits, of_row.numbers("logits", row.ids.size()));
    TRY(check_row(of_row, row));
    prompt.rows.push_back(std::move(row));
  }
  return prompt;
}

// A whole row of logits, the likeliest ids first.
VectorRow row_of(int position, std::span<const float> logits) {
  VectorRow row;
  row.position = position;
  std::vector<int32_t> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  const double largest = logits[static_cast<size_t>(order.front())];
  double sum = 0;
  for (const int32_t id : order) {
    row.ids.push_back(id);
    row.logits.push_back(logits[static_cast<size_t>(id)]);
    sum += std::exp(row.logits.back() - largest);
  }
  row.log_sum = largest + std::log(sum);
  return row;
}

constexpr std::string_view folder_file = "expected.json";

base::Result<void> read_whole_rows(const Json& tensors, std::string_view binary,
                                   const Fields& fields, VectorPrompt& prompt) {
  ASSIGN(const std::string name, fields.text("logits"));
  ASSIGN(const auto positions,
         fields.ids("logit_positions", static_cast<int>(prompt.ids.size()), prompt.ids.size()));
  const Json* tensor = tensors.find(name);
  if (tensor == nullptr) return fields.wrong("logits", "names no tensor");
  const Fields of_tensor(*tensor, folder_file, "tensor " + base::shown_name(name) + ": ");
  ASSIGN(const std::string dtype, of_tensor.text("dtype"));
  if (dtype != "f32") return of_tensor.wrong("dtype", "is not f32");
  ASSIGN(const auto shape, of_tensor.ids("shape", static_cast<int>(size_max), 2));
  const auto rows = positions.size();
  if (shape.size() != 2 || static_cast<size_t>(shape[0]) != rows || shape[1] < 1) {
    return of_tensor.wrong("shape", fmt::format("is not [{}, vocabulary]", rows));
  }
  const auto vocab = static_cast<size_t>(shape[1]);
  ASSIGN(const int64_t offset, of_tensor.whole("offset", 0, int64_t{1} << 40));
  const uint64_t bytes = rows * vocab * sizeof(float);
  if (static_cast<uint64_t>(offset) > binary.size() ||
      bytes > binary.size() - static_cast<uint64_t>(offset)) {
    return of_tensor.wrong("offset", "is past the end of expected.bin");
  }
  std::vector<float> logits(vocab);
  for (size_t i = 0; i < rows; ++i) {
    std::memcpy(logits.data(), binary.data() + offset + i * vocab * sizeof(float),
                vocab * sizeof(float));
    for (const float value : logits) {
      if (!(std::fabs(value) <= logit_abs_max)) {
        return of_tensor.wrong("offset", "holds a logit of no sane size");
      }
    }
    if (i > 0 && positions[i] <= positions[i - 1]) {
      return fields.wrong("logit_positions", "do not rise");
    }
    prompt.rows.push_back(row_of(positions[i], logits));
  }
  return {};
}

base::Result<void> read_top_rows(const Fields& fields, VectorPrompt& prompt) {
  ASSIGN(const Json::Array* rows, fields.list("positions", prompt.ids.size()));
  for (const Json& entry : *rows) {
    const Fields of_row(entry, folder_file, fmt::format("row {}: ", prompt.rows.size()));
    const int64_t least = prompt.rows.empty() ? 0 : prompt.rows.back().position + 1;
    VectorRow row;
    ASSIGN(const int64_t position,
           of_row.whole("position", least, static_cast<int64_t>(prompt.ids.size()) - 1));
    row.position = static_cast<int>(position);
    ASSIGN(row.log_sum, of_row.number("logsumexp"));
    ASSIGN(row.ids, of_row.ids("top20_ids", static_cast<int>(size_max), 20));
    ASSIGN(row.logits, of_row.numbers("top20_logits", row.ids.size()));
    TRY(check_row(of_row, row));
    prompt.rows.push_back(std::move(row));
  }
  return {};
}

base::Result<Json> parse_object(std::string_view json, std::string_view file) {
  base::JsonLimits limits;
  limits.bytes_max = vector_limits::file_bytes_max;
  limits.values_max = 8'000'000;
  ASSIGN(Json parsed, base::parse_json(json, file, limits));
  if (!parsed.is_object()) return bad(file, "the file", "is not a JSON object");
  return parsed;
}

}  // namespace

base::Result<Vectors> parse_vectors(std::string_view json, std::string_view file) {
  ASSIGN(const Json parsed, parse_object(json, file));
  const Fields fields(parsed, file, "");
  ASSIGN(const std::string format, fields.text("format"));
  if (format != format_name) return fields.wrong("format", "is not \"nautile-vectors\"");
  ASSIGN(const int64_t stated, fields.whole("version", 1, INT32_MAX));
  if (stated != version) {
    return fields.wrong("version", fmt::format("is {}, {} is known", stated, version));
  }
  Vectors vectors;
  ASSIGN(vectors.origin, fields.text("origin"));
  ASSIGN(vectors.weights, fields.text("weights"));
  const Json* model = parsed.find("model");
  if (model == nullptr || !model->is_object()) return fields.wrong("model", "is missing");
  const Fields of_model(*model, file, "model: ");
  ASSIGN(vectors.model.name, of_model.text("name"));
  ASSIGN(vectors.model.architecture, of_model.text("architecture"));
  ASSIGN(const int64_t layers, of_model.whole("layers", 1, size_max));
  ASSIGN(const int64_t hidden, of_model.whole("hidden", 1, size_max));
  ASSIGN(const int64_t vocab, of_model.whole("vocab", 1, size_max));
  vectors.model.layers = static_cast<int>(layers);
  vectors.model.hidden = static_cast<int>(hidden);
  vectors.model.vocab = static_cast<int>(vocab);
  if (parsed.find("tolerance") != nullptr) {
    ASSIGN(vectors.tolerance, fields.number("tolerance"));
    if (vectors.tolerance <= 0) return fields.wrong("tolerance", "is not above 0");
  }
  ASSIGN(const Json::Array* prompts, fields.list("prompts", vector_limits::prompts_max));
  for (const Json& prompt : *prompts) {
    ASSIGN(auto read, parse_prompt(prompt, file, vectors.prompts.size(), vectors.model.vocab));
    vectors.prompts.push_back(std::move(read));
  }
  return vectors;
}

std::string dump_vectors(const Vectors& vectors) {
  const auto list = [](const auto& values) {
    Json out = Json::array();
    for (const auto value : values) out.push(value);
    return out;
  };
  Json prompts = Json::array();
  for (const VectorPrompt& prompt : vectors.prompts) {
    Json rows = Json::array();
    for (const VectorRow& row : prompt.rows) {
      rows.push(Json::object({{"position", row.position},
                              {"log_sum", row.log_sum},
                              {"ids", list(row.ids)},
                              {"logits", list(row.logits)}}));
    }
    prompts.push(Json::object({{"ids", list(prompt.ids)}, {"rows", std::move(rows)}}));
  }
  Json object = Json::object({{"format", format_name},
                              {"version", version},
                              {"origin", vectors.origin},
                              {"weights", vectors.weights},
                              {"model", Json::object({{"name", vectors.model.name},
                                                      {"architecture", vectors.model.architecture},
                                                      {"layers", vectors.model.layers},
                                                      {"hidden", vectors.model.hidden},
                                                      {"vocab", vectors.model.vocab}})}});
  if (vectors.tolerance > 0) object.set("tolerance", vectors.tolerance);
  object.set("prompts", std::move(prompts));
  return object.dump() + "\n";
}

base::Result<Vectors> parse_vector_folder(std::string_view json, std::string_view binary) {
  ASSIGN(const Json parsed, parse_object(json, folder_file));
  Vectors vectors;
  vectors.weights = "F32";
  const Json none = Json::object();
  const Json* meta = parsed.find("meta");
  if (meta == nullptr || !meta->is_object()) meta = &none;
  if (const Json* oracle = meta->find("oracle"); oracle != nullptr && oracle->is_string()) {
    vectors.origin = oracle->as_string();
  }
  if (const Json* tolerance = meta->find("tolerance"); tolerance != nullptr) {
    const Json* most = tolerance->find("recommended_max_abs_logits");
    if (most != nullptr && most->is_number() && most->as_number() > 0) {
      vectors.tolerance = most->as_number();
    }
  }
  const Json* tensors = parsed.find("tensors");
  if (tensors == nullptr || !tensors->is_object()) tensors = &none;
  const Fields fields(parsed, folder_file, "");
  ASSIGN(const Json::Array* prompts, fields.list("prompts", vector_limits::prompts_max));
  for (const Json& entry : *prompts) {
    const Fields of_prompt(entry, folder_file, fmt::format("prompt {}: ", vectors.prompts.size()));
    VectorPrompt prompt;
    ASSIGN(prompt.ids, of_prompt.ids("ids", INT32_MAX, vector_limits::prompt_ids_max));
    if (entry.find("logit_positions") != nullptr) {
      TRY(read_whole_rows(*tensors, binary, of_prompt, prompt));
    } else {
      TRY(read_top_rows(of_prompt, prompt));
    }
    vectors.prompts.push_back(std::move(prompt));
  }
  return vectors;
}

base::Result<Vectors> read_vector_folder(const std::string& folder) {
  ASSIGN(const std::string json,
         read_file(folder + "/expected.json", vector_limits::file_bytes_max));
  ASSIGN(const std::string binary,
         read_file(folder + "/expected.bin", vector_limits::file_bytes_max));
  return parse_vector_folder(json, binary);
}

}  // namespace app
