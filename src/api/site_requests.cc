// Parsing of POST /site/generations and /site/measure.
#include <algorithm>
#include <limits>

#include "api/fields.h"
#include "api/requests.h"
#include "api/site.h"

namespace api {
namespace {

constexpr size_t path_nodes_max = 4'000;
constexpr size_t system_bytes_max = 64 * 1024;

std::string read_id(Fields& fields, std::string_view key) {
  fields.require(key);
  const std::string* id = fields.text(key, 64);
  if (id == nullptr) return "";
  if (!is_site_id(*id)) {
    fields.fault(422, "invalid_value", key,
                 fields.path_of(key) + " must be 16 to 64 lower-case hexadecimal digits");
  }
  return *id;
}

// What is too much for this server, told from what is malformed: the page says it with the limit.
ApiError too_much(std::string_view reason, std::string message, int64_t bytes_max) {
  ApiError error;
  error.status = 413;
  error.code = "request_too_large";
  error.reason = reason;
  error.message = std::move(message);
  if (bytes_max > 0) error.extra = {{"bytes_max", bytes_max}};
  return error;
}

void check_size(Fields& fields, const base::Json& node, size_t bytes_max) {
  const base::Json* content = node.find("content");
  if (content == nullptr || !content->is_string()) return;
  const size_t bytes = content->as_string().size();
  if (bytes <= bytes_max) return;
  fields.fault(too_much(
      "size", fmt::format("a message has {} bytes, at most {} are taken", bytes, bytes_max),
      static_cast<int64_t>(bytes_max)));
}

// [{"id"}] of a question.
void read_pictures(Fields& node, std::vector<chat::NodePicture>& out) {
  const base::Json::Array* pictures = node.array("pictures", engine::pictures_seen_max);
  for (size_t i = 0; pictures != nullptr && i < pictures->size(); ++i) {
    Fields inner((*pictures)[i], fmt::format("{}[{}]", node.path_of("pictures"), i));
    out.push_back({read_id(inner, "id"), nullptr});
    if (auto error = inner.finish()) return node.fault(std::move(*error));
  }
}

// {"side","pictures":[{"id"|null,"seed"}]} of an answer.
void read_drawing(Fields& node, std::optional<chat::Drawing>& out) {
  const base::Json* given = node.object("drawing");
  if (given == nullptr) return;
  chat::Drawing drawing;
  Fields fields(*given, node.path_of("drawing"));
  drawing.side = static_cast<int>(fields.integer("side", 0, 16'384).value_or(0));
  const base::Json::Array* pictures = fields.array("pictures", engine::pictures_drawn_max);
  for (size_t i = 0; pictures != nullptr && i < pictures->size(); ++i) {
    Fields inner((*pictures)[i], fmt::format("{}[{}]", fields.path_of("pictures"), i));
    drawing.done.push_back({inner.has("id") ? read_id(inner, "id") : "", nullptr});
    const auto seed = inner.integer("seed", 0, std::numeric_limits<int64_t>::max());
    drawing.seeds.push_back(static_cast<uint64_t>(seed.value_or(0)));
    if (auto error = inner.finish()) return node.fault(std::move(*error));
  }
  if (auto error = fields.finish()) return node.fault(std::move(*error));
  drawing.count = static_cast<int>(drawing.done.size());
  out = std::move(drawing);
}

void read_draw_wish(Fields& fields, std::optional<DrawWish>& out) {
  const base::Json* given = fields.object("draw");
  if (given == nullptr) return;
  DrawWish wish;
  Fields inner(*given, "draw");
  wish.pictures =
      static_cast<int>(inner.integer("pictures", 1, engine::pictures_drawn_max).value_or(1));
  if (const auto seed = inner.integer("seed", 0, engine::drawing_seed_max)) {
    wish.seed = static_cast<uint64_t>(*seed);
  }
  wish.guidance = inner.number("guidance", 0, engine::guidance_max).value_or(wish.guidance);
  wish.temperature = inner.number("temperature", 0, 2).value_or(wish.temperature);
  if (auto error = inner.finish()) return fields.fault(std::move(*error));
  out = wish;
}

chat::Node read_node(Fields& fields, const base::Json& json, size_t index,
                     const std::string& parent, size_t bytes_max) {
  check_size(fields, json, bytes_max);
  Fields inner(json, fmt::format("path[{}]", index));
  chat::Node node;
  node.id = read_id(inner, "id");
  // The first one may hang below what was left out of the context.
  const std::string* given = inner.text("parent", 64);
  if (index > 0 && (given == nullptr || *given != parent)) {
    inner.fault(422, "invalid_value", "parent",
                inner.path_of("parent") + " must be the node before it");
  }
  if (given != nullptr) node.parent = *given;
  inner.require("role");
  node.from_person = inner.word("role", {"user", "assistant"}).value_or(0) == 0;
  inner.require("content");
  if (const std::string* content = inner.text("content", bytes_max)) node.content = *content;
  if (const std::string* text = inner.text("reasoning", bytes_max)) node.reasoning = *text;
  if (const std::string* model = inner.text("model", limits::model_bytes_max)) node.model = *model;
  if (node.from_person) {
    read_pictures(inner, node.pictures);
  } else {
    read_drawing(inner, node.drawing);
  }
  // The page sends a node as it got it; these are the server's own to say.
  inner.ignore({"end", "context_full", "usage", "created_unix_ms"});
  if (auto error = inner.finish()) fields.fault(std::move(*error));
  return node;
}

// `answer`: the node that a last message of the assistant must be, to be continued; "": none may.
void read_path(Fields& fields, size_t bytes_max, const std::string& answer,
               std::vector<chat::Node>& out) {
  fields.require("path");
  const base::Json* given = fields.any("path");
  if (given != nullptr && given->is_array() && given->as_array().size() > path_nodes_max) {
    return fields.fault(too_much(
        "conversation", fmt::format("at most {} messages are taken at once", path_nodes_max), 0));
  }
  const base::Json::Array* path = fields.array("path", path_nodes_max);
  if (path == nullptr) return;
  for (size_t i = 0; i < path->size() && fields.ok(); ++i) {
    out.push_back(read_node(fields, (*path)[i], i, i == 0 ? "" : out.back().id, bytes_max));
  }
  const bool ends_well = !out.empty() && (out.back().from_person || out.back().id == answer);
  if (fields.ok() && !ends_well) {
    fields.fault(422, "invalid_value", "path",
                 "path must end with a question, or with the answer that is to be continued");
  }
}

}  // namespace

Parsed<GenerationRequest> parse_generation_request(const base::Json& body,
                                                   size_t message_bytes_max) {
  Fields fields(body, "");
  GenerationRequest out;
  out.key = read_id(fields, "key");
  out.conversation = read_id(fields, "conversation");
  out.answer = read_id(fields, "answer");
  read_path(fields, message_bytes_max, out.answer, out.path);
  fields.require("model");
  if (const std::string* model = fields.text("model", limits::model_bytes_max)) out.model = *model;
  switch (fields.word("thinking", {"default", "on", "off"}).value_or(0)) {
    case 1:
      out.thinking = engine::Thinking::on;
      break;
    case 2:
      out.thinking = engine::Thinking::off;
      break;
    default:
      break;
  }
  const auto count = [&](const char* key) {
    return static_cast<int>(fields.integer(key, 1, limits::tokens_max_max).value_or(-1));
  };
  out.thinking_tokens_max = count("thinking_tokens_max");
  out.tokens_max = count("tokens_max");
  out.temperature = fields.number("temperature", 0, 2);
  out.top_p = fields.number("top_p", 0, 1);
  if (const std::string* text = fields.text("system", system_bytes_max)) out.system = *text;
  read_draw_wish(fields, out.draw);
  if (fields.ok() && out.path.back().drawing) {
    fields.fault(422, "invalid_value", "path", "path ends with a drawing: there is no going on");
  }
  if (out.draw && fields.ok() &&
      (!out.path.back().from_person || !out.path.back().pictures.empty())) {
    fields.fault(422, "invalid_value", "path",
                 "path must end with a question without pictures: what is to be drawn");
  }
  if (auto error = fields.finish()) return refuse(std::move(*error));
  return out;
}

Parsed<MeasureRequest> parse_measure_request(const base::Json& body, size_t message_bytes_max) {
  Fields fields(body, "");
  MeasureRequest out;
  const base::Json* path = body.find("path");
  const bool ends_open = path != nullptr && path->is_array() && !path->as_array().empty();
  const base::Json* last = ends_open ? path->as_array().back().find("id") : nullptr;
  read_path(fields, message_bytes_max,
            last != nullptr && last->is_string() ? last->as_string() : "", out.path);
  fields.require("model");
  if (const std::string* model = fields.text("model", limits::model_bytes_max)) out.model = *model;
  if (const std::string* text = fields.text("system", system_bytes_max)) out.system = *text;
  if (auto error = fields.finish()) return refuse(std::move(*error));
  return out;
}

bool is_site_id(std::string_view id) {
  return id.size() >= 16 && id.size() <= 64 && std::all_of(id.begin(), id.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::vector<engine::Message> messages_of(const std::string& system,
                                         const std::vector<chat::Node>& path, bool with_pictures) {
  std::vector<engine::Message> out;
  if (!system.empty()) {
    engine::Message message;
    message.role = "system";
    message.content = system;
    out.push_back(std::move(message));
  }
  for (const chat::Node& node : path) {
    if (node.drawing) {
      if (!out.empty() && out.back().role == "user") out.pop_back();
      continue;
    }
    engine::Message message;
    for (const chat::NodePicture& one : node.pictures) {
      const bool known = with_pictures && one.picture != nullptr;
      message.pictures.push_back({0, known ? one.picture->bytes : std::string()});
    }
    message.role = node.from_person ? "user" : "assistant";
    message.content = node.content;
    message.reasoning_content = node.from_person ? "" : node.reasoning;
    message.prefix = !node.from_person && &node == &path.back();
    out.push_back(std::move(message));
  }
  return out;
}

}  // namespace api
