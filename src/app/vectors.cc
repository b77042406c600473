// Vectors are one JSON object:
//
//   format      "nautile-vectors"
//   version     1; 2 where one of the members marked with (2) is there
//   origin      text for people: implementation, version, seed, script
//   weights     text: the type of the weights that were computed with
//   model       {name, architecture, layers, hidden, vocab, codes (2)}
//   tolerance   number, may be absent: largest difference of a logit that rounding explains
//   prompts     [{ids: [id…], rows: [ROW…], shown (2): [{at, picture}…]}…]
//     ROW       {position, log_sum, ids: [id…], logits: [number…]}
//   of a model that sees and draws, each may be absent:
//   tolerance_embeds, tolerance_codes (2)   as tolerance: of pictures' rows, of logits of codes
//   pictures (2)  [{file: base64 of a PNG, JPEG or WebP, embeds: [{row, values: [number…]}…]}…]
//   drawings (2)  [{with: [id…], without: [id…], guidance, codes: [code…], rows: [ROW…]}…]
//   grids (2)     [{codes: [code…], step, levels: base64 of RGB}…]
//
// Rules: prompts are not empty and have at least one row each; ids are below vocab, codes below
// model.codes; positions rise and are inside the prompt, those of a drawing among its codes; the
// ids of a row are distinct, as many as its logits, at least one, and its first logit is the
// largest of all but perhaps the last; numbers are finite, and log_sum is at least the largest
// logit. `at` rises inside the prompt and names a picture; a picture has at least one row, rows
// rise, each has model.hidden numbers; the two prompts of a drawing are equally long; levels are
// whole pixels. How many rows a picture has and how many pixels codes become only the model knows.
//
// A folder has expected.json and expected.bin (little-endian f32). expected.json: tensors[name] =
// {dtype "f32", shape, offset, bytes}; prompts[] = {ids, and either logit_positions with logits =
// the name of a tensor of (positions, vocab), or positions[] = {position, top20_ids, top20_logits,
// logsumexp}}; meta.tolerance.recommended_max_abs_logits, meta.oracle. Of a model that sees and
// draws understanding[] takes the place of prompts[], and has `pictures`, the names of those that
// stand where its ids are tokenizer_golden.special_ids["<image_placeholder>"];
// preprocess.pictures[] = {name, file}, vision = {order of names, aligner = a tensor of (pictures,
// rows, hidden)}; generation = {cond_ids, uncond_ids, cfg_weight, greedy_codes,
// cfg_logits_first_8}; decode.grids[] = {codes, u8_hwc = a tensor of u8}.
#include "app/vectors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <unordered_set>

#include "app/places.h"
#include "base/base64.h"

namespace app {
namespace {

using base::ErrorKind;
using base::Json;

constexpr std::string_view format_name = "nautile-vectors";
constexpr int version = 1, version_of_pictures = 2;
constexpr int64_t size_max = 1 << 22;
constexpr int64_t picture_rows_max = 1 << 16;
constexpr int64_t step_max = 1 << 12;  // of pixels
constexpr double guidance_max = 1e3;
constexpr double logit_abs_max = 1e6;
constexpr size_t top_ids = 48;           // of a large vocabulary, kept of a row
constexpr size_t whole_rows_max = 1024;  // vocabularies of which every logit is kept
// What the reference scripts of Janus say in words.
constexpr double janus_tolerance = 5e-4, janus_tolerance_embeds = 2e-4,
                 janus_tolerance_codes = 5e-3;
constexpr double rounding = 1e-3;  // of numbers written with few digits

tl::unexpected<base::Error> bad(std::string_view file, std::string_view field, std::string why) {
  return base::fail(ErrorKind::invalid_input, fmt::format("{}: {}", base::shown_name(file), field),
                    std::move(why), "make the vectors again with nautile verify --write");
}

// Reads members of one object; `file` and `where` stand in errors.
class VectorFields {
 public:
  VectorFields(const Json& object, std::string_view file, std::string where)
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
  base::Result<std::string> bytes(std::string_view key, uint64_t most) const {
    const Json* value = object_.find(key);
    if (value == nullptr || !value->is_string() || value->as_string().size() / 4 * 3 > most + 3) {
      return wrong(key, fmt::format("is missing or no base64 of at most {} bytes", most));
    }
    auto decoded = base::from_base64(value->as_string());
    if (!decoded || decoded->empty()) return wrong(key, "is no base64");
    return *std::move(decoded);
  }
  bool has(std::string_view key) const { return object_.find(key) != nullptr; }
  // A tolerance, which may be absent.
  base::Result<double> tolerance(std::string_view key) const {
    if (!has(key)) return 0.0;
    ASSIGN(const double value, number(key));
    if (value <= 0) return wrong(key, "is not above 0");
    return value;
  }
  base::Result<double> guidance(std::string_view key) const {
    ASSIGN(const double value, number(key));
    if (value < 0 || value > guidance_max) {
      return wrong(key, fmt::format("is not a number from 0 to {}", guidance_max));
    }
    return value;
  }
  // For what stands in the list `key`.
  VectorFields of(const Json& entry, std::string_view key, size_t number) const {
    return VectorFields(entry, file_, fmt::format("{}{} {}: ", where_, key, number));
  }
  tl::unexpected<base::Error> wrong(std::string_view key, std::string why) const {
    return bad(file_, fmt::format("{}key \"{}\"", where_, key), std::move(why));
  }

 private:
  const Json& object_;
  std::string_view file_;
  std::string where_;
};

base::Result<void> check_row(const VectorFields& fields, const VectorRow& row) {
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

// `length`: positions are below it.
base::Result<std::vector<VectorRow>> parse_rows(const VectorFields& fields, size_t length,
                                                int vocab) {
  ASSIGN(const Json::Array* entries, fields.list("rows", length));
  std::vector<VectorRow> rows;
  int64_t next = 0;
  for (const Json& entry : *entries) {
    const VectorFields of_row = fields.of(entry, "row", rows.size());
    VectorRow row;
    ASSIGN(const int64_t position,
           of_row.whole("position", next, static_cast<int64_t>(length) - 1));
    next = position + 1;
    row.position = static_cast<int>(position);
    ASSIGN(row.log_sum, of_row.number("log_sum"));
    ASSIGN(row.ids, of_row.ids("ids", vocab, static_cast<size_t>(vocab)));
    ASSIGN(row.logits, of_row.numbers("logits", row.ids.size()));
    TRY(check_row(of_row, row));
    rows.push_back(std::move(row));
  }
  return rows;
}

base::Result<VectorPrompt> parse_prompt(const VectorFields& fields, int vocab, size_t pictures) {
  VectorPrompt prompt;
  ASSIGN(prompt.ids, fields.ids("ids", vocab, vector_limits::prompt_ids_max));
  ASSIGN(prompt.rows, parse_rows(fields, prompt.ids.size(), vocab));
  if (!fields.has("shown")) return prompt;
  ASSIGN(const Json::Array* shown, fields.list("shown", prompt.ids.size()));
  int64_t next = 0;
  for (const Json& entry : *shown) {
    const VectorFields of_shown = fields.of(entry, "shown", prompt.shown.size());
    ASSIGN(const int64_t at,
           of_shown.whole("at", next, static_cast<int64_t>(prompt.ids.size()) - 1));
    ASSIGN(const int64_t picture, of_shown.whole("picture", 0, static_cast<int64_t>(pictures) - 1));
    next = at + 1;
    prompt.shown.push_back({static_cast<int>(at), static_cast<int>(picture)});
  }
  return prompt;
}

base::Result<VectorPicture> parse_picture(const VectorFields& fields, int hidden) {
  VectorPicture picture;
  ASSIGN(picture.file, fields.bytes("file", vector_limits::picture_bytes_max));
  ASSIGN(const Json::Array* embeds, fields.list("embeds", picture_rows_max));
  int64_t next = 0;
  for (const Json& entry : *embeds) {
    const VectorFields of_embed = fields.of(entry, "row", picture.embeds.size());
    VectorEmbed embed;
    ASSIGN(const int64_t row, of_embed.whole("row", next, picture_rows_max));
    next = row + 1;
    embed.row = static_cast<int>(row);
    ASSIGN(embed.values, of_embed.numbers("values", static_cast<size_t>(hidden)));
    picture.embeds.push_back(std::move(embed));
  }
  return picture;
}

base::Result<VectorDrawing> parse_drawing(const VectorFields& fields, const VectorModel& model) {
  VectorDrawing drawing;
  ASSIGN(drawing.with_text, fields.ids("with", model.vocab, vector_limits::prompt_ids_max));
  ASSIGN(drawing.without_text, fields.ids("without", model.vocab, vector_limits::prompt_ids_max));
  if (drawing.with_text.size() != drawing.without_text.size()) {
    return fields.wrong("without", "is not as long as \"with\"");
  }
  ASSIGN(drawing.guidance, fields.guidance("guidance"));
  ASSIGN(drawing.codes, fields.ids("codes", model.codes, vector_limits::codes_max));
  ASSIGN(drawing.rows, parse_rows(fields, drawing.codes.size(), model.codes));
  return drawing;
}

base::Result<VectorGrid> parse_grid(const VectorFields& fields, int codes) {
  VectorGrid grid;
  ASSIGN(grid.codes, fields.ids("codes", codes, vector_limits::codes_max));
  ASSIGN(const int64_t step, fields.whole("step", 1, step_max));
  grid.step = static_cast<int>(step);
  ASSIGN(grid.levels, fields.bytes("levels", vector_limits::file_bytes_max));
  if (grid.levels.size() % 3 != 0) return fields.wrong("levels", "are no whole pixels");
  return grid;
}

// What stands beside the prompts: for a model that sees and draws.
base::Result<void> parse_pictures(const VectorFields& fields, Vectors& vectors) {
  ASSIGN(vectors.tolerance_embeds, fields.tolerance("tolerance_embeds"));
  ASSIGN(vectors.tolerance_codes, fields.tolerance("tolerance_codes"));
  if (fields.has("pictures")) {
    ASSIGN(const Json::Array* pictures, fields.list("pictures", vector_limits::pictures_max));
    for (const Json& entry : *pictures) {
      ASSIGN(auto picture, parse_picture(fields.of(entry, "picture", vectors.pictures.size()),
                                         vectors.model.hidden));
      vectors.pictures.push_back(std::move(picture));
    }
  }
  if (fields.has("drawings")) {
    ASSIGN(const Json::Array* drawings, fields.list("drawings", vector_limits::drawings_max));
    for (const Json& entry : *drawings) {
      ASSIGN(auto drawing,
             parse_drawing(fields.of(entry, "drawing", vectors.drawings.size()), vectors.model));
      vectors.drawings.push_back(std::move(drawing));
    }
  }
  if (fields.has("grids")) {
    ASSIGN(const Json::Array* grids, fields.list("grids", vector_limits::grids_max));
    for (const Json& entry : *grids) {
      ASSIGN(auto grid,
             parse_grid(fields.of(entry, "grid", vectors.grids.size()), vectors.model.codes));
      vectors.grids.push_back(std::move(grid));
    }
  }
  return {};
}

base::Result<VectorModel> parse_model(const VectorFields& fields) {
  VectorModel model;
  ASSIGN(model.name, fields.text("name"));
  ASSIGN(model.architecture, fields.text("architecture"));
  ASSIGN(const int64_t layers, fields.whole("layers", 1, size_max));
  ASSIGN(const int64_t hidden, fields.whole("hidden", 1, size_max));
  ASSIGN(const int64_t vocab, fields.whole("vocab", 1, size_max));
  model.layers = static_cast<int>(layers);
  model.hidden = static_cast<int>(hidden);
  model.vocab = static_cast<int>(vocab);
  if (fields.has("codes")) {
    ASSIGN(const int64_t codes, fields.whole("codes", 1, size_max));
    model.codes = static_cast<int>(codes);
  }
  return model;
}

}  // namespace

double log_sum_of(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float value : logits) sum += std::exp(value - largest);
  return largest + std::log(sum);
}

namespace {

// The logits of a row, the likeliest ids first: so many of them.
VectorRow row_of(int position, std::span<const float> logits, size_t kept) {
  VectorRow row;
  row.position = position;
  std::vector<int32_t> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  kept = std::min(kept, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
                    [&](int32_t a, int32_t b) {
                      const float left = logits[static_cast<size_t>(a)];
                      const float right = logits[static_cast<size_t>(b)];
                      return left != right ? left > right : a < b;
                    });
  order.resize(kept);
  for (const int32_t id : order) row.logits.push_back(logits[static_cast<size_t>(id)]);
  row.ids = std::move(order);
  row.log_sum = log_sum_of(logits);
  return row;
}

constexpr std::string_view folder_file = "expected.json";

// expected.json's `tensors` and the bytes that they point into.
struct Tensors {
  const Json& all;
  std::string_view binary;
};
struct Tensor {
  std::vector<int32_t> shape;
  std::string_view bytes;

  size_t count() const {
    size_t count = 1;
    for (const int32_t length : shape) count *= static_cast<size_t>(length);
    return count;
  }
};

// The tensor that the member `key` names; of so many dimensions.
base::Result<Tensor> named_tensor(const Tensors& tensors, const VectorFields& fields,
                                  std::string_view key, std::string_view dtype, size_t dimensions) {
  ASSIGN(const std::string name, fields.text(key));
  const Json* found = tensors.all.find(name);
  if (found == nullptr) return fields.wrong(key, "names no tensor");
  const VectorFields of_tensor(*found, folder_file, "tensor " + base::shown_name(name) + ": ");
  ASSIGN(const std::string stated, of_tensor.text("dtype"));
  if (stated != dtype) return of_tensor.wrong("dtype", fmt::format("is not {}", dtype));
  Tensor tensor;
  ASSIGN(tensor.shape, of_tensor.ids("shape", static_cast<int>(size_max), dimensions));
  uint64_t bytes = dtype == "u8" ? 1 : sizeof(float);
  for (const int32_t length : tensor.shape) {
    if (length < 1) return of_tensor.wrong("shape", "has a length of 0");
    // Cut off above what any file has, before it could overflow.
    bytes = std::min<uint64_t>(bytes * static_cast<uint64_t>(length), uint64_t{1} << 40);
  }
  if (tensor.shape.size() != dimensions) {
    return of_tensor.wrong("shape", fmt::format("has not {} dimensions", dimensions));
  }
  ASSIGN(const int64_t offset, of_tensor.whole("offset", 0, int64_t{1} << 40));
  if (static_cast<uint64_t>(offset) > tensors.binary.size() ||
      bytes > tensors.binary.size() - static_cast<uint64_t>(offset)) {
    return of_tensor.wrong("offset", "is past the end of expected.bin");
  }
  tensor.bytes = tensors.binary.substr(static_cast<size_t>(offset), static_cast<size_t>(bytes));
  return tensor;
}

base::Result<std::vector<float>> floats_of(const Tensor& tensor, const VectorFields& fields,
                                           std::string_view key) {
  std::vector<float> values(tensor.count());
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  for (const float value : values) {
    if (!(std::fabs(value) <= logit_abs_max)) {
      return fields.wrong(key, "names a tensor with a number of no sane size");
    }
  }
  return values;
}

base::Result<void> read_whole_rows(const Tensors& tensors, const VectorFields& fields,
                                   VectorPrompt& prompt) {
  ASSIGN(const auto positions,
         fields.ids("logit_positions", static_cast<int>(prompt.ids.size()), prompt.ids.size()));
  ASSIGN(const Tensor tensor, named_tensor(tensors, fields, "logits", "f32", 2));
  if (static_cast<size_t>(tensor.shape[0]) != positions.size()) {
    return fields.wrong("logits", fmt::format("is not [{}, vocabulary]", positions.size()));
  }
  ASSIGN(const std::vector<float> logits, floats_of(tensor, fields, "logits"));
  const auto vocab = static_cast<size_t>(tensor.shape[1]);
  for (size_t i = 0; i < positions.size(); ++i) {
    if (i > 0 && positions[i] <= positions[i - 1]) {
      return fields.wrong("logit_positions", "do not rise");
    }
    prompt.rows.push_back(row_of(positions[i], std::span(logits).subspan(i * vocab, vocab), vocab));
  }
  return {};
}

base::Result<void> read_top_rows(const VectorFields& fields, VectorPrompt& prompt) {
  ASSIGN(const Json::Array* rows, fields.list("positions", prompt.ids.size()));
  for (const Json& entry : *rows) {
    const VectorFields of_row(entry, folder_file, fmt::format("row {}: ", prompt.rows.size()));
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

// ---- a folder of a model that sees and draws

const Json& member(const Json& of, std::string_view key) {
  static const Json none = Json::object();
  const Json* found = of.find(key);
  return found != nullptr && found->is_object() ? *found : none;
}

// A name that cannot lead out of the folder.
bool is_plain_name(const std::string& name) {
  constexpr size_t name_bytes_max = 128;
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= name_bytes_max && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), plain);
}

// The pictures in the order of `vision`, and their names.
base::Result<std::vector<std::string>> read_pictures(const Json& parsed, const Tensors& tensors,
                                                     const PictureFile& read_picture,
                                                     Vectors& vectors) {
  const VectorFields vision(member(parsed, "vision"), folder_file, "vision: ");
  ASSIGN(const Json::Array* order, vision.list("order", vector_limits::pictures_max));
  ASSIGN(const Tensor tensor, named_tensor(tensors, vision, "aligner", "f32", 3));
  if (static_cast<size_t>(tensor.shape[0]) != order->size()) {
    return vision.wrong("aligner", "has another number of pictures than \"order\"");
  }
  ASSIGN(const std::vector<float> values, floats_of(tensor, vision, "aligner"));
  const VectorFields preprocess(member(parsed, "preprocess"), folder_file, "preprocess: ");
  ASSIGN(const Json::Array* files, preprocess.list("pictures", vector_limits::pictures_max));
  const auto rows = static_cast<size_t>(tensor.shape[1]);
  const auto hidden = static_cast<size_t>(tensor.shape[2]);
  std::vector<std::string> names;
  const float* next = values.data();
  uint64_t bytes = 0;
  for (const Json& name : *order) {
    const auto of_name = std::find_if(files->begin(), files->end(), [&](const Json& file) {
      const Json* named = file.find("name");
      return name.is_string() && named != nullptr && *named == name;
    });
    if (of_name == files->end()) return vision.wrong("order", "names no picture of preprocess");
    const VectorFields of_file = preprocess.of(*of_name, "picture", names.size());
    ASSIGN(const std::string file, of_file.text("file"));
    if (!is_plain_name(file)) return of_file.wrong("file", "is no plain file name");
    VectorPicture picture;
    ASSIGN(picture.file, read_picture(file));
    bytes += picture.file.size();
    if (bytes > vector_limits::file_bytes_max) {
      return of_file.wrong("file", fmt::format("is with those before it more than {} bytes",
                                               vector_limits::file_bytes_max));
    }
    for (size_t row = 0; row < rows; ++row, next += hidden) {
      picture.embeds.push_back({static_cast<int>(row), {next, next + hidden}});
    }
    vectors.pictures.push_back(std::move(picture));
    names.push_back(name.as_string());
  }
  return names;
}

// Where the ids of a prompt are the placeholder, one after the other, `rows` for each picture.
base::Result<void> place_pictures(const VectorFields& fields, const Json& entry,
                                  int64_t placeholder, const std::vector<std::string>& names,
                                  size_t rows, VectorPrompt& prompt) {
  const Json* shown = entry.find("pictures");
  if (shown == nullptr || !shown->is_array()) return fields.wrong("pictures", "is missing");
  size_t at = 0;
  for (const Json& name : shown->as_array()) {
    const auto found = std::find_if(names.begin(), names.end(), [&](const std::string& one) {
      return name.is_string() && one == name.as_string();
    });
    if (found == names.end()) return fields.wrong("pictures", "names no picture of vision");
    while (at < prompt.ids.size() && prompt.ids[at] != placeholder) ++at;
    if (at + rows > prompt.ids.size()) {
      return fields.wrong("ids", "have no place for all of the pictures");
    }
    prompt.shown.push_back({static_cast<int>(at), static_cast<int>(found - names.begin())});
    at += rows;
  }
  return {};
}

base::Result<void> read_drawings(const Json& parsed, const Tensors& tensors, Vectors& vectors) {
  const VectorFields fields(member(parsed, "generation"), folder_file, "generation: ");
  VectorDrawing drawing;
  ASSIGN(drawing.with_text, fields.ids("cond_ids", INT32_MAX, vector_limits::prompt_ids_max));
  ASSIGN(drawing.without_text, fields.ids("uncond_ids", INT32_MAX, vector_limits::prompt_ids_max));
  if (drawing.with_text.size() != drawing.without_text.size()) {
    return fields.wrong("uncond_ids", "are not as many as cond_ids");
  }
  ASSIGN(drawing.guidance, fields.guidance("cfg_weight"));
  ASSIGN(const Tensor tensor, named_tensor(tensors, fields, "cfg_logits_first_8", "f32", 2));
  const auto codes = static_cast<size_t>(tensor.shape[1]);
  ASSIGN(drawing.codes,
         fields.ids("greedy_codes", static_cast<int>(codes), vector_limits::codes_max));
  const auto steps = static_cast<size_t>(tensor.shape[0]);
  if (steps > drawing.codes.size()) {
    return fields.wrong("cfg_logits_first_8", "has more rows than there are codes");
  }
  ASSIGN(const auto logits, floats_of(tensor, fields, "cfg_logits_first_8"));
  for (size_t i = 0; i < steps; ++i) {
    drawing.rows.push_back(
        row_of(static_cast<int>(i), std::span(logits).subspan(i * codes, codes), codes));
  }
  vectors.drawings.push_back(std::move(drawing));
  const VectorFields decode(member(parsed, "decode"), folder_file, "decode: ");
  ASSIGN(const Json::Array* grids, decode.list("grids", vector_limits::grids_max));
  for (const Json& entry : *grids) {
    const VectorFields of_grid = decode.of(entry, "grid", vectors.grids.size());
    VectorGrid grid;
    ASSIGN(grid.codes, of_grid.ids("codes", static_cast<int>(codes), vector_limits::codes_max));
    ASSIGN(const Tensor levels, named_tensor(tensors, of_grid, "u8_hwc", "u8", 3));
    if (levels.shape[2] != 3) return of_grid.wrong("u8_hwc", "is not RGB");
    grid.levels = levels.bytes;
    vectors.grids.push_back(std::move(grid));
  }
  return {};
}

base::Result<void> read_janus(const Json& parsed, const Tensors& tensors,
                              const PictureFile& read_picture, Vectors& vectors) {
  vectors.tolerance = janus_tolerance;
  vectors.tolerance_embeds = janus_tolerance_embeds;
  vectors.tolerance_codes = janus_tolerance_codes;
  ASSIGN(const auto names, read_pictures(parsed, tensors, read_picture, vectors));
  const Json& marks = member(member(parsed, "tokenizer_golden"), "special_ids");
  ASSIGN(
      const int64_t placeholder,
      VectorFields(marks, folder_file, "special_ids: ").whole("<image_placeholder>", 0, INT32_MAX));
  const VectorFields fields(parsed, folder_file, "");
  ASSIGN(const Json::Array* prompts, fields.list("understanding", vector_limits::prompts_max));
  for (const Json& entry : *prompts) {
    const VectorFields of_prompt = fields.of(entry, "prompt", vectors.prompts.size());
    VectorPrompt prompt;
    ASSIGN(prompt.ids, of_prompt.ids("ids", INT32_MAX, vector_limits::prompt_ids_max));
    TRY(place_pictures(of_prompt, entry, placeholder, names, vectors.pictures.front().embeds.size(),
                       prompt));
    TRY(read_whole_rows(tensors, of_prompt, prompt));
    vectors.prompts.push_back(std::move(prompt));
  }
  return read_drawings(parsed, tensors, vectors);
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
  const VectorFields fields(parsed, file, "");
  ASSIGN(const std::string format, fields.text("format"));
  if (format != format_name) return fields.wrong("format", "is not \"nautile-vectors\"");
  ASSIGN(const int64_t stated, fields.whole("version", 1, INT32_MAX));
  if (stated > version_of_pictures) {
    return fields.wrong("version", fmt::format("is {}, {} is known", stated, version_of_pictures));
  }
  Vectors vectors;
  ASSIGN(vectors.origin, fields.text("origin"));
  ASSIGN(vectors.weights, fields.text("weights"));
  const Json* model = parsed.find("model");
  if (model == nullptr || !model->is_object()) return fields.wrong("model", "is missing");
  ASSIGN(vectors.model, parse_model(VectorFields(*model, file, "model: ")));
  ASSIGN(vectors.tolerance, fields.tolerance("tolerance"));
  if (stated >= version_of_pictures) TRY(parse_pictures(fields, vectors));
  ASSIGN(const Json::Array* prompts, fields.list("prompts", vector_limits::prompts_max));
  for (const Json& prompt : *prompts) {
    ASSIGN(auto read, parse_prompt(fields.of(prompt, "prompt", vectors.prompts.size()),
                                   vectors.model.vocab, vectors.pictures.size()));
    vectors.prompts.push_back(std::move(read));
  }
  return vectors;
}

namespace {

template <class Values>
Json list_of(const Values& values) {
  Json out = Json::array();
  for (const auto value : values) out.push(value);
  return out;
}

Json dump_rows(const std::vector<VectorRow>& rows) {
  Json out = Json::array();
  for (const VectorRow& row : rows) {
    out.push(Json::object({{"position", row.position},
                           {"log_sum", row.log_sum},
                           {"ids", list_of(row.ids)},
                           {"logits", list_of(row.logits)}}));
  }
  return out;
}

Json dump_prompts(const std::vector<VectorPrompt>& prompts) {
  Json out = Json::array();
  for (const VectorPrompt& prompt : prompts) {
    Json one = Json::object({{"ids", list_of(prompt.ids)}, {"rows", dump_rows(prompt.rows)}});
    Json shown = Json::array();
    for (const VectorShown& place : prompt.shown) {
      shown.push(Json::object({{"at", place.at}, {"picture", place.picture}}));
    }
    if (!prompt.shown.empty()) one.set("shown", std::move(shown));
    out.push(std::move(one));
  }
  return out;
}

Json dump_pictures(const std::vector<VectorPicture>& pictures) {
  Json out = Json::array();
  for (const VectorPicture& picture : pictures) {
    Json embeds = Json::array();
    for (const VectorEmbed& embed : picture.embeds) {
      embeds.push(Json::object({{"row", embed.row}, {"values", list_of(embed.values)}}));
    }
    out.push(Json::object({{"file", base::base64(picture.file)}, {"embeds", std::move(embeds)}}));
  }
  return out;
}

void dump_drawn(const Vectors& vectors, Json& object) {
  Json drawings = Json::array(), grids = Json::array();
  for (const VectorDrawing& drawing : vectors.drawings) {
    drawings.push(Json::object({{"with", list_of(drawing.with_text)},
                                {"without", list_of(drawing.without_text)},
                                {"guidance", drawing.guidance},
                                {"codes", list_of(drawing.codes)},
                                {"rows", dump_rows(drawing.rows)}}));
  }
  for (const VectorGrid& grid : vectors.grids) {
    grids.push(Json::object({{"codes", list_of(grid.codes)},
                             {"step", grid.step},
                             {"levels", base::base64(grid.levels)}}));
  }
  if (!vectors.drawings.empty()) object.set("drawings", std::move(drawings));
  if (!vectors.grids.empty()) object.set("grids", std::move(grids));
}

}  // namespace

std::string dump_vectors(const Vectors& vectors) {
  Json model = Json::object({{"name", vectors.model.name},
                             {"architecture", vectors.model.architecture},
                             {"layers", vectors.model.layers},
                             {"hidden", vectors.model.hidden},
                             {"vocab", vectors.model.vocab}});
  if (vectors.model.codes > 0) model.set("codes", vectors.model.codes);
  Json object = Json::object({{"format", format_name},
                              {"version", vectors.of_pictures() ? version_of_pictures : version},
                              {"origin", vectors.origin},
                              {"weights", vectors.weights},
                              {"model", std::move(model)}});
  const std::pair<const char*, double> tolerances[] = {
      {"tolerance", vectors.tolerance},
      {"tolerance_embeds", vectors.tolerance_embeds},
      {"tolerance_codes", vectors.tolerance_codes}};
  for (const auto& [key, value] : tolerances) {
    if (value > 0) object.set(key, value);
  }
  object.set("prompts", dump_prompts(vectors.prompts));
  if (!vectors.pictures.empty()) object.set("pictures", dump_pictures(vectors.pictures));
  dump_drawn(vectors, object);
  return object.dump() + "\n";
}

VectorRow kept_row(int position, std::span<const float> logits, int32_t next) {
  VectorRow row =
      row_of(position, logits, logits.size() <= whole_rows_max ? logits.size() : top_ids);
  if (next >= 0 && std::find(row.ids.begin(), row.ids.end(), next) == row.ids.end()) {
    row.ids.push_back(next);
    row.logits.push_back(logits[static_cast<size_t>(next)]);
  }
  return row;
}

base::Result<Vectors> parse_vector_folder(std::string_view json, std::string_view binary,
                                          const PictureFile& read_picture) {
  ASSIGN(const Json parsed, parse_object(json, folder_file));
  Vectors vectors;
  vectors.weights = "F32";
  const Json& meta = member(parsed, "meta");
  if (const Json* oracle = meta.find("oracle"); oracle != nullptr && oracle->is_string()) {
    vectors.origin = oracle->as_string();
  }
  if (const Json* most = member(meta, "tolerance").find("recommended_max_abs_logits");
      most != nullptr && most->is_number() && most->as_number() > 0) {
    vectors.tolerance = most->as_number();
  }
  const Tensors tensors{member(parsed, "tensors"), binary};
  if (parsed.find("understanding") != nullptr) {
    TRY(read_janus(parsed, tensors, read_picture, vectors));
    return vectors;
  }
  const VectorFields fields(parsed, folder_file, "");
  ASSIGN(const Json::Array* prompts, fields.list("prompts", vector_limits::prompts_max));
  for (const Json& entry : *prompts) {
    const VectorFields of_prompt = fields.of(entry, "prompt", vectors.prompts.size());
    VectorPrompt prompt;
    ASSIGN(prompt.ids, of_prompt.ids("ids", INT32_MAX, vector_limits::prompt_ids_max));
    if (of_prompt.has("logit_positions")) {
      TRY(read_whole_rows(tensors, of_prompt, prompt));
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
  return parse_vector_folder(json, binary, [&](const std::string& name) {
    return read_file(folder + "/" + name, vector_limits::picture_bytes_max);
  });
}

}  // namespace app
