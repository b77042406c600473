// Chat templates against Jinja2 (tests/golden/template: oracle and versions in each `meta`),
// hostile templates (tests/golden/hostile), and which bytes count as user text.
#include "text/chat_template.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <regex>

#include "base/bytes.h"
#include "base/hostile_for_test.h"
#include "base/sanitized.h"

namespace text {
namespace {

using base::cpu_seconds;
using base::expand_hostile_cases;
using base::file_text;
using base::Json;
using base::memory_now;
using base::reset_peak_memory;
using base::sanitized;

const std::string goldens = std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/";
constexpr int64_t golden_now = 1795622530;  // 2026-11-25 16:02:10 UTC

Json read_json(const std::string& path) {
  auto json = base::parse_json(file_text(path), path, {.depth_max = 512});
  EXPECT_TRUE(json.has_value()) << json.error().message();
  return json ? std::move(*json) : Json();
}

base::Result<Rendered> render(std::string_view source, const Json& context,
                              int64_t now = golden_now) {
  ASSIGN(const auto compiled, ChatTemplate::compile(source));
  return compiled->render(context, now);
}

std::string shown(const base::Result<Rendered>& result) {
  return result ? result->text : "ERROR " + result.error().message();
}

Json object(const std::string& text) {
  auto json = base::parse_json(text, "test");
  EXPECT_TRUE(json.has_value()) << json.error().message();
  return json ? *json : Json();
}

// --- goldens ---

// transformers' rule for continuing the last message: a mark goes behind its content, and the text
// is cut at the mark, and trimmed if the template trimmed the mark.
constexpr std::string_view continue_mark = "CONTINUE_FINAL_MESSAGE_TAG ";

std::string cut_at_mark(const std::string& text) {
  const std::string_view bare = continue_mark.substr(0, continue_mark.size() - 1);
  const size_t at = text.rfind(bare);
  if (at == std::string::npos) return text;
  std::string cut = text.substr(0, at);
  if (text.compare(at, continue_mark.size(), continue_mark) == 0) return cut;
  while (!cut.empty() && (cut.back() == ' ' || cut.back() == '\n')) cut.pop_back();
  return cut;
}

Json golden_context(const Json& file, const Json& line) {
  Json context = Json::object();
  context.set("messages", *line.find("messages"));
  if (line.find("continue_final_message") != nullptr) {
    Json& last = context.as_object()[0].second.as_array().back();
    last.set("content", last.find("content")->as_string() + std::string(continue_mark));
  }
  const Json* tools = line.find("tools");
  context.set("tools", tools == nullptr ? Json() : *tools);
  context.set("documents", Json());
  context.set("add_generation_prompt", *line.find("add_generation_prompt"));
  for (const std::string_view key : {"bos_token", "eos_token"}) {
    const Json* token = file.find(key);
    if (token != nullptr && !token->is_null()) context.set(key, *token);
  }
  if (const Json* more = line.find("kwargs")) {
    for (const auto& [key, value] : more->as_object()) context.set(key, value);
  }
  return context;
}

TEST(ChatTemplate, Goldens) {
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(goldens + "template")) {
    if (entry.path().extension() != ".json") continue;
    const Json file = read_json(entry.path());
    auto compiled = ChatTemplate::compile(file.find("template")->as_string());
    ASSERT_TRUE(compiled.has_value()) << entry.path() << compiled.error().message();
    for (const Json& line : file.find("cases")->as_array()) {
      ++cases;
      const auto result = (*compiled)->render(golden_context(file, line), golden_now);
      const std::string name =
          entry.path().filename().string() + " " + line.find("name")->as_string();
      if (const Json* expected = line.find("expected")) {
        std::string text = shown(result);
        if (line.find("continue_final_message") != nullptr) text = cut_at_mark(text);
        EXPECT_EQ(text, expected->as_string()) << name;
      } else {
        ASSERT_NE(line.find("expected_error"), nullptr);
        EXPECT_FALSE(result.has_value()) << name << ": " << shown(result);
      }
    }
  }
  EXPECT_GT(cases, 800);
}

TEST(ChatTemplate, Snippets) {
  const Json file = read_json(goldens + "template/jinja/snippets.json");
  for (const Json& line : file.find("cases")->as_array()) {
    const std::string& source = line.find("template")->as_string();
    const auto result = render(source, *line.find("context"));
    if (const Json* expected = line.find("expected")) {
      EXPECT_EQ(shown(result), expected->as_string()) << source;
      continue;
    }
    EXPECT_FALSE(result.has_value()) << source << ": " << shown(result);
    const Json* error = line.find("expected_error");
    if (!result && error->find("error")->as_string() == "raise_exception") {
      EXPECT_NE(result.error().message().find(error->find("message")->as_string()),
                std::string::npos)
          << result.error().message();
    }
  }
}

// --- hostile templates ---

void expect_hostile(const Json& line, const base::Result<Rendered>& result) {
  const std::string& file = line.find("file")->as_string();
  const std::string& expect = line.find("expect")->as_string();
  if (!result) {
    const std::string message = result.error().message();
    EXPECT_NE(expect, "ok") << file << ": " << message;
    EXPECT_LT(message.size(), 2048u) << file;
    EXPECT_TRUE(base::is_utf8(message)) << file;
    EXPECT_NE(message.find("template"), std::string::npos) << file << ": " << message;
    return;
  }
  EXPECT_NE(expect, "reject") << file << ": gave " << result->text.size() << " bytes";
  EXPECT_TRUE(base::is_utf8(result->text)) << file;
  if (const Json* bytes = line.find("output_bytes")) {
    EXPECT_EQ(static_cast<int64_t>(result->text.size()), bytes->as_integer()) << file;
  }
  if (const Json* patterns = line.find("must_not")) {
    for (const Json& pattern : patterns->as_array()) {
      EXPECT_FALSE(std::regex_search(result->text, std::regex(pattern.as_string())))
          << file << ": " << result->text;
    }
  }
}

TEST(ChatTemplate, HostileTemplatesEndInTimeAndMemory) {
  const std::string cases = expand_hostile_cases("hostile-jinja", "jinja");
  ASSERT_FALSE(cases.empty()) << "expand.py failed";
  int tried = 0;
  const Json manifest = read_json(goldens + "hostile/manifest.json");
  for (const Json& line : manifest.as_array()) {
    if (line.find("kind")->as_string() != "jinja") continue;
    ++tried;
    const std::string& file = line.find("file")->as_string();
    // NUL stands in one of them as an escape; the files are JSON.
    const Json input = read_json(cases + "/" + file);
    reset_peak_memory();
    const uint64_t calm = memory_now("VmRSS:");
    const double begin = cpu_seconds();
    const auto result = render(input.find("template")->as_string(), *input.find("context"));
    const double took = cpu_seconds() - begin;
    const uint64_t peak = memory_now("VmHWM:");
    EXPECT_LT(took, sanitized ? 5 : 1) << file;
    if (!sanitized) {
      EXPECT_LT(peak, calm + (64ull << 20)) << file;
    }
    if (std::getenv("NAUTILE_HOSTILE_PRINT") != nullptr) {
      printf("%-40s %5.0f ms %4lu MB  %s\n", file.c_str(), took * 1e3,
             (peak - std::min(calm, peak)) >> 20, shown(result).substr(0, 120).c_str());
    }
    expect_hostile(line, result);
    if (result) {
      const auto again = render(input.find("template")->as_string(), *input.find("context"));
      EXPECT_EQ(shown(result), shown(again)) << file;
    }
  }
  EXPECT_GT(tried, 60);
}

// --- user text ---

// The output with user text in «».
std::string marked(const base::Result<Rendered>& result) {
  if (!result) return "ERROR " + result.error().message();
  std::string out;
  size_t at = 0;
  for (const Rendered::Span& span : result->user_text) {
    out += result->text.substr(at, span.begin - at) + "«" +
           result->text.substr(span.begin, span.end - span.begin) + "»";
    at = span.end;
  }
  return out + result->text.substr(at);
}

std::string marked(std::string_view source, const std::string& context) {
  return marked(render(source, object(context)));
}

TEST(UserText, IsMarkedThroughEveryOperation) {
  const std::string context =
      R"({"messages":[{"role":"user","content":" a<|x|>b "}],"bos_token":"<s>","n":3})";
  const auto of = [&](const std::string& expression) {
    return marked("{% set c = messages[0].content %}{{ " + expression + " }}", context);
  };
  EXPECT_EQ(of("bos_token + c + '</s>'"), "<s>« a<|x|>b »</s>");
  EXPECT_EQ(of("bos_token ~ c | trim"), "<s>«a<|x|>b»");
  EXPECT_EQ(of("('<|im|>' + c)[2:]"), "im|>« a<|x|>b »");
  EXPECT_EQ(of("c.split('<|')[-1]"), "«x|>b »");
  EXPECT_EQ(of("c | replace('a', '[A]')"), "« »[A]«<|x|>b »");
  EXPECT_EQ(of("'x-y' | replace('-', c)"), "x« a<|x|>b »y");
  EXPECT_EQ(of("('<|' + c) | upper"), "<|« A<|X|>B »");
  EXPECT_EQ(of("[c.strip(), '|']"), "['«a<|x|>b»', '|']");
  EXPECT_EQ(of("messages | tojson"), "[{\"«role»\": \"«user»\", \"«content»\": \"« a<|x|>b »\"}]");
  EXPECT_EQ(of("['<', c | trim, '>'] | join('-')"), "<-«a<|x|>b»->");
  EXPECT_EQ(of("'%s|%d' % (c, n)"), "« a<|x|>b »|3");
  EXPECT_EQ(of("'{}!'.format(c)"), "« a<|x|>b »!");
  EXPECT_EQ(of("c[::-1]"), "« b>|x|<a »");
  EXPECT_EQ(of("c | indent(2, true)"), "  « a<|x|>b »");
  EXPECT_EQ(of("'{\"k\": \"v\"}' | from_json | tojson"), "{\"k\": \"v\"}");
  EXPECT_EQ(of("(c | tojson | from_json) ~ '.'"), "« a<|x|>b ».");
}

TEST(UserText, OfMacrosBlocksAndUnknownKeywords) {
  const std::string context = R"({"messages":["u"],"date":"<|d|>","eos_token":"<e>"})";
  EXPECT_EQ(
      marked("{% macro m(x) %}<m>{{ x }}</m>{% endmacro %}{{ m(messages[0]) | trim }}", context),
      "<m>«u»</m>");
  EXPECT_EQ(
      marked("{% set t %}[{{ messages[0] }}]{% endset %}{{ t }}{{ date }}{{ eos_token }}", context),
      "[«u»]«<|d|>»<e>");
  EXPECT_EQ(
      marked("{% set ns = namespace(s='') %}{% for m in messages %}{% set ns.s = ns.s + '<r>' "
             "+ m %}{% endfor %}{{ ns.s }}",
             context),
      "<r>«u»");
}

// --- single rules ---

TEST(ChatTemplate, ErrorsNameTheLineAndNoUserText) {
  const auto syntax = ChatTemplate::compile("a\nb {{ 1 + }}\n");
  ASSERT_FALSE(syntax.has_value());
  EXPECT_NE(syntax.error().message().find("line 2"), std::string::npos);
  const auto run = render("\n\n{{ messages[0].secret.x }}{{ m[messages[0]].y }}",
                          object(R"({"messages":["my words"],"m":{}})"));
  ASSERT_FALSE(run.has_value());
  EXPECT_NE(run.error().message().find("line 3"), std::string::npos) << run.error().message();
  EXPECT_EQ(run.error().message().find("my words"), std::string::npos);
}

TEST(ChatTemplate, ListsGrowOnlyInSetAndNeverThoseOfTheContext) {
  const Json context = object(R"({"l":[1]})");
  EXPECT_EQ(shown(render("{% set q = [] %}{% set _ = q.append(2) %}{{ q }}{% set x = q.pop(0) %}"
                         "{{ x }}{{ q }}",
                         context)),
            "[2]2[]");
  EXPECT_FALSE(render("{% set _ = l.append(2) %}", context).has_value());
  EXPECT_FALSE(render("{{ [].append(2) }}", context).has_value());
}

TEST(ChatTemplate, LimitsAreNamed) {
  TemplateLimits limits;
  limits.steps_max = 1000;
  const auto compiled = ChatTemplate::compile(
      "{% for i in range(1000) %}{% for j in range(1000) %}{% endfor %}"
      "{% endfor %}",
      limits);
  const auto result = (*compiled)->render(Json::object(), 0);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().kind, base::ErrorKind::limit_exceeded);
  EXPECT_NE(result.error().message().find("1000 steps"), std::string::npos);
}

// Python closes over nothing that ended: a macro kept in a namespace still sees its own scope.
TEST(ChatTemplate, MacrosOutliveTheLoopThatDefinedThem) {
  EXPECT_EQ(shown(render("{% set ns = namespace() %}{% for i in [1, 2] %}{% set k = i * 10 %}"
                         "{% if i == 1 %}{% macro f() %}{{ k }}{% endmacro %}{% set ns.f = f %}"
                         "{% endif %}{% endfor %}{{ ns.f() }}",
                         Json::object())),
            "10");
}

TEST(ChatTemplate, RecursiveLoop) {
  EXPECT_EQ(shown(render("{% for x in t recursive %}{{ x.n }}{{ loop.depth }}{% if x.c %}("
                         "{{ loop(x.c) }}){% endif %}{% endfor %}",
                         object(R"({"t":[{"n":"a","c":[{"n":"b","c":[]}]},{"n":"d"}]})"))),
            "a1(b2)d1");
}

}  // namespace
}  // namespace text
