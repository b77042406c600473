#include "api/tools.h"

#include <algorithm>

#include "api/requests.h"

namespace api {
namespace {

bool is_function_name(std::string_view name) {
  return !name.empty() && name.size() <= limits::tool_name_bytes_max &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-';
         });
}

void read_name(Fields& function, std::string& out) {
  function.require("name");
  const std::string* name = function.text("name", limits::tool_name_bytes_max);
  if (name == nullptr) return;
  if (!is_function_name(*name)) {
    function.fault(422, "invalid_value", "name",
                   function.path_of("name") +
                       " must consist of 1 to 64 letters, digits, underscores and dashes");
  }
  out = *name;
}

// Reads `type`, which says "function" wherever it stands.
void read_type(Fields& fields, bool required) {
  if (required) fields.require("type");
  fields.word("type", {"function"});
}

int depth_of(const base::Json& json) {
  int deepest = 0;
  if (json.is_array()) {
    for (const base::Json& value : json.as_array()) deepest = std::max(deepest, depth_of(value));
  } else if (json.is_object()) {
    for (const auto& [key, value] : json.as_object()) deepest = std::max(deepest, depth_of(value));
  } else {
    return 0;
  }
  return deepest + 1;
}

// Not judged as a schema: it is the model's to read. Its size is.
void check_schema(Fields& function, size_t& bytes) {
  const base::Json* schema = function.object("parameters");
  if (schema == nullptr) return;
  const size_t size = schema->dump().size();
  bytes += size;
  if (size > limits::tool_schema_bytes_max) {
    function.fault(
        422, "invalid_value", "parameters",
        fmt::format("{} has {} bytes, at most {} are taken", function.path_of("parameters"), size,
                    limits::tool_schema_bytes_max));
  }
  if (depth_of(*schema) > limits::tool_schema_depth_max) {
    function.fault(422, "invalid_value", "parameters",
                   fmt::format("{} is nested more than {} deep", function.path_of("parameters"),
                               limits::tool_schema_depth_max));
  }
}

void parse_tool(Fields& fields, const base::Json& json, size_t index, size_t& bytes,
                engine::ChatPrompt& out) {
  Fields tool(json, fmt::format("tools[{}]", index));
  read_type(tool, true);
  tool.require("function");
  engine::Tool parsed;
  if (const base::Json* inner = tool.object("function")) {
    Fields function(*inner, tool.path_of("function"));
    read_name(function, parsed.name);
    if (const std::string* text =
            function.text("description", limits::tool_description_bytes_max)) {
      bytes += text->size();
    }
    check_schema(function, bytes);
    function.unsupported({"strict"});
    const bool twice = std::any_of(out.tools.begin(), out.tools.end(),
                                   [&](const auto& t) { return t.name == parsed.name; });
    if (twice) {
      function.fault(422, "invalid_value", "name",
                     function.path_of("name") + " is declared twice: " + parsed.name);
    }
    if (auto error = function.finish()) tool.fault(std::move(*error));
  }
  if (auto error = tool.finish()) return fields.fault(std::move(*error));
  parsed.definition = json;
  out.tools.push_back(std::move(parsed));
}

void parse_named_choice(Fields& fields, engine::ChatPrompt& out) {
  const base::Json* choice = fields.object("tool_choice");
  if (choice == nullptr) return;
  Fields named(*choice, "tool_choice");
  read_type(named, true);
  named.require("function");
  if (const base::Json* inner = named.object("function")) {
    Fields function(*inner, "tool_choice.function");
    read_name(function, out.tool_name);
    const bool declared = std::any_of(out.tools.begin(), out.tools.end(),
                                      [&](const auto& t) { return t.name == out.tool_name; });
    if (!declared) {
      function.fault(400, "invalid_value", "name",
                     "tool_choice.function.name is none of the declared tools");
    }
    if (auto error = function.finish()) named.fault(std::move(*error));
  }
  if (auto error = named.finish()) fields.fault(std::move(*error));
  out.tool_choice = engine::ToolChoice::named;
}

void parse_choice(Fields& fields, engine::ChatPrompt& out) {
  const base::Json* choice = fields.any("tool_choice");
  if (choice == nullptr) return;
  const bool none = choice->is_string() && choice->as_string() == "none";
  if (out.tools.empty() && !none) {
    return fields.fault(400, "invalid_request", "tool_choice",
                        "tool_choice is only for requests with tools");
  }
  if (!choice->is_string()) return parse_named_choice(fields, out);
  const auto word = fields.word("tool_choice", {"none", "auto", "required"});
  if (word) out.tool_choice = static_cast<engine::ToolChoice>(*word);
}

void parse_call(Fields& message, const base::Json& json, const std::string& path,
                engine::Message& out) {
  Fields call(json, path);
  engine::ToolCall parsed;
  call.require("id");
  if (const std::string* id = call.text("id", limits::tool_call_id_bytes_max)) parsed.id = *id;
  if (parsed.id.empty() && call.ok()) {
    call.fault(422, "invalid_value", "id", call.path_of("id") + " must not be empty");
  }
  read_type(call, false);
  call.require("function");
  if (const base::Json* inner = call.object("function")) {
    Fields function(*inner, call.path_of("function"));
    read_name(function, parsed.name);
    function.require("arguments");
    const std::string* text = function.text("arguments", limits::tool_arguments_bytes_max);
    if (text != nullptr) {
      parsed.arguments = text->empty() ? "{}" : *text;
      const auto object = base::parse_json(parsed.arguments, "arguments");
      if (!object || !object->is_object() || depth_of(*object) > limits::tool_schema_depth_max) {
        function.fault(422, "invalid_value", "arguments",
                       function.path_of("arguments") + " must be the JSON text of an object");
      }
    }
    if (auto error = function.finish()) call.fault(std::move(*error));
  }
  call.ignore({"index"});
  for (const engine::ToolCall& other : out.tool_calls) {
    if (other.id != parsed.id) continue;
    call.fault(422, "invalid_value", "id", call.path_of("id") + " is not the only call of this id");
  }
  if (auto error = call.finish()) return message.fault(std::move(*error));
  out.tool_calls.push_back(std::move(parsed));
}

}  // namespace

void parse_tools(Fields& fields, engine::ChatPrompt& out) {
  const base::Json::Array* tools = fields.array("tools", limits::tools_max);
  size_t bytes = 0;
  for (size_t i = 0; tools != nullptr && i < tools->size() && fields.ok(); ++i) {
    parse_tool(fields, (*tools)[i], i, bytes, out);
  }
  if (bytes > limits::tools_bytes_max) {
    fields.fault(422, "invalid_value", "tools",
                 fmt::format("tools have {} bytes in all, at most {} are taken", bytes,
                             limits::tools_bytes_max));
  }
  parse_choice(fields, out);
  const auto parallel = fields.boolean("parallel_tool_calls");
  out.parallel_calls = parallel.value_or(true);
  if (parallel.value_or(false) && out.tools.empty()) {
    fields.fault(400, "invalid_request", "parallel_tool_calls",
                 "parallel_tool_calls is only for requests with tools");
  }
  fields.unsupported({"functions", "function_call"});
}

void parse_message_tools(Fields& message, engine::Message& out) {
  if (out.role == "assistant") {
    const base::Json::Array* calls = message.array("tool_calls", limits::tool_calls_max);
    for (size_t i = 0; calls != nullptr && i < calls->size() && message.ok(); ++i) {
      parse_call(message, (*calls)[i], fmt::format("{}[{}]", message.path_of("tool_calls"), i),
                 out);
    }
  } else {
    message.unsupported({"tool_calls"});
  }
  if (out.role != "tool") return message.unsupported({"tool_call_id"});
  message.require("tool_call_id");
  const std::string* id = message.text("tool_call_id", limits::tool_call_id_bytes_max);
  if (id != nullptr) out.tool_call_id = *id;
}

void CallOrder::add(Fields& message, const engine::Message& parsed) {
  const size_t index = count_++;
  if (parsed.role == "tool") {
    if (open_.erase(parsed.tool_call_id) == 0) {
      message.fault(400, "invalid_request", "tool_call_id",
                    message.path_of("tool_call_id") +
                        " answers no call of the assistant's message before it");
    }
    return;
  }
  finish(message);
  last_call_ = index;
  for (const engine::ToolCall& call : parsed.tool_calls) open_.insert(call.id);
}

void CallOrder::finish(Fields& fields) {
  if (open_.empty()) return;
  ApiError error;
  error.code = "invalid_request";
  error.param = fmt::format("messages[{}].tool_calls", last_call_);
  error.message = error.param + ": every call needs a message of role tool with its result";
  fields.fault(std::move(error));
}

}  // namespace api
