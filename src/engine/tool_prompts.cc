#include "engine/tool_prompts.h"

#include <algorithm>

namespace engine {
namespace {

using base::Json;

// DeepSeek's turns with tools. V3 and R1 ("fenced") write the type before the separator, the name
// after it and the arguments in a fence, and bracket the results; V3.1 writes name and arguments
// bare. The opening of the answer is appended by the caller. TURN opens an answer of the history.
constexpr std::string_view deepseek_turns = R"jinja(
{%- set ns = namespace(system='', results=false, asked=true) -%}
{%- for m in messages -%}
  {%- if m.role == 'system' -%}
    {%- if ns.system -%}{%- set ns.system = ns.system + '\n\n' -%}{%- endif -%}
    {%- set ns.system = ns.system + m.content -%}
  {%- endif -%}
{%- endfor -%}
{{- bos_token -}}{{- ns.system -}}
{%- if tools -%}
  {%- if ns.system -%}{{- '\n\n' -}}{%- endif -%}
  {{- '## Tools\nYou have access to these tools:\n' -}}
  {%- for tool in tools -%}
    {{- '\n### ' + tool.name + '\nDescription: ' -}}{{- tool.description -}}
    {{- '\n\nParameters: ' -}}{{- tool.parameters | tojson -}}{{- '\n' -}}
  {%- endfor -%}
  {{- '\nTo call tools, end your answer with exactly this, once:\n<｜tool▁calls▁begin｜>' -}}
  {%- if FENCED -%}
    {{- '<｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n```json\nARGUMENTS\n```' -}}
  {%- else -%}
    {{- '<｜tool▁call▁begin｜>NAME<｜tool▁sep｜>ARGUMENTS' -}}
  {%- endif -%}
  {{- '<｜tool▁call▁end｜><｜tool▁calls▁end｜>\nNAME is the name of one of the tools, ' -}}
  {{- 'ARGUMENTS a JSON object that fits its parameters. ' -}}
  {{- 'For several calls repeat the part from <｜tool▁call▁begin｜> to <｜tool▁call▁end｜>. ' -}}
  {{- 'Their results are given to you afterwards.' -}}
{%- endif -%}
{%- for m in messages -%}
  {%- if m.role == 'user' -%}
    {%- if ns.results and FENCED -%}{{- '<｜tool▁outputs▁end｜>' -}}{%- endif -%}
    {%- set ns.results = false -%}
    {{- '<｜User｜>' -}}{{- m.content -}}
  {%- elif m.role == 'assistant' -%}
    {%- if not ns.results -%}{{- TURN -}}
    {%- elif FENCED -%}{{- '<｜tool▁outputs▁end｜>' -}}{%- endif -%}
    {%- set ns.results = false -%}
    {%- if m.content -%}{{- m.content.split('</think>')[-1] -}}{%- endif -%}
    {%- if m.tool_calls -%}
      {{- '<｜tool▁calls▁begin｜>' -}}
      {%- for call in m.tool_calls -%}
        {%- if FENCED -%}
          {%- if not loop.first -%}{{- '\n' -}}{%- endif -%}
          {{- '<｜tool▁call▁begin｜>function<｜tool▁sep｜>' -}}{{- call.function.name -}}
          {{- '\n```json\n' -}}{{- call.function.arguments -}}{{- '\n```' -}}
        {%- else -%}
          {{- '<｜tool▁call▁begin｜>' -}}{{- call.function.name -}}{{- '<｜tool▁sep｜>' -}}
          {{- call.function.arguments -}}
        {%- endif -%}
        {{- '<｜tool▁call▁end｜>' -}}
      {%- endfor -%}
      {{- '<｜tool▁calls▁end｜>' -}}
    {%- endif -%}
    {{- '<｜end▁of▁sentence｜>' -}}
  {%- elif m.role == 'tool' -%}
    {%- if FENCED -%}{{- '\n' if ns.results else '<｜tool▁outputs▁begin｜>' -}}{%- endif -%}
    {%- set ns.results = true -%}
    {{- '<｜tool▁output▁begin｜>' -}}{{- m.content -}}{{- '<｜tool▁output▁end｜>' -}}
  {%- endif -%}
{%- endfor -%}
{%- if ns.results and FENCED -%}{{- '<｜tool▁outputs▁end｜>' -}}{%- endif -%}
)jinja";

void replace_all(std::string& text, std::string_view what, std::string_view with) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size()) {
    text.replace(at, what.size(), with);
  }
}

// A Jinja literal.
std::string quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\\' || c == '\'') out.push_back('\\');
    if (c == '\n') {
      out += "\\n";
    } else {
      out.push_back(c);
    }
  }
  return out + "'";
}

Json call_json(const ToolCall& call, bool as_text) {
  Json arguments = call.arguments;
  if (!as_text) {
    // api has seen that it is an object; what is none stays a text.
    auto parsed = base::parse_json(call.arguments, "the arguments of a tool call");
    if (parsed) arguments = std::move(*parsed);
  }
  return Json::object(
      {{"id", call.id},
       {"type", "function"},
       {"function", Json::object({{"name", call.name}, {"arguments", std::move(arguments)}})}});
}

}  // namespace

ToolPrompts ToolPrompts::of(const text::Tokenizer& tokenizer, std::string_view template_source,
                            const Render& render) {
  ToolPrompts out;
  out.markup_ = text::ToolMarkup::of(tokenizer, template_source);
  if (!out.supported()) return out;
  const bool deepseek = out.markup_.kind == Kind::deepseek;
  const bool shown = deepseek ? out.make_own(template_source, render) : out.find_style(render);
  // A vocabulary that cannot spell the marks has no calls either.
  const auto [before, after] = out.opening_marks(0);
  const bool spelt = !tokenizer.encode_rendered(before, {}).empty() &&
                     !tokenizer.encode_rendered(after, {}).empty();
  if (!shown || !spelt) out.markup_ = {};
  return out;
}

// The form in which the file's template shows definitions, and a call with its arguments unbroken.
bool ToolPrompts::find_style(const Render& render) {
  ChatPrompt probe;
  probe.tools = {{"declared_one",
                  Json::object({{"type", "function"},
                                {"function", Json::object({{"name", "declared_one"},
                                                           {"description", "?"},
                                                           {"parameters", Json::object()}})}})}};
  Message call{.role = "assistant"};
  call.tool_calls = {{"call00001", "called_one", R"({"probe":1})"}};
  probe.messages = {{.role = "user", .content = "?"},
                    call,
                    {.role = "tool", .content = "!", .tool_call_id = "call00001"}};
  for (const bool as_text : {true, false}) {
    for (const bool null : {true, false}) {
      arguments_as_text_ = as_text;
      content_null_ = null;
      auto rendered = render(
          Json::object({{"messages", messages(probe.messages)}, {"tools", definitions(probe)}}));
      if (!rendered) continue;
      const auto shows = [&](std::string_view text) {
        return rendered->text.find(text) != std::string::npos;
      };
      const bool whole = shows(R"({"probe":1})") || shows(R"({"probe": 1})");
      if (whole && shows("declared_one") && shows("called_one")) return true;
    }
  }
  return false;
}

// How the file's template opens an answer of the history shows between two texts of persons.
bool ToolPrompts::make_own(std::string_view template_source, const Render& render) {
  fenced_ = template_source.find("```json") != std::string_view::npos;
  arguments_as_text_ = true;
  Json probe = Json::array();
  for (const char* role : {"user", "assistant", "user"}) {
    probe.push(Json::object({{"role", role}, {"content", "?"}}));
  }
  const auto rendered = render(Json::object({{"messages", std::move(probe)}, {"tools", nullptr}}));
  if (!rendered || rendered->user_text.size() != 3) return false;
  const auto& spans = rendered->user_text;
  std::string source(deepseek_turns);
  replace_all(source, "FENCED", fenced_ ? "true" : "false");
  replace_all(
      source, "TURN",
      quoted(std::string_view(rendered->text).substr(spans[0].end, spans[1].begin - spans[0].end)));
  auto compiled = text::ChatTemplate::compile(source);
  if (!compiled) return false;
  own_ = std::move(*compiled);
  return true;
}

bool ToolPrompts::involved(const ChatPrompt& prompt) {
  if (!prompt.tools.empty() && prompt.tool_choice != ToolChoice::none) return true;
  return std::any_of(prompt.messages.begin(), prompt.messages.end(),
                     [](const Message& m) { return m.role == "tool" || !m.tool_calls.empty(); });
}

// Results in the order of their calls. Llama's template takes one call a message, so that several
// become several exchanges; Kimi's model knows ids of one form.
std::vector<Message> ToolPrompts::arranged(const std::vector<Message>& messages) const {
  std::vector<Message> out;
  for (size_t i = 0; i < messages.size(); ++i) {
    Message calling = messages[i];
    if (calling.tool_calls.empty()) {
      out.push_back(std::move(calling));
      continue;
    }
    std::vector<Message> results;
    while (i + 1 < messages.size() && messages[i + 1].role == "tool") {
      results.push_back(messages[++i]);
    }
    const std::vector<ToolCall> calls = std::move(calling.tool_calls);
    calling.tool_calls.clear();
    std::vector<Message> answers;
    for (size_t c = 0; c < calls.size(); ++c) {
      ToolCall call = calls[c];
      if (markup_.kind == Kind::kimi) call.id = fmt::format("functions.{}:{}", call.name, c);
      const bool alone = markup_.kind == Kind::bare;
      calling.tool_calls.push_back(call);
      if (alone) out.push_back(calling);
      auto& into = alone ? out : answers;
      for (const Message& result : results) {
        if (result.tool_call_id != calls[c].id) continue;
        into.push_back(result);
        into.back().tool_call_id = call.id;
        if (into.back().name.empty()) into.back().name = call.name;
      }
      if (alone) calling.tool_calls.clear();
    }
    if (!calling.tool_calls.empty()) out.push_back(std::move(calling));
    std::move(answers.begin(), answers.end(), std::back_inserter(out));
  }
  return out;
}

Json ToolPrompts::message_json(const Message& m) const {
  Json json = Json::object({{"role", m.role}, {"content", m.content}});
  if (!m.name.empty()) json.set("name", m.name);
  if (!m.reasoning_content.empty()) json.set("reasoning_content", m.reasoning_content);
  if (!m.tool_call_id.empty()) json.set("tool_call_id", m.tool_call_id);
  if (m.tool_calls.empty()) return json;
  if (content_null_ && m.content.empty()) json.set("content", nullptr);
  Json calls = Json::array();
  for (const ToolCall& call : m.tool_calls) calls.push(call_json(call, arguments_as_text_));
  json.set("tool_calls", std::move(calls));
  return json;
}

Json ToolPrompts::messages(const std::vector<Message>& messages) const {
  Json list = Json::array();
  for (const Message& m : arranged(messages)) list.push(message_json(m));
  return list;
}

Json ToolPrompts::definitions(const ChatPrompt& prompt) const {
  if (prompt.tools.empty() || prompt.tool_choice == ToolChoice::none || !supported()) {
    return nullptr;
  }
  Json list = Json::array();
  for (const Tool& tool : prompt.tools) {
    if (own_ == nullptr) {
      list.push(tool.definition);
      continue;
    }
    const Json* function = tool.definition.find("function");
    const Json* description = function != nullptr ? function->find("description") : nullptr;
    const Json* parameters = function != nullptr ? function->find("parameters") : nullptr;
    list.push(Json::object({{"name", tool.name},
                            {"description", description != nullptr ? *description : Json("")},
                            {"parameters", parameters != nullptr ? *parameters : Json::object()}}));
  }
  return list;
}

ToolUse ToolPrompts::use(const ChatPrompt& prompt) const {
  ToolUse out;
  out.markup = markup_;
  if (!prompt.parallel_calls) out.calls_max = 1;
  if (prompt.tool_choice == ToolChoice::none) return out;
  for (const Tool& tool : prompt.tools) {
    if (prompt.tool_choice != ToolChoice::named || tool.name == prompt.tool_name) {
      out.names.push_back(tool.name);
    }
  }
  return out;
}

// What stands before and after the name of a call; `calls`: how many the conversation has already.
std::pair<std::string, std::string> ToolPrompts::opening_marks(size_t calls) const {
  switch (markup_.kind) {
    case Kind::deepseek:
      if (!fenced_) return {"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>", "<｜tool▁sep｜>"};
      return {"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>", "\n```json\n"};
    case Kind::kimi:
      return {"<|tool_calls_section_begin|><|tool_call_begin|>functions.",
              fmt::format(":{}<|tool_call_argument_begin|>", calls)};
    case Kind::tagged:
      return {"<tool_call>\n{\"name\": \"", "\", \"arguments\": "};
    case Kind::bare:
      return {"{\"name\": \"", "\", \"parameters\": "};
    case Kind::none:
      break;
  }
  return {};
}

std::optional<CallOpening> ToolPrompts::opening(const ChatPrompt& prompt,
                                                const text::Tokenizer& tokenizer) const {
  const bool forced =
      prompt.tool_choice == ToolChoice::required || prompt.tool_choice == ToolChoice::named;
  std::vector<std::string> names = use(prompt).names;
  if (!forced || names.empty()) return std::nullopt;
  size_t calls = 0;
  for (const Message& m : prompt.messages) calls += m.tool_calls.size();
  const auto [before, after] = opening_marks(calls);
  CallOpening opening;
  if (names.size() == 1) {
    opening.before = tokenizer.encode_rendered(before + names[0] + after, {});
  } else {
    opening.before = tokenizer.encode_rendered(before, {});
    opening.after = tokenizer.encode_rendered(after, {});
    opening.names = std::move(names);
  }
  return opening;
}

}  // namespace engine
