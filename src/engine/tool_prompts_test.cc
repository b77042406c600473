// How each family is told of tools, held against the goldens where the files' templates are right,
// and how an answer is made to begin with a call.
#include "engine/tool_prompts.h"

#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

#include "engine/fake_model_for_test.h"
#include "engine/prompt.h"

namespace engine {
namespace {

const std::vector<std::string> deepseek_marks = {"<｜User｜>",
                                                 "<｜Assistant｜>",
                                                 "<｜end▁of▁sentence｜>",
                                                 "<｜tool▁calls▁begin｜>",
                                                 "<｜tool▁calls▁end｜>",
                                                 "<｜tool▁call▁begin｜>",
                                                 "<｜tool▁call▁end｜>",
                                                 "<｜tool▁outputs▁begin｜>",
                                                 "<｜tool▁outputs▁end｜>",
                                                 "<｜tool▁output▁begin｜>",
                                                 "<｜tool▁output▁end｜>",
                                                 "<｜tool▁sep｜>"};

base::Json golden(const std::string& name) {
  std::ifstream file(std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/template/" + name + ".json");
  std::stringstream text;
  text << file.rdbuf();
  auto json = base::parse_json(text.str(), name);
  EXPECT_TRUE(json.has_value()) << name;
  return json ? *json : base::Json::object();
}

std::unique_ptr<const PromptBuilder> builder(const std::string& name,
                                             std::vector<std::string> marks = deepseek_marks) {
  const std::string source = golden(name).find("template")->as_string();
  auto tokenizer = text::Tokenizer::make(byte_vocabulary(marks));
  auto compiled = text::ChatTemplate::compile(source);
  EXPECT_TRUE(tokenizer.has_value() && compiled.has_value());
  return PromptBuilder::make(std::move(*tokenizer), std::move(*compiled), source, 400);
}

std::string expected(const std::string& name, const std::string& test_case) {
  const base::Json file = golden(name);
  for (const base::Json& one : file.find("cases")->as_array()) {
    if (one.find("name")->as_string() != test_case) continue;
    std::string text = one.find("expected")->as_string();
    const std::string bos = file.find("bos_token")->as_string();
    return text.starts_with(bos) ? "<|bos|>" + text.substr(bos.size()) : text;
  }
  ADD_FAILURE() << "no case " << test_case;
  return "";
}

Tool tool(const std::string& name, const std::string& description = "Does it.") {
  return {name,
          base::Json::object(
              {{"type", "function"},
               {"function",
                base::Json::object({{"name", name},
                                    {"description", description},
                                    {"parameters", base::Json::object({{"type", "object"}})}})}})};
}

std::string build(const PromptBuilder& b, const ChatPrompt& chat) {
  auto prompt = b.build(chat, 1'700'000'000);
  EXPECT_TRUE(prompt.has_value()) << prompt.error().message();
  return prompt ? b.tokenizer().decode(prompt->ids) : "";
}

int count(std::string_view text, std::string_view what) {
  int found = 0;
  for (size_t at = 0; (at = text.find(what, at)) != std::string_view::npos; ++at) ++found;
  return found;
}

Message user(std::string text) { return {.role = "user", .content = std::move(text)}; }
Message calling(std::vector<ToolCall> calls, std::string content = "") {
  return {.role = "assistant", .content = std::move(content), .tool_calls = std::move(calls)};
}
Message result(std::string id, std::string text) {
  return {.role = "tool", .content = std::move(text), .tool_call_id = std::move(id)};
}

// Two calls, two results, an answer, another question: as the goldens "tool-call-two" have it.
ChatPrompt two_calls() {
  ChatPrompt chat;
  chat.messages = {user("Both please"),
                   calling({{"callaaaa1", "add", "{\"a\": 1, \"b\": 2}"},
                            {"callbbbb2", "tide_table", "{\"harbour\": \"Brest\"}"}},
                           "Let me check."),
                   result("callaaaa1", "3"),
                   result("callbbbb2", "{\"high\": \"06:12\", \"low\": \"12:20\"}"),
                   {.role = "assistant", .content = "3, and high water is at 06:12."},
                   user("Merci")};
  return chat;
}

TEST(ToolPrompts, FamiliesHaveAFormOrNone) {
  for (const char* name : {"deepseek-v3-npm", "deepseek-v3.1", "deepseek-r1-distill-llama-8b",
                           "deepseek-r1-distill-qwen-32b", "llama-cpp-deepseek-r1", "qwen2.5-7b",
                           "qwen3-0.6b", "qwq-32b", "kimi-k2", "kimi-k2-instruct"}) {
    EXPECT_TRUE(builder(name)->has_tools()) << name;
  }
  EXPECT_TRUE(builder("llama-3.1-8b", {"<|python_tag|>"})->has_tools());
  EXPECT_TRUE(builder("llama-3.2-3b", {"<|python_tag|>"})->has_tools());
  for (const char* name : {"smollm2-gguf", "smollm3", "llama-3.1-8b", "deepseek-v3.2"}) {
    auto b = builder(name);
    EXPECT_FALSE(b->has_tools()) << name;
    ChatPrompt chat{.messages = {user("hi")}};
    chat.tools = {tool("f")};
    EXPECT_EQ(b->build(chat, 0).error().kind, base::ErrorKind::unsupported) << name;
    chat.tool_choice = ToolChoice::none;
    EXPECT_TRUE(b->build(chat, 0).has_value()) << name;
  }
}

// A file may have the marks of a form and no token for what stands between them: an answer could
// not be made to begin with a call.
TEST(ToolPrompts, AVocabularyThatCannotSpellTheMarksHasNoForm) {
  const std::string source = golden("deepseek-v3.1").find("template")->as_string();
  for (const bool whole : {true, false}) {
    text::TokenizerSpec spec = byte_vocabulary({"<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"});
    for (int byte = 0; !whole && byte < 256; ++byte) spec.tokens[byte] = fmt::format("{}~", byte);
    auto tokenizer = text::Tokenizer::make(std::move(spec));
    auto compiled = text::ChatTemplate::compile(source);
    ASSERT_TRUE(tokenizer.has_value() && compiled.has_value());
    const auto made = PromptBuilder::make(std::move(*tokenizer), std::move(*compiled), source, 400);
    EXPECT_EQ(made->has_tools(), whole);
  }
}

TEST(ToolPrompts, TurnsOfV31AreTheGoldens) {
  auto b = builder("deepseek-v3.1");
  ChatPrompt chat = two_calls();
  std::string wanted = expected("deepseek-v3.1", "tool-call-two");
  // The golden's arguments were texts and so were quoted; the template wants objects.
  for (const auto& [quoted, plain] : std::vector<std::pair<std::string, std::string>>{
           {R"("{\"a\": 1, \"b\": 2}")", R"({"a": 1, "b": 2})"},
           {R"("{\"harbour\": \"Brest\"}")", R"({"harbour": "Brest"})"}}) {
    const size_t at = wanted.find(quoted);
    ASSERT_NE(at, std::string::npos);
    wanted.replace(at, quoted.size(), plain);
  }
  EXPECT_EQ(build(*b, chat), wanted);
  chat.messages.resize(4);
  EXPECT_TRUE(build(*b, chat).ends_with("\"12:20\"}<｜tool▁output▁end｜>"));
}

TEST(ToolPrompts, TurnsOfV3AndR1LoseNoCall) {
  for (const char* name : {"deepseek-v3-npm", "deepseek-r1-distill-llama-8b",
                           "deepseek-r1-distill-qwen-32b", "llama-cpp-deepseek-r1"}) {
    auto b = builder(name);
    ChatPrompt chat = two_calls();
    chat.messages.push_back(calling({{"1", "add", "{}"}, {"2", "add", "{}"}, {"3", "add", "{}"}}));
    for (const char* id : {"3", "1", "2"})
      chat.messages.push_back(result(id, "r" + std::string(id)));
    const std::string text = build(*b, chat);
    EXPECT_NE(
        text.find("<｜Assistant｜>Let me check.<｜tool▁calls▁begin｜>"
                  "<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{\"a\": 1, \"b\": 2}\n"
                  "```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>tide_table"),
        std::string::npos)
        << text;
    EXPECT_EQ(count(text, "<｜tool▁calls▁begin｜>"), 2) << text;
    EXPECT_EQ(count(text, "<｜tool▁calls▁end｜><｜end▁of▁sentence｜>"), 2) << text;
    EXPECT_EQ(count(text, "<｜tool▁call▁begin｜>"), 5) << text;
    EXPECT_EQ(count(text, "<｜tool▁outputs▁begin｜>"), 2) << text;
    EXPECT_NE(
        text.find("<｜tool▁outputs▁end｜>3, and high water is at 06:12.<｜end▁of▁sentence｜>"),
        std::string::npos)
        << text;
    EXPECT_TRUE(
        text.ends_with("<｜tool▁output▁begin｜>r1<｜tool▁output▁end｜>\n<｜tool▁output▁begin｜>r2"
                       "<｜tool▁output▁end｜>\n<｜tool▁output▁begin｜>r3<｜tool▁output▁end｜>"
                       "<｜tool▁outputs▁end｜>"))
        << text;
  }
  // Without a golden's own fault (no end after one call) the two agree.
  auto b = builder("deepseek-v3-npm");
  ChatPrompt one;
  one.messages = {user("2+40?"),
                  calling({{"callaaaa1", "add", "{\"a\":2,\"b\":40}"}}),
                  result("callaaaa1", "42"),
                  {.role = "assistant", .content = "It is 42."},
                  user("Thanks")};
  std::string wanted = expected("deepseek-v3-npm", "tool-call-null-content");
  wanted.insert(wanted.find("<｜tool▁outputs▁begin｜>"),
                "<｜tool▁calls▁end｜><｜end▁of▁sentence｜>");
  EXPECT_EQ(build(*b, one), wanted);
}

TEST(ToolPrompts, DefinitionsStandInTheSystemPromptOfDeepSeek) {
  for (const char* name : {"deepseek-v3-npm", "deepseek-v3.1", "deepseek-r1-distill-llama-8b",
                           "llama-cpp-deepseek-r1"}) {
    auto b = builder(name);
    ChatPrompt chat{.messages = {{.role = "system", .content = "Be kind."}, user("hi")}};
    const std::string plain = build(*b, chat);
    chat.tools = {tool("add", "Adds <｜tool▁calls▁begin｜> two"), tool("ping")};
    auto prompt = b->build(chat, 0);
    ASSERT_TRUE(prompt.has_value());
    const std::string text = b->tokenizer().decode(prompt->ids);
    EXPECT_TRUE(text.starts_with("<|bos|>Be kind.\n\n## Tools\n")) << text;
    EXPECT_NE(text.find("### add\nDescription: Adds <"), std::string::npos) << text;
    EXPECT_NE(text.find("Parameters: {\"type\": \"object\"}"), std::string::npos) << text;
    // The turn and the opening of the answer stay the file's.
    EXPECT_TRUE(text.ends_with(plain.substr(plain.find("<｜User｜>")))) << text;
    // Of the marks only those that the template wrote are tokens.
    const int32_t open = b->tokenizer().id_of("<｜tool▁calls▁begin｜>");
    EXPECT_EQ(std::count(prompt->ids.begin(), prompt->ids.end(), open), 1) << text;
    chat.tool_choice = ToolChoice::none;
    EXPECT_EQ(build(*b, chat), plain);
    EXPECT_TRUE(b->build(chat, 0)->tools.has_value()) << "what is called all the same is dropped";
  }
}

TEST(ToolPrompts, OtherFamiliesGetArgumentsAsTheirTemplatesWantThem) {
  ChatPrompt chat = two_calls();
  chat.tools = {tool("add"), tool("tide_table")};
  std::string text = build(*builder("qwen2.5-7b"), chat);
  EXPECT_NE(text.find("Let me check.\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1, "
                      "\"b\": 2}}\n</tool_call>\n<tool_call>"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("{\"type\": \"function\", \"function\": {\"name\": \"tide_table\""),
            std::string::npos);
  text = build(*builder("qwen3-0.6b"), chat);
  EXPECT_NE(text.find("\"arguments\": {\"a\": 1, \"b\": 2}}"), std::string::npos) << text;
  for (const char* name : {"kimi-k2", "kimi-k2-instruct"}) {
    text = build(*builder(name), chat);
    EXPECT_NE(text.find("<|tool_call_begin|>functions.tide_table:1<|tool_call_argument_begin|>"
                        "{\"harbour\": \"Brest\"}<|tool_call_end|>"),
              std::string::npos)
        << text;
    EXPECT_NE(text.find("## Return of functions.add:0"), std::string::npos) << text;
  }
  // Llama takes one call a message: two become two exchanges.
  text = build(*builder("llama-3.1-8b", {"<|python_tag|>"}), chat);
  const size_t first = text.find("{\"name\": \"add\", \"parameters\": {\"a\": 1, \"b\": 2}}");
  const size_t second = text.find("{\"name\": \"tide_table\", \"parameters\":");
  const size_t between = text.find("ipython", first);
  EXPECT_TRUE(first < between && between < second && second != std::string::npos) << text;
}

TEST(ToolPrompts, HowAnAnswerIsMadeToBegin) {
  const auto opening = [](const PromptBuilder& b, ChatPrompt chat) {
    auto prompt = b.build(chat, 0);
    EXPECT_TRUE(prompt.has_value() && prompt->opening.has_value());
    return b.tokenizer().decode(prompt->opening->before) + "@" +
           b.tokenizer().decode(prompt->opening->after);
  };
  ChatPrompt chat{.messages = {user("hi")}};
  chat.tools = {tool("f"), tool("g")};
  auto qwen = builder("qwen2.5-7b");
  EXPECT_FALSE(qwen->build(chat, 0)->opening.has_value());
  chat.tool_choice = ToolChoice::required;
  EXPECT_EQ(opening(*qwen, chat), "<tool_call>\n{\"name\": \"@\", \"arguments\": ");
  EXPECT_EQ(opening(*builder("deepseek-v3.1"), chat),
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>@<｜tool▁sep｜>");
  EXPECT_EQ(opening(*builder("deepseek-v3-npm"), chat),
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>@\n```json\n");
  chat.tool_choice = ToolChoice::named;
  chat.tool_name = "g";
  EXPECT_EQ(qwen->build(chat, 0)->tools->names, std::vector<std::string>{"g"});
  EXPECT_EQ(opening(*qwen, chat), "<tool_call>\n{\"name\": \"g\", \"arguments\": @");
  EXPECT_EQ(opening(*builder("kimi-k2-instruct"), chat),
            "<|tool_calls_section_begin|><|tool_call_begin|>functions.g:0"
            "<|tool_call_argument_begin|>@");
}

// The name is chosen by the model among the declared ones, whatever it would rather say.
TEST(OpeningGuide, OnlyDeclaredNamesAreSpelled) {
  auto tokenizer = *text::Tokenizer::make(byte_vocabulary());
  const auto run = [&](const std::string& likes) {
    OpeningGuide guide({{'<'}, {'"', ':'}, {"get", "get_time", "set"}}, *tokenizer);
    std::string said;
    while (!guide.done() && said.size() < 40) {
      std::vector<float> logits(fake_vocab, 0.0f);
      for (size_t i = 0; i < likes.size(); ++i) {
        logits[static_cast<uint8_t>(likes[i])] = static_cast<float>(likes.size() - i);
      }
      logits['!'] = 100;
      auto id = guide.next(logits, [](std::span<const float> row) -> base::Result<int32_t> {
        return static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
      });
      EXPECT_TRUE(id.has_value());
      said += static_cast<char>(*id);
    }
    return said;
  };
  EXPECT_EQ(run("g\""), "<get\":");
  EXPECT_EQ(run("g_"), "<get_time\":");
  EXPECT_EQ(run("s"), "<set\":");
  EXPECT_TRUE(OpeningGuide({{}, {}, {}}, *tokenizer).done());
}

}  // namespace
}  // namespace engine
