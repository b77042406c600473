// Tools in a chat request: what is declared, what may be called, and the calls and results of the
// history. Faults are noted in the Fields with the path of the culprit. Pure; any thread.
#pragma once

#include <set>
#include <string>

#include "api/fields.h"
#include "engine/engine.h"

namespace api {

// `tools`, `tool_choice`, `parallel_tool_calls` of the body.
void parse_tools(Fields& fields, engine::ChatPrompt& out);

// `tool_calls` of an assistant's message, `tool_call_id` of a tool's; refused for other roles.
void parse_message_tools(Fields& message, engine::Message& out);

// The order of calls and results: every call has one result, directly after the message that made
// it, before anybody else speaks. Fed with one message after the other.
class CallOrder {
 public:
  void add(Fields& message, const engine::Message& parsed);
  // No message follows.
  void finish(Fields& fields);

 private:
  std::set<std::string> open_;  // ids of calls without a result
  size_t last_call_ = 0, count_ = 0;
};

}  // namespace api
