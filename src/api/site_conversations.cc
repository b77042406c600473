// The site's conversations over the wire. A foreign or unknown id is 404, whatever is done to it.
#include "api/fields.h"
#include "api/site.h"

namespace api {
namespace {

using base::Json;

constexpr size_t listed_max = 1'000;
constexpr size_t search_bytes_max = 1'024;

ApiError unknown_conversation() {
  ApiError error;
  error.status = 404;
  error.code = "not_found";
  error.message = "there is no such conversation in this server's memory";
  return error;
}

Json drawing_json(const chat::Drawing& drawing) {
  Json pictures = Json::array();
  for (size_t i = 0; i < drawing.done.size(); ++i) {
    const chat::NodePicture& one = drawing.done[i];
    pictures.push(Json::object({{"id", one.picture != nullptr ? Json(one.id) : Json()},
                                {"seed", static_cast<int64_t>(drawing.seeds[i])}}));
  }
  return Json::object({{"side", drawing.side}, {"pictures", std::move(pictures)}});
}

Json node_json(const chat::Node& node) {
  Json out = Json::object({{"id", node.id},
                           {"parent", node.parent.empty() ? Json() : Json(node.parent)},
                           {"role", node.from_person ? "user" : "assistant"},
                           {"content", node.content}});
  if (!node.reasoning.empty()) out.set("reasoning", node.reasoning);
  if (!node.pictures.empty()) {
    Json pictures = Json::array();
    for (const chat::NodePicture& one : node.pictures) {
      pictures.push(Json::object({{"id", one.id}}));
    }
    out.set("pictures", std::move(pictures));
  }
  if (node.drawing) out.set("drawing", drawing_json(*node.drawing));
  if (!node.model.empty()) out.set("model", node.model);
  if (node.end) out.set("end", end_word(*node.end));
  if (node.usage) out.set("usage", site_usage_json(*node.usage));
  out.set("created_unix_ms", node.created_unix_ms);
  return out;
}

}  // namespace

Json Site::titles_json(const std::vector<const chat::Conversation*>& conversations) const {
  Json out = Json::array();
  for (const chat::Conversation* one : conversations) {
    out.push(Json::object({{"id", one->id},
                           {"title", one->title},
                           {"updated_unix_ms", one->updated_unix_ms},
                           {"model", one->model}}));
  }
  return out;
}

void Site::list_conversations(Call& call) {
  call.answer(Json::object({{"conversations", titles_json(conversations_.newest(listed_max))}}));
}

void Site::show_conversation(Call& call) {
  const chat::Conversation* one = conversations_.find(call.parameters[0]);
  if (one == nullptr) return call.refuse(unknown_conversation());
  Json messages = Json::array();
  for (const chat::Node& node : one->nodes) messages.push(node_json(node));
  call.answer(Json::object({{"id", one->id},
                            {"title", one->title},
                            {"model", one->model},
                            {"updated_unix_ms", one->updated_unix_ms},
                            {"messages", std::move(messages)}}));
}

void Site::rename_conversation(Call& call) {
  chat::Conversation* one = conversations_.find(call.parameters[0]);
  if (one == nullptr) return call.refuse(unknown_conversation());
  Fields fields(call.body, "");
  fields.require("title");
  // Four bytes are the most that a character takes.
  const std::string* title =
      fields.text("title", static_cast<size_t>(conversations_.limits().title_characters_max) * 4);
  if (auto error = fields.finish()) return call.refuse(*error);
  one->title = chat::title_of(*title, conversations_.limits().title_characters_max);
  streams_.state("conversations");
  call.answer_done();
}

void Site::delete_conversation(Call& call) {
  const std::string& id = call.parameters[0];
  if (conversations_.find(id) == nullptr) return call.refuse(unknown_conversation());
  generations_.stop_conversation(id);
  conversations_.erase(id);
  streams_.state("conversations");
  call.answer_done();
}

void Site::delete_node(Call& call) {
  chat::Conversation* one = conversations_.find(call.parameters[0]);
  if (one == nullptr) return call.refuse(unknown_conversation());
  if (conversations_.erase_node(*one, call.parameters[1]) == 0) {
    return call.refuse(unknown_conversation());
  }
  // An answer whose place is gone has no reader: its computing stops.
  for (const auto& generation : generations_.running()) {
    if (generation->conversation == one->id &&
        chat::Conversations::find_node(*one, generation->answer) == nullptr) {
      generations_.stop(generation->id);
    }
  }
  streams_.state("conversations");
  call.answer_done();
}

void Site::search_conversations(Call& call) {
  Fields fields(call.body, "");
  fields.require("text");
  const std::string* text = fields.text("text", search_bytes_max);
  if (auto error = fields.finish()) return call.refuse(*error);
  call.answer(
      Json::object({{"conversations", titles_json(conversations_.search(*text, listed_max))}}));
}

}  // namespace api
