#include "api/requests.h"

#include <gtest/gtest.h>

#include "api/site.h"

namespace api {
namespace {

base::Json json(const std::string& text) {
  auto parsed = base::parse_json(text, "test");
  EXPECT_TRUE(parsed) << text;
  return parsed ? *parsed : base::Json();
}

std::string with(const std::string& fields) {
  return R"({"model":"m","messages":[{"role":"user","content":"hi"}])" +
         (fields.empty() ? "" : "," + fields) + "}";
}

ChatRequest good(const std::string& fields) {
  auto parsed = parse_chat_request(json(with(fields)), false);
  EXPECT_TRUE(parsed) << fields << ": " << (parsed ? "" : parsed.error().message);
  return parsed ? *parsed : ChatRequest();
}

void bad(const std::string& fields, int status, const std::string& param) {
  const auto parsed = parse_chat_request(json(with(fields)), false);
  ASSERT_FALSE(parsed) << fields;
  EXPECT_EQ(parsed.error().status, status) << fields;
  EXPECT_EQ(parsed.error().param, param) << fields;
  EXPECT_LT(parsed.error().message.size(), 600u);
}

void bad_body(const std::string& body, int status, const std::string& param, bool beta = false) {
  const auto parsed = parse_chat_request(json(body), beta);
  ASSERT_FALSE(parsed) << body;
  EXPECT_EQ(parsed.error().status, status) << body;
  EXPECT_EQ(parsed.error().param, param) << body;
}

TEST(ChatRequest, AbsentAndNullFieldsLeaveTheModelsDefaults) {
  for (const char* fields : {"", R"("temperature":null,"stop":null,"tools":null,"seed":null,
       "response_format":null,"logprobs":null,"stream":null,"n":null)"}) {
    const ChatRequest request = good(fields);
    EXPECT_FALSE(request.common.sampling.temperature);
    EXPECT_FALSE(request.common.tokens_max);
    EXPECT_EQ(request.common.choices, 1);
    EXPECT_EQ(request.common.logprobs_top, -1);
    const auto defaults = json(R"({"temperature":0.6,"top_p":0.95,"top_k":20})");
    const engine::SamplingParams sampling = sampling_of(request.common.sampling, defaults);
    EXPECT_EQ(sampling.temperature, 0.6);
    EXPECT_EQ(sampling.top_p, 0.95);
    EXPECT_EQ(sampling.top_k, 20);
    EXPECT_FALSE(sampling.seed);
  }
}

TEST(ChatRequest, TakesWhatItKnows) {
  const ChatRequest request = good(
      R"("temperature":1,"top_p":1.0,"max_tokens":4.0,"stop":["a","b"],"seed":-5,"logprobs":true,
         "top_logprobs":3,"n":2,"stream":true,"stream_options":{"include_usage":true},
         "frequency_penalty":-2,"presence_penalty":2,"user_id":"u","tools":[],"tool_choice":"none",
         "response_format":{"type":"text"},"metadata":{"a":"b"},"store":false,
         "reasoning_effort":"low","thinking":{"type":"enabled"},"logit_bias":{})");
  EXPECT_EQ(request.common.sampling.temperature, 1.0);
  EXPECT_EQ(request.common.tokens_max, 4);
  EXPECT_EQ(request.common.stop_strings.size(), 2u);
  EXPECT_EQ(request.common.sampling.seed, -5);
  EXPECT_EQ(request.common.logprobs_top, 3);
  EXPECT_EQ(request.common.choices, 2);
  EXPECT_TRUE(request.common.include_usage);
  EXPECT_EQ(request.prompt.thinking, engine::Thinking::on);
  EXPECT_EQ(request.thinking_tokens_max, limits::low_effort_thinking_tokens);
  EXPECT_EQ(good(R"("max_completion_tokens":7)").common.tokens_max, 7);
  EXPECT_EQ(good(R"("reasoning_effort":"none")").prompt.thinking, engine::Thinking::off);
  EXPECT_EQ(good(R"("reasoning_effort":"none")").thinking_tokens_max, -1);
  EXPECT_EQ(good(R"("stop":"x")").common.stop_strings, std::vector<std::string>{"x"});
}

// DeepSeek's three efforts, and OpenAI's words as the nearest of them: as its documents say.
TEST(ChatRequest, EffortsAreThree) {
  const auto effort = [](const ChatRequest& request) {
    return request.prompt.template_arguments.find("reasoning_effort")->as_string();
  };
  const auto check = [&](const std::string& word, const std::string& said, int tokens) {
    const ChatRequest request = good("\"reasoning_effort\":\"" + word + "\"");
    EXPECT_EQ(effort(request), said) << word;
    EXPECT_EQ(request.thinking_tokens_max, tokens) << word;
    EXPECT_EQ(request.prompt.thinking, engine::Thinking::by_default) << word;
  };
  for (const char* word : {"minimal", "low"}) check(word, "low", 1'024);
  for (const char* word : {"medium", "high"}) check(word, "high", 16'384);
  for (const char* word : {"xhigh", "max"}) check(word, "max", -1);
  EXPECT_FALSE(good("\"n\":1").prompt.template_arguments.is_object());

  const ChatRequest inside = good(R"("thinking":{"type":"enabled","reasoning_effort":"medium"})");
  EXPECT_EQ(effort(inside), "high");
  EXPECT_EQ(inside.thinking_tokens_max, 16'384);
  const ChatRequest budget =
      good(R"("thinking":{"type":"enabled","budget_tokens":77},"reasoning_effort":"high")");
  EXPECT_EQ(budget.thinking_tokens_max, 77);
  const ChatRequest own =
      good(R"("reasoning_effort":"low","chat_template_kwargs":{"reasoning_effort":"max","x":1})");
  EXPECT_EQ(effort(own), "max");
  EXPECT_EQ(own.prompt.template_arguments.find("x")->as_integer(), 1);
}

TEST(ChatRequest, RefusesByName) {
  bad(R"("temperature":"hot")", 400, "temperature");
  bad(R"("temperature":2.5)", 422, "temperature");
  bad(R"("temperature":true)", 400, "temperature");
  bad(R"("top_p":2)", 422, "top_p");
  bad(R"("max_tokens":0)", 422, "max_tokens");
  bad(R"("max_tokens":4.5)", 400, "max_tokens");
  bad(R"("max_tokens":true)", 400, "max_tokens");
  bad(R"("max_tokens":4294967296)", 422, "max_tokens");
  bad(R"("max_tokens":1,"max_completion_tokens":2)", 400, "max_completion_tokens");
  bad(R"("n":0)", 422, "n");
  bad(R"("n":-1)", 422, "n");
  bad(R"("n":1000000000)", 422, "n");
  bad(R"("n":18446744073709551617)", 422, "n");
  bad(R"("n":"2")", 400, "n");
  bad(R"("stop":5)", 400, "stop");
  bad(R"("stop":[5])", 400, "stop[0]");
  bad(R"("stop":"")", 422, "stop");
  bad(R"("stream":"yes")", 400, "stream");
  bad(R"("stream_options":{"include_usage":true})", 400, "stream_options");
  bad(R"("stream":true,"stream_options":{"include_usage":1})", 400, "stream_options.include_usage");
  bad(R"("top_logprobs":2)", 400, "top_logprobs");
  bad(R"("logprobs":true,"top_logprobs":21)", 422, "top_logprobs");
  bad(R"("logprobs":5)", 400, "logprobs");
  bad(R"("tools":{"a":1})", 400, "tools");
  bad(R"("tools":{})", 400, "tools");
  bad(R"("tool_choice":"auto")", 400, "tool_choice");
  bad(R"("tool_choice":{})", 400, "tool_choice");
  bad(R"("parallel_tool_calls":true)", 400, "parallel_tool_calls");
  bad(R"("response_format":{"type":"json_object"})", 400, "response_format");
  bad(R"("response_format":{"type":"json_schema","json_schema":{}})", 400, "response_format");
  bad(R"("response_format":{"type":"yaml"})", 400, "response_format.type");
  bad(R"("response_format":"text")", 400, "response_format");
  bad(R"("logit_bias":{"1":-100})", 400, "logit_bias");
  bad(R"("user_id":")" + std::string(513, 'x') + "\"", 422, "user_id");
  bad(R"("thinking":{"type":"sometimes"})", 422, "thinking.type");
  bad(R"("thinking":{})", 400, "thinking.type");
  bad(R"("reasoning_effort":"heroic")", 422, "reasoning_effort");
  bad(R"("audio":{"voice":"x"})", 400, "audio");
  bad(R"("suffix":"x")", 400, "suffix");
  bad(R"("frobnicate":1)", 400, "frobnicate");
  bad("\"" + std::string(100'000, 'k') + "\":1", 400, std::string(61, 'k') + "...");
}

std::string declared(const std::string& more = "") {
  return R"("tools":[{"type":"function","function":{"name":"f"}},
      {"type":"function","function":{"name":"get-it_2","description":"d",
       "parameters":{"type":"object","properties":{"b":{},"a":{}}}}}])" +
         (more.empty() ? "" : "," + more);
}

TEST(ChatRequest, ToolsAndTheirChoice) {
  ChatRequest request = good(declared());
  ASSERT_EQ(request.prompt.tools.size(), 2u);
  EXPECT_EQ(request.prompt.tools[1].name, "get-it_2");
  EXPECT_EQ(request.prompt.tools[1].definition.find("function")->find("parameters")->dump(),
            R"({"type":"object","properties":{"b":{},"a":{}}})")
      << "in the client's order";
  EXPECT_EQ(request.prompt.tool_choice, engine::ToolChoice::automatic);
  EXPECT_TRUE(request.prompt.parallel_calls);
  EXPECT_EQ(good(declared(R"("tool_choice":"none")")).prompt.tool_choice, engine::ToolChoice::none);
  EXPECT_EQ(
      good(declared(R"("tool_choice":"required","parallel_tool_calls":true)")).prompt.tool_choice,
      engine::ToolChoice::required);
  request = good(declared(
      R"("tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false)"));
  EXPECT_EQ(request.prompt.tool_choice, engine::ToolChoice::named);
  EXPECT_EQ(request.prompt.tool_name, "f");
  EXPECT_FALSE(request.prompt.parallel_calls);
}

TEST(ChatRequest, ToolsAreRefusedByName) {
  const auto tool = [](const std::string& function) {
    return R"("tools":[{"type":"function","function":)" + function + "}]";
  };
  bad(R"("tools":[5])", 400, "tools[0]");
  bad(R"("tools":[{}])", 400, "tools[0].type");
  bad(R"("tools":[{"type":"retrieval"}])", 422, "tools[0].type");
  bad(R"("tools":[{"type":"function"}])", 400, "tools[0].function");
  bad(R"("tools":[{"type":"function","function":{"name":"f"},"x":1}])", 400, "tools[0].x");
  bad(tool("{}"), 400, "tools[0].function.name");
  bad(tool(R"({"name":""})"), 422, "tools[0].function.name");
  bad(tool(R"({"name":"a b"})"), 422, "tools[0].function.name");
  bad(tool(R"({"name":"<|im_end|>"})"), 422, "tools[0].function.name");
  bad(tool("{\"name\":\"" + std::string(65, 'n') + "\"}"), 422, "tools[0].function.name");
  bad(tool(R"({"name":"f","description":5})"), 400, "tools[0].function.description");
  bad(tool(R"({"name":"f","parameters":[]})"), 400, "tools[0].function.parameters");
  bad(tool(R"({"name":"f","strict":true})"), 400, "tools[0].function.strict");
  bad(tool(R"({"name":"f","parameters":{"x":")" + std::string(70'000, 'x') + "\"}}"), 422,
      "tools[0].function.parameters");
  std::string deep = "1";
  for (int i = 0; i < limits::tool_schema_depth_max; ++i) deep = "{\"a\":" + deep + "}";
  good(tool("{\"name\":\"f\",\"parameters\":" + deep + "}"));
  bad(tool("{\"name\":\"f\",\"parameters\":{\"a\":" + deep + "}}"), 422,
      "tools[0].function.parameters");
  std::string many, large;
  for (int i = 0; i < limits::tools_max + 1; ++i) {
    many += fmt::format(R"({}{{"type":"function","function":{{"name":"f{}"}}}})", i ? "," : "", i);
  }
  bad("\"tools\":[" + many + "]", 422, "tools");
  for (int i = 0; i < 40; ++i) {
    large +=
        fmt::format(R"({}{{"type":"function","function":{{"name":"f{}","description":"{}"}}}})",
                    i ? "," : "", i, std::string(30'000, 'd'));
  }
  bad("\"tools\":[" + large + "]", 422, "tools");
  bad(R"("tools":[{"type":"function","function":{"name":"f"}},
                 {"type":"function","function":{"name":"f"}}])",
      422, "tools[1].function.name");
  bad(declared(R"("tool_choice":"sometimes")"), 422, "tool_choice");
  bad(declared(R"("tool_choice":5)"), 400, "tool_choice");
  bad(declared(R"("tool_choice":{"type":"function","function":{"name":"g"}})"), 400,
      "tool_choice.function.name");
  bad(declared(R"("tool_choice":{"type":"function"})"), 400, "tool_choice.function");
  bad(declared(R"("functions":[{"name":"f"}])"), 400, "functions");
}

TEST(ChatRequest, CallsAndTheirResults) {
  const auto chat = [](const std::string& rest) {
    return R"({"model":"m","messages":[{"role":"user","content":"x"})" + rest + "]}";
  };
  const auto calls = [](const std::string& list) {
    return R"(,{"role":"assistant","content":null,"tool_calls":[)" + list + "]}";
  };
  const std::string one =
      R"({"id":"1","type":"function","function":{"name":"f","arguments":"{}"}})";
  const std::string two = R"({"id":"2","index":1,"function":{"name":"g","arguments":""}})";
  const std::string first = R"(,{"role":"tool","content":"a","tool_call_id":"1"})";
  const std::string second =
      R"(,{"role":"tool","content":[{"type":"text","text":"b"}],"tool_call_id":"2","name":"g"})";
  const auto parsed =
      parse_chat_request(json(chat(calls(one + "," + two) + second + first)), false);
  ASSERT_TRUE(parsed) << parsed.error().message;
  const auto& list = parsed->prompt.messages;
  ASSERT_EQ(list[1].tool_calls.size(), 2u);
  EXPECT_EQ(list[1].tool_calls[0].arguments, "{}");
  EXPECT_EQ(list[1].tool_calls[1].arguments, "{}");
  EXPECT_EQ(list[2].role, "tool");
  EXPECT_EQ(list[2].content, "b");
  EXPECT_EQ(list[2].tool_call_id, "2");

  bad_body(chat(calls(one)), 400, "messages[1].tool_calls");
  bad_body(chat(calls(one) + R"(,{"role":"user","content":"y"})"), 400, "messages[1].tool_calls");
  bad_body(chat(calls(one + "," + two) + first), 400, "messages[1].tool_calls");
  bad_body(chat(calls(one) + first + first), 400, "messages[3].tool_call_id");
  bad_body(chat(calls(one) + second), 400, "messages[2].tool_call_id");
  bad_body(chat(first), 400, "messages[1].tool_call_id");
  bad_body(chat(R"(,{"role":"tool","content":"a"})"), 400, "messages[1].tool_call_id");
  bad_body(chat(R"(,{"role":"tool","tool_call_id":"1"})"), 400, "messages[1].content");
  bad_body(chat(R"(,{"role":"user","content":"a","tool_call_id":"1"})"), 400,
           "messages[1].tool_call_id");
  bad_body(chat(R"(,{"role":"user","content":"a","tool_calls":[)" + one + "]}"), 400,
           "messages[1].tool_calls");
  bad_body(chat(calls(one + "," + one) + first), 422, "messages[1].tool_calls[1].id");
  for (const auto& [call, param] : std::initializer_list<std::pair<const char*, const char*>>{
           {"{}", "id"},
           {R"({"id":""})", "id"},
           {R"({"id":"1","type":"x"})", "type"},
           {R"({"id":"1"})", "function"},
           {R"({"id":"1","function":{"arguments":"{}"}})", "function.name"},
           {R"({"id":"1","function":{"name":"f"}})", "function.arguments"},
           {R"({"id":"1","function":{"name":"f","arguments":{}}})", "function.arguments"},
           {R"({"id":"1","function":{"name":"f","arguments":"[]"}})", "function.arguments"},
           {R"({"id":"1","function":{"name":"f","arguments":"{\"a\":"}})", "function.arguments"}}) {
    const auto refused = parse_chat_request(json(chat(calls(call))), false);
    ASSERT_FALSE(refused) << call;
    EXPECT_EQ(refused.error().param, std::string("messages[1].tool_calls[0].") + param) << call;
  }
}

TEST(ChatRequest, SeventeenStopsAreOneTooMany) {
  std::string list;
  for (int i = 0; i < 16; ++i) list += (i ? ",\"s" : "\"s") + std::to_string(i) + "\"";
  EXPECT_EQ(good("\"stop\":[" + list + "]").common.stop_strings.size(), 16u);
  bad("\"stop\":[" + list + ",\"x\"]", 422, "stop");
  bad("\"stop\":\"" + std::string(limits::stop_bytes_max + 1, 'x') + "\"", 422, "stop");
}

TEST(ChatRequest, Messages) {
  const auto messages = [](const std::string& list) {
    return R"({"model":"m","messages":)" + list + "}";
  };
  bad_body("null", 400, "");
  bad_body("[]", 400, "");
  bad_body(R"({"messages":[{"role":"user","content":"x"}]})", 400, "model");
  bad_body(R"({"model":"m"})", 400, "messages");
  bad_body(messages("[]"), 422, "messages");
  bad_body(messages("\"hi\""), 400, "messages");
  bad_body(messages("[\"hi\"]"), 400, "messages[0]");
  bad_body(messages("[{}]"), 400, "messages[0].role");
  bad_body(messages(R"([{"role":"wizard","content":"x"}])"), 422, "messages[0].role");
  bad_body(messages(R"([{"role":"user"}])"), 400, "messages[0].content");
  bad_body(messages(R"([{"role":"user","content":null}])"), 400, "messages[0].content");
  bad_body(messages(R"([{"role":"user","content":5}])"), 400, "messages[0].content");
  bad_body(messages(R"([{"role":"user","content":[]}])"), 422, "messages[0].content");
  bad_body(messages(R"([{"role":"user","content":[{"text":"x"}]}])"), 400,
           "messages[0].content[0].type");
  bad_body(messages(R"([{"role":"user","content":[{"type":"text"}]}])"), 400,
           "messages[0].content[0].text");
  bad_body(
      messages(
          R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,"}}]}])"),
      400, "messages[0].content[0].image_url");
  bad_body(messages(R"([{"role":"user","content":[{"type":"file","file":{}}]}])"), 400,
           "messages[0].content[0].type");
  bad_body(messages(R"([{"role":"tool","content":"x","tool_call_id":"1"}])"), 400,
           "messages[0].tool_call_id");
  bad_body(messages(R"([{"role":"function","content":"x","name":"f"}])"), 400, "messages[0].role");
  bad_body(messages(R"([{"role":"assistant","content":"x","tool_calls":[{}]}])"), 400,
           "messages[0].tool_calls[0].id");
  bad_body(messages(R"([{"role":"assistant","content":"x","tool_calls":"f"}])"), 400,
           "messages[0].tool_calls");
  const auto parsed = parse_chat_request(json(messages(R"([{"role":"developer","content":"s"},
        {"role":"user","name":"N",
         "content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
        {"role":"assistant","content":null,"reasoning_content":"hm","tool_calls":null},
        {"role":"user","content":"c"}])")),
                                         false);
  ASSERT_TRUE(parsed) << parsed.error().message;
  const auto& list = parsed->prompt.messages;
  EXPECT_EQ(list[0].role, "system");
  EXPECT_EQ(list[1].content, "ab");
  EXPECT_EQ(list[1].name, "N");
  EXPECT_EQ(list[2].reasoning_content, "hm");
}

TEST(ChatRequest, APrefixIsForTheBetaBaseAndTheLastMessage) {
  const std::string body = R"({"model":"m","messages":[{"role":"user","content":"x"},
      {"role":"assistant","content":"y","prefix":true}]})";
  bad_body(body, 400, "messages[1].prefix");
  const auto parsed = parse_chat_request(json(body), true);
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(parsed->prompt.messages[1].prefix);
  bad_body(R"({"model":"m","messages":[{"role":"user","content":"x","prefix":true}]})", 400,
           "messages[0].prefix", true);
}

TEST(CompletionRequest, PromptsOfAllFourForms) {
  const auto prompts = [](const std::string& prompt) {
    auto parsed = parse_completion_request(json(R"({"model":"m","prompt":)" + prompt + "}"));
    EXPECT_TRUE(parsed) << prompt;
    return parsed ? parsed->prompts : std::vector<engine::Prompt>();
  };
  EXPECT_EQ(std::get<engine::TextPrompt>(prompts("\"a\"")[0]).text, "a");
  EXPECT_EQ(prompts(R"(["a","b"])").size(), 2u);
  EXPECT_EQ(std::get<engine::IdsPrompt>(prompts("[1,2]")[0]).ids, (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(prompts("[[1],[2,3]]").size(), 2u);
  for (const char* prompt : {"[]", "5", "{}", "[[]]", "[1,\"a\"]", "[-1]", "[1.5]", "[4294967296]",
                             "[\"a\",5]", "null", "[[1],[\"a\"]]"}) {
    const auto parsed =
        parse_completion_request(json(std::string(R"({"model":"m","prompt":)") + prompt + "}"));
    ASSERT_FALSE(parsed) << prompt;
    EXPECT_EQ(parsed.error().status, 400) << prompt;
  }
}

TEST(CompletionRequest, EchoLogprobsAndLimits) {
  const auto parse = [](const std::string& fields) {
    return parse_completion_request(json(R"({"model":"m","prompt":"p",)" + fields + "}"));
  };
  EXPECT_EQ(parse(R"("echo":true,"logprobs":1,"max_tokens":0)")->common.tokens_max, 0);
  EXPECT_EQ(parse(R"("max_tokens":0)").error().status, 422);
  EXPECT_EQ(parse(R"("logprobs":false)")->common.logprobs_top, -1);
  EXPECT_EQ(parse(R"("logprobs":true)").error().param, "logprobs");
  EXPECT_EQ(parse(R"("suffix":"x")").error().param, "suffix");
  EXPECT_EQ(parse(R"("best_of":2)").error().param, "best_of");
  std::string many = "[\"a\"";
  for (int i = 0; i < 40; ++i) many += ",\"a\"";
  EXPECT_EQ(
      parse_completion_request(json(R"({"model":"m","n":8,"prompt":)" + many + "]}")).error().param,
      "n");
}

TEST(Sampling, ExtremesNeverReachTheSampler) {
  SamplingFields fields;
  fields.temperature = 1e-320;
  fields.top_p = 0;
  const engine::SamplingParams sampling = sampling_of(fields, base::Json());
  EXPECT_EQ(sampling.temperature, 0);
  EXPECT_EQ(sampling.top_p, 0);
  fields.temperature.reset();
  EXPECT_EQ(sampling_of(fields, base::Json()).temperature, 1.0);
}

TEST(TokenizeRequest, OneOfThreeForms) {
  EXPECT_EQ(parse_tokenize_request(json(R"({"prompt":"a"})"))->text, "a");
  EXPECT_EQ(parse_tokenize_request(json(R"({"content":"a"})"))->text, "a");
  EXPECT_TRUE(
      parse_tokenize_request(json(R"({"messages":[{"role":"user","content":"a"}]})"))->chat);
  EXPECT_FALSE(parse_tokenize_request(json("{}")));
  EXPECT_FALSE(parse_tokenize_request(json(R"({"prompt":"a","content":"b"})")));
  EXPECT_EQ(parse_detokenize_request(json(R"({"tokens":[1,2]})"))->ids.size(), 2u);
  EXPECT_FALSE(parse_detokenize_request(json(R"({"tokens":[-1]})")));
  EXPECT_FALSE(parse_detokenize_request(json(R"({"tokens":"1"})")));
}

TEST(GenerationRequest, ThePathIsAChainThatEndsWithAQuestionOrTheAnswer) {
  const std::string k(32, 'a'), c(32, 'b'), n(32, 'c'), a(32, 'd');
  const auto parse = [&](const std::string& path) {
    return parse_generation_request(
        json(R"({"key":")" + k + R"(","conversation":")" + c + R"(","answer":")" + a +
             R"(","model":"m","path":)" + path + "}"),
        100);
  };
  const std::string question = R"({"id":")" + n + R"(","parent":null,"role":"user","content":"x"})";
  const std::string answer =
      R"({"id":")" + a + R"(","parent":")" + n + R"(","role":"assistant","content":"y"})";
  ASSERT_TRUE(parse("[" + question + "]"));
  ASSERT_TRUE(parse("[" + question + "," + answer + "]"));
  const auto continued = parse("[" + question + "," + answer + "]");
  EXPECT_TRUE(messages_of("", continued->path, true).back().prefix);
  EXPECT_EQ(messages_of("s", continued->path, true).front().role, "system");
  EXPECT_EQ(parse("[]").error().param, "path");
  EXPECT_EQ(parse("[" + question + "," + question + "]").error().param, "path[1].parent");
  EXPECT_EQ(parse(R"([{"id":"x","role":"user","content":"x"}])").error().param, "path[0].id");
  EXPECT_EQ(
      parse(R"([{"id":")" + n + R"(","role":"user","content":")" + std::string(101, 'x') + "\"}]")
          .error()
          .status,
      413);
}

TEST(Follows, PairsOfIdAndNumber) {
  EXPECT_EQ(parse_follows("")->size(), 0u);
  EXPECT_EQ((*parse_follows("ab:3,cd:0"))[0].after, 3);
  for (const char* text : {"ab", ":1", "ab:", "ab:-1", "ab:x", "XY:1", "ab:99999999999999999999"}) {
    EXPECT_FALSE(parse_follows(text)) << text;
  }
  std::string many = "a:1";
  for (size_t i = 0; i < EventStreams::follows_max; ++i) many += ",a:1";
  EXPECT_FALSE(parse_follows(many));
}

}  // namespace
}  // namespace api
