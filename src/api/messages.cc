#include "api/messages.h"

#include "api/picture_parts.h"
#include "api/requests.h"
#include "api/tools.h"

namespace api {
namespace {

// Parts follow each other as they were sent, nothing is put between them. What cannot be read is
// refused: answering about a sound that was never heard would be a lie.
void parse_parts(Fields& fields, const base::Json::Array& parts, const std::string& path,
                 PictureBudget& spent, engine::Message& out) {
  for (size_t i = 0; i < parts.size(); ++i) {
    Fields part(parts[i], fmt::format("{}[{}]", path, i));
    part.require("type");
    const std::string* type = part.text("type", 64);
    if (type != nullptr && *type == "image_url") {
      parse_image_part(part, spent, out);
    } else if (type != nullptr && *type != "text") {
      const bool known =
          *type == "input_audio" || *type == "file" || *type == "video_url" || *type == "refusal";
      part.fault(400, known ? "unsupported_field" : "invalid_value", "type",
                 known ? part.path_of("type") + ": text and pictures are read, nothing else"
                       : part.path_of("type") + " must be text or image_url");
    } else {
      part.require("text");
      if (const std::string* text = part.text("text", std::string::npos)) out.content += *text;
    }
    part.ignore({"cache_control"});
    if (auto error = part.finish()) {
      fields.fault(std::move(*error));
      return;
    }
  }
}

void parse_content(Fields& message, PictureBudget& spent, engine::Message& out) {
  const base::Json* content = message.any("content");
  if (content == nullptr) {
    // An assistant that only thought or called has no content; everybody else must say something.
    const bool silent =
        out.role == "assistant" && (message.has("reasoning_content") || message.has("tool_calls"));
    if (!silent) message.require("content");
    return;
  }
  if (content->is_string()) {
    out.content = content->as_string();
  } else if (content->is_array()) {
    if (const auto* parts = message.array("content", limits::content_parts_max)) {
      if (parts->empty()) {
        message.fault(422, "invalid_value", "content",
                      message.path_of("content") + " must not be empty");
      }
      parse_parts(message, *parts, message.path_of("content"), spent, out);
    }
  } else {
    message.fault(400, "invalid_type", "content",
                  message.path_of("content") + " must be a string or an array of parts");
  }
}

void parse_role(Fields& message, engine::Message& out) {
  message.require("role");
  const auto role =
      message.word("role", {"system", "user", "assistant", "developer", "tool", "function"});
  if (!role) return;
  static constexpr const char* names[] = {"system", "user", "assistant", "system", "tool"};
  if (*role < 5) {
    out.role = names[*role];  // developer: OpenAI's later name for system
    return;
  }
  message.fault(400, "unsupported_field", "role",
                message.path_of("role") + ": functions are called tools now: use the role tool");
}

// What messages have in common.
struct Reading {
  bool beta = false;
  CallOrder order;
  PictureBudget pictures;
};

bool parse_message(Fields& fields, const base::Json& json, size_t index, bool last,
                   Reading& reading, engine::Message& out) {
  Fields message(json, fmt::format("messages[{}]", index));
  parse_role(message, out);
  parse_content(message, reading.pictures, out);
  if (const std::string* name = message.text("name", limits::name_bytes_max)) out.name = *name;
  if (const std::string* text = message.text("reasoning_content", std::string::npos)) {
    out.reasoning_content = *text;
  }
  const bool prefix = message.boolean("prefix").value_or(false);
  if (prefix && !reading.beta) {
    message.fault(400, "unsupported_field", "prefix",
                  message.path_of("prefix") + " is part of the beta API: use the base /beta");
  } else if (prefix && !(last && out.role == "assistant")) {
    message.fault(400, "invalid_request", "prefix",
                  message.path_of("prefix") + " is only for a last message of the assistant");
  }
  out.prefix = prefix;
  parse_message_tools(message, out);
  reading.order.add(message, out);
  message.unsupported({"function_call", "audio"});
  message.ignore({"refusal", "annotations", "id"});
  if (auto error = message.finish()) {
    fields.fault(std::move(*error));
    return false;
  }
  return true;
}

}  // namespace

void parse_messages(Fields& fields, bool beta, std::vector<engine::Message>& out) {
  const base::Json::Array* messages = fields.array("messages", limits::messages_max);
  if (messages == nullptr) return;
  if (messages->empty()) {
    fields.fault(422, "invalid_value", "messages", "messages must not be empty");
  }
  Reading reading;
  reading.beta = beta;
  for (size_t i = 0; i < messages->size() && fields.ok(); ++i) {
    engine::Message message;
    const bool last = i + 1 == messages->size();
    if (!parse_message(fields, (*messages)[i], i, last, reading, message)) return;
    out.push_back(std::move(message));
  }
  reading.order.finish(fields);
}

}  // namespace api
