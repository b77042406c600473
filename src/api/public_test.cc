// The public API from request to last byte, with an engine that does what the test says.
#include "api/answer.h"
#include "api/bench_for_test.h"

namespace api {
namespace {

class PublicTest : public Bench {
 protected:
  std::shared_ptr<FakeExchange> chat(const std::string& fields = "",
                                     const std::string& path = "/v1/chat/completions") {
    return send("POST", path,
                R"({"model":"tiny","messages":[{"role":"user","content":"hi"}])" +
                    (fields.empty() ? "" : "," + fields) + "}");
  }
  static engine::Token token(const std::string& text, float logprob = -0.5f) {
    engine::Token out;
    out.chosen = {1, text, logprob};
    out.top = {{1, text, logprob}, {2, "zz", logprob - 1}};
    return out;
  }
};

TEST_F(PublicTest, APlainAnswer) {
  auto exchange = chat(R"("max_tokens":5,"seed":7)");
  until_started(1);
  const engine::Request request = engine_.started(0).request;
  EXPECT_EQ(request.model, "tiny");
  EXPECT_EQ(request.tokens_max, 5);
  EXPECT_EQ(request.sampling.temperature, 0.6) << "the model's default";
  EXPECT_EQ(request.sampling.seed, 7u);
  emit(0, engine::Reading{10, 10, 4});
  emit(0, delta("hm", engine::Part::reasoning));
  emit(0, delta("Hel"));
  emit(0, delta("lo"));
  EXPECT_FALSE(exchange->answered());
  emit(0, end());
  ASSERT_EQ(exchange->status, 200);
  const base::Json body = exchange->json();
  EXPECT_EQ(body.find("object")->as_string(), "chat.completion");
  const base::Json& choice = body.find("choices")->as_array()[0];
  EXPECT_EQ(choice.find("message")->find("content")->as_string(), "Hello");
  EXPECT_EQ(choice.find("message")->find("reasoning_content")->as_string(), "hm");
  EXPECT_EQ(choice.find("finish_reason")->as_string(), "stop");
  EXPECT_TRUE(choice.find("logprobs")->is_null());
  const base::Json* usage = body.find("usage");
  EXPECT_EQ(usage->find("prompt_tokens")->as_integer(), 10);
  EXPECT_EQ(usage->find("prompt_cache_hit_tokens")->as_integer(), 4);
  EXPECT_EQ(usage->find("prompt_cache_miss_tokens")->as_integer(), 6);
  EXPECT_EQ(usage->find("total_tokens")->as_integer(), 13);
  EXPECT_EQ(usage->find("completion_tokens_details")->find("reasoning_tokens")->as_integer(), 1);
}

TEST_F(PublicTest, AStreamWithUsage) {
  auto exchange = chat(R"("stream":true,"stream_options":{"include_usage":true})");
  until_started(1);
  EXPECT_FALSE(exchange->answered()) << "headers wait until it is admitted";
  emit(0, engine::Queued{3, 100, 200});
  EXPECT_EQ(exchange->status, 200);
  EXPECT_EQ(exchange->header("x-queue-position"), "3");
  EXPECT_EQ(exchange->header("content-type"), "text/event-stream; charset=utf-8");
  EXPECT_EQ(exchange->header("x-accel-buffering"), "no");
  EXPECT_EQ(exchange->header("cache-control"), "no-store");
  emit(0, delta("a", engine::Part::reasoning));
  emit(0, delta("b"));
  emit(0, end(engine::EndReason::length));
  EXPECT_TRUE(exchange->ended);
  EXPECT_TRUE(exchange->body.ends_with("data: [DONE]\n\n"));
  const std::vector<base::Json> events = exchange->events();
  ASSERT_EQ(events.size(), 5u);
  const auto delta_of = [&](size_t i) {
    return *events[i].find("choices")->as_array()[0].find("delta");
  };
  EXPECT_EQ(delta_of(0).find("role")->as_string(), "assistant");
  EXPECT_EQ(delta_of(1).find("reasoning_content")->as_string(), "a");
  EXPECT_EQ(delta_of(2).find("content")->as_string(), "b");
  EXPECT_EQ(events[3].find("choices")->as_array()[0].find("finish_reason")->as_string(), "length");
  EXPECT_TRUE(events[3].find("usage")->is_null());
  EXPECT_TRUE(events[4].find("choices")->as_array().empty());
  EXPECT_EQ(events[4].find("usage")->find("completion_tokens")->as_integer(), 3);
  for (const base::Json& event : events) {
    EXPECT_EQ(event.find("object")->as_string(), "chat.completion.chunk");
    EXPECT_EQ(*event.find("id"), *events[0].find("id"));
  }
}

engine::Delta calls(std::vector<engine::CalledTool> called) {
  engine::Delta out;
  out.calls = std::move(called);
  return out;
}
constexpr const char* declared =
    R"("tools":[{"type":"function","function":{"name":"f"}},
                {"type":"function","function":{"name":"g"}}])";

TEST_F(PublicTest, ToolCallsOfAPlainAnswer) {
  auto exchange = chat(declared);
  until_started(1);
  const auto prompt = std::get<engine::ChatPrompt>(engine_.started(0).request.prompt);
  EXPECT_EQ(prompt.tools.size(), 2u);
  emit(0, calls({{0, "f", R"({"a":1})"}}));
  emit(0, calls({{1, "g", "{}"}}));
  emit(0, end());
  const base::Json body = exchange->json();
  const base::Json& choice = body.find("choices")->as_array()[0];
  EXPECT_EQ(choice.find("finish_reason")->as_string(), "tool_calls");
  EXPECT_TRUE(choice.find("message")->find("content")->is_null());
  const auto& list = choice.find("message")->find("tool_calls")->as_array();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].find("function")->dump(), R"({"name":"f","arguments":"{\"a\":1}"})");
  EXPECT_EQ(list[0].find("type")->as_string(), "function");
  EXPECT_EQ(list[0].find("index"), nullptr);
  EXPECT_NE(*list[0].find("id"), *list[1].find("id"));
  EXPECT_LE(list[1].find("id")->as_string().size(), 40u);
}

TEST_F(PublicTest, ToolCallsOfAStream) {
  auto exchange = chat(std::string(declared) + R"(,"stream":true,"n":2)");
  until_started(2);
  emit(0, delta("Let me see."));
  emit(0, calls({{0, "f", R"({"a":1})"}}));
  emit(0, calls({{1, "g", "{}"}}));
  emit(0, end());
  emit(1, delta("No."));
  emit(1, end());
  const std::vector<base::Json> events = exchange->events();
  std::string content;
  std::vector<base::Json> seen;
  std::vector<std::string> reasons;
  for (const base::Json& event : events) {
    const base::Json& choice = event.find("choices")->as_array()[0];
    const base::Json* delta = choice.find("delta");
    if (const auto* text = delta->find("content")) content += text->as_string();
    if (const auto* list = delta->find("tool_calls")) {
      EXPECT_EQ(choice.find("index")->as_integer(), 0);
      for (const base::Json& one : list->as_array()) seen.push_back(one);
    }
    if (!choice.find("finish_reason")->is_null()) {
      reasons.push_back(choice.find("finish_reason")->as_string());
    }
  }
  EXPECT_EQ(content, "Let me see.No.");
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].find("index")->as_integer(), 0);
  EXPECT_EQ(seen[1].find("index")->as_integer(), 1);
  EXPECT_EQ(seen[1].find("function")->find("name")->as_string(), "g");
  EXPECT_FALSE(seen[1].find("id")->as_string().empty());
  EXPECT_EQ(reasons, (std::vector<std::string>{"tool_calls", "stop"}));
}

TEST_F(PublicTest, AnAnswerThatIsCutSaysSoThoughItHasCalls) {
  auto exchange = chat(declared);
  until_started(1);
  emit(0, calls({{0, "f", "{}"}}));
  emit(0, end(engine::EndReason::length));
  EXPECT_EQ(exchange->json().find("choices")->as_array()[0].find("finish_reason")->as_string(),
            "length");
}

TEST_F(PublicTest, ToolsAreRefusedByAModelWithoutAFormForThem) {
  engine_.models_[0].tools = false;
  auto refused = chat(declared);
  EXPECT_EQ(refused->status, 400);
  EXPECT_EQ(refused->json().find("error")->find("param")->as_string(), "tools");
  chat(std::string(declared) + R"(,"tool_choice":"none")");
  until_started(1);
  emit(0, end());
}

TEST_F(PublicTest, ARefusalHasItsStatus) {
  engine_.refusal_ = base::Error{base::ErrorKind::limit_exceeded, "the prompt is too long", "", ""};
  auto exchange = chat(R"("stream":true)");
  until([&] { return exchange->answered(); });
  EXPECT_EQ(exchange->status, 400);
  EXPECT_EQ(exchange->json().find("error")->find("code")->as_string(), "context_length_exceeded");
  engine_.refusal_ = base::Error{base::ErrorKind::unavailable, "the engine is restarting", "", ""};
  exchange = chat();
  until([&] { return exchange->answered(); });
  EXPECT_EQ(exchange->status, 503);
  EXPECT_EQ(exchange->header("retry-after"), "2");
  EXPECT_EQ(exchange->header("retry-after-ms"), "2000");
}

TEST_F(PublicTest, LostInMidStreamIsAnErrorFrame) {
  auto exchange = chat(R"("stream":true)");
  until_started(1);
  emit(0, delta("a"));
  engine::End lost = end(engine::EndReason::failed);
  lost.error = {base::ErrorKind::unavailable, "the engine died", "", ""};
  emit(0, lost);
  EXPECT_TRUE(exchange->ended);
  EXPECT_EQ(exchange->body.find("[DONE]"), std::string::npos);
  EXPECT_EQ(exchange->events().back().find("error")->find("code")->as_string(),
            "engine_unavailable");
}

TEST_F(PublicTest, ADisconnectStopsTheCompute) {
  for (const char* fields : {R"("stream":true)", R"("stream":false)"}) {
    const size_t before = engine_.started_count();
    auto exchange = chat(fields);
    until_started(before + 1);
    emit(before, delta("a"));
    exchange->disconnect();
    until_cancelled(before + 1);
    EXPECT_EQ(engine_.cancelled().back(), engine_.started(before).request.id);
    emit(before, end(engine::EndReason::cancelled));
  }
}

TEST_F(PublicTest, AWriteThatFailsStopsTheCompute) {
  auto exchange = chat(R"("stream":true)");
  until_started(1);
  emit(0, delta("a"));
  exchange->client_gone = true;
  emit(0, delta("b"));
  until_cancelled(1);
  emit(0, end(engine::EndReason::cancelled));
}

TEST_F(PublicTest, AStreamThatWaitsSaysWhere) {
  auto exchange = chat(R"("stream":true)");
  until_started(1);
  emit(0, engine::Queued{2, 3'000, 9'000});
  server_->advance_ms(Answer::keep_alive_ms + 1);
  EXPECT_EQ(exchange->body, ": keep-alive position=2 wait_ms=3000-9000\n\n");
  emit(0, engine::Reading{1, 10, 0});
  server_->advance_ms(Answer::keep_alive_ms);
  EXPECT_TRUE(exchange->body.ends_with(": keep-alive\n\n"));
  emit(0, delta("a"));
  emit(0, end());
}

TEST_F(PublicTest, APlainAnswerThatWaitsSendsBlankLinesAfterTenSeconds) {
  auto exchange = chat();
  until_started(1);
  emit(0, engine::Queued{4, 1'000, 2'000});
  server_->advance_ms(Answer::plain_patience_ms - 1);
  EXPECT_FALSE(exchange->answered());
  server_->advance_ms(Answer::keep_alive_ms);
  EXPECT_EQ(exchange->status, 200);
  EXPECT_EQ(exchange->header("x-queue-position"), "4");
  EXPECT_EQ(exchange->body, "\n");
  emit(0, delta("a"));
  emit(0, end());
  EXPECT_TRUE(exchange->ended);
  EXPECT_EQ(exchange->json().find("object")->as_string(), "chat.completion");
}

TEST_F(PublicTest, NothingStartedInTenMinutes) {
  auto exchange = chat();
  until_started(1);
  server_->advance_ms(Answer::start_deadline_ms + Answer::keep_alive_ms);
  EXPECT_TRUE(exchange->ended);
  EXPECT_EQ(exchange->json().find("error")->find("code")->as_string(), "queue_timeout");
  until_cancelled(1);
  emit(0, end(engine::EndReason::cancelled));
}

TEST_F(PublicTest, LogprobsOfBothParts) {
  auto exchange = chat(R"("logprobs":true,"top_logprobs":2)");
  until_started(1);
  EXPECT_EQ(engine_.started(0).request.logprobs_top, 2);
  engine::Delta thought = delta("t", engine::Part::reasoning);
  thought.logprobs = {token("t")};
  emit(0, thought);
  engine::Delta half = delta("");
  half.logprobs = {token("\xc3")};
  emit(0, half);
  engine::Delta rest = delta("é");
  rest.logprobs = {token("\xa9", -std::numeric_limits<float>::infinity())};
  emit(0, rest);
  emit(0, end());
  const base::Json body = exchange->json();
  const base::Json* logprobs = body.find("choices")->as_array()[0].find("logprobs");
  ASSERT_EQ(logprobs->find("content")->as_array().size(), 2u);
  ASSERT_EQ(logprobs->find("reasoning_content")->as_array().size(), 1u);
  const base::Json& first = logprobs->find("content")->as_array()[0];
  EXPECT_EQ(first.find("bytes")->dump(), "[195]");
  EXPECT_EQ(first.find("top_logprobs")->as_array().size(), 2u);
  EXPECT_EQ(logprobs->find("content")->as_array()[1].find("logprob")->as_number(), -9999.0);
}

TEST_F(PublicTest, SeveralVersionsHaveTheirOwnSeeds) {
  auto exchange = chat(R"("n":2,"seed":10)");
  until_started(2);
  EXPECT_EQ(engine_.started(0).request.sampling.seed, 10u);
  EXPECT_EQ(engine_.started(1).request.sampling.seed, 11u);
  emit(1, delta("second"));
  emit(0, delta("first"));
  emit(1, end());
  EXPECT_FALSE(exchange->answered());
  emit(0, end());
  const base::Json body = exchange->json();
  const auto& choices = body.find("choices")->as_array();
  ASSERT_EQ(choices.size(), 2u);
  EXPECT_EQ(choices[1].find("message")->find("content")->as_string(), "second");
  EXPECT_EQ(body.find("usage")->find("prompt_tokens")->as_integer(), 10) << "read once";
  EXPECT_EQ(body.find("usage")->find("completion_tokens")->as_integer(), 6);
}

TEST_F(PublicTest, EchoWithLogprobsAsLmEvalReadsThem) {
  auto exchange = send("POST", "/v1/completions",
                       R"({"model":"tiny","prompt":[[5,6]],"echo":true,"logprobs":1,
                           "max_tokens":1,"temperature":0})");
  until_started(1);
  EXPECT_TRUE(engine_.started(0).request.prompt_logprobs);
  emit(0, engine::PromptToken{token("A"), false});
  emit(0, engine::PromptToken{token(" bé"), true});
  engine::Delta one = delta("c");
  one.logprobs = {token("c")};
  emit(0, one);
  emit(0, end(engine::EndReason::length));
  const base::Json body = exchange->json();
  const base::Json& choice = body.find("choices")->as_array()[0];
  EXPECT_EQ(choice.find("text")->as_string(), "A béc");
  const base::Json* logprobs = choice.find("logprobs");
  EXPECT_EQ(logprobs->find("tokens")->dump(), R"(["A"," bé","c"])");
  EXPECT_EQ(logprobs->find("token_logprobs")->dump(), "[null,-0.5,-0.5]");
  EXPECT_EQ(logprobs->find("text_offset")->dump(), "[0,1,4]");
  EXPECT_TRUE(logprobs->find("top_logprobs")->as_array()[0].is_null());
  EXPECT_EQ(logprobs->find("top_logprobs")->as_array()[1].dump(), R"({" bé":-0.5,"zz":-1.5})");
}

TEST_F(PublicTest, ACompletionStreamsText) {
  auto exchange =
      send("POST", "/completions", R"({"model":"tiny","prompt":"Once","echo":true,"stream":true})");
  until_started(1);
  EXPECT_EQ(engine_.started(0).request.tokens_max, 16);
  emit(0, delta(" upon"));
  emit(0, end());
  std::string text;
  for (const base::Json& event : exchange->events()) {
    EXPECT_EQ(event.find("object")->as_string(), "text_completion");
    text += event.find("choices")->as_array()[0].find("text")->as_string();
  }
  EXPECT_EQ(text, "Once upon");
}

TEST_F(PublicTest, AliasesOfBothErasAreTheDefaultModel) {
  const std::pair<const char*, engine::Thinking> aliases[] = {
      {"deepseek-chat", engine::Thinking::off},
      {"deepseek-reasoner", engine::Thinking::on},
      {"deepseek-flash", engine::Thinking::by_default},
      {"deepseek-v4-pro", engine::Thinking::by_default}};
  size_t count = 0;
  for (const auto& [name, thinking] : aliases) {
    auto exchange = send(
        "POST", "/chat/completions",
        std::string(R"({"messages":[{"role":"user","content":"x"}],"model":")") + name + "\"}");
    until_started(++count);
    const engine::Request request = engine_.started(count - 1).request;
    EXPECT_EQ(request.model, "tiny");
    EXPECT_EQ(std::get<engine::ChatPrompt>(request.prompt).thinking, thinking) << name;
    emit(count - 1, end());
    EXPECT_EQ(exchange->json().find("model")->as_string(), "tiny") << "says what it is";
  }
  auto unknown = send("POST", "/v1/chat/completions",
                      R"({"messages":[{"role":"user","content":"x"}],"model":"gpt-4"})");
  EXPECT_EQ(unknown->status, 404);
  EXPECT_EQ(unknown->json().find("error")->find("code")->as_string(), "model_not_found");
}

TEST_F(PublicTest, AModelIsFoundAsOnTheCommandLine) {
  engine_.models_[0].id = "SmolLM2-135M-Instruct.Q4_1";
  engine_.models_.push_back(engine_.models_[0]);
  engine_.models_[1].id = "DeepSeek-R1-Distill-Qwen-7B";
  engine_.models_.push_back(engine_.models_[0]);
  engine_.models_[2].id = "DeepSeek-R1-Distill-Llama-8B";
  const auto found = [&](const std::string& name) {
    auto shown = send("GET", "/v1/models/" + name);
    if (shown->status != 200) return "-> " + std::to_string(shown->status);
    return shown->json().find("id")->as_string();
  };
  EXPECT_EQ(found("SmolLM2-135M-Instruct.Q4_1"), "SmolLM2-135M-Instruct.Q4_1");
  EXPECT_EQ(found("smollm2-135m-instruct.q4_1"), "SmolLM2-135M-Instruct.Q4_1");
  EXPECT_EQ(found("smollm2"), "SmolLM2-135M-Instruct.Q4_1");
  EXPECT_EQ(found("deepseek-r1-distill-q"), "DeepSeek-R1-Distill-Qwen-7B");
  EXPECT_EQ(found("deepseek-chat"), "SmolLM2-135M-Instruct.Q4_1") << "an alias is the first model";
  EXPECT_EQ(found("deepseek-r1"), "-> 404") << "it fits two";
  EXPECT_EQ(found("135M"), "-> 404") << "only the beginning counts";
  const auto several = send("GET", "/v1/models/deepseek-r1");
  EXPECT_EQ(several->json().find("error")->find("message")->as_string(),
            "Several models of this server begin with that name: see /v1/models");
}

TEST_F(PublicTest, AModelThatCannotBeUsedIsNamedWithItsReason) {
  EXPECT_EQ(send("GET", "/health")->status, 200);
  engine_.models_.clear();
  EXPECT_EQ(send("GET", "/health")->status, 200) << "nothing installed is no fault";
  engine_.unusable_ = {
      {"notes", {base::ErrorKind::invalid_input, "notes.gguf is no GGUF file", "text", "get it"}}};
  const auto health = send("GET", "/health");
  EXPECT_EQ(health->status, 503);
  const std::string said = R"(The model "notes" cannot be used: notes.gguf is no GGUF file: text.)";
  EXPECT_TRUE(health->json().find("error")->find("message")->as_string().starts_with(said))
      << health->body;
  const auto asked = chat();
  EXPECT_EQ(asked->status, 404);
  EXPECT_TRUE(asked->json().find("error")->find("message")->as_string().starts_with(said));
  sign_in();
  const base::Json session = send("GET", "/site/session")->json();
  const base::Json& unusable = session.find("unusable")->as_array().at(0);
  EXPECT_EQ(unusable.find("id")->as_string(), "notes");
  EXPECT_EQ(unusable.find("reason")->as_string(), "notes.gguf is no GGUF file: text. Get it.");
  EXPECT_FALSE(session.find("opening")->as_bool());
  engine_.stats_.ready = false;
  EXPECT_TRUE(send("GET", "/site/session")->json().find("opening")->as_bool());
  const auto early = chat();
  EXPECT_EQ(early->status, 503) << "a client that is told 404 does not ask again";
  EXPECT_EQ(early->header("retry-after"), "2");
}

TEST_F(PublicTest, AnAnswerThatEndsWithTheServerSaysSo) {
  auto exchange = chat(R"("stream":true)");
  until_started(1);
  emit(0, delta("Hel"));
  service_->begin_stop();
  engine::End lost = end(engine::EndReason::failed);
  lost.error = {base::ErrorKind::unavailable, "the engine is being restarted", "", ""};
  emit(0, lost);
  const base::Json error = *exchange->events().back().find("error");
  EXPECT_EQ(error.find("code")->as_string(), "server_stopped");
  EXPECT_EQ(error.find("message")->as_string(),
            "The server was stopped before the answer was complete: ask again when it runs");
}

// The first letter of a sentence, unless a name of the request or of a file stands there.
TEST(Sentence, BeginsWithACapital) {
  const auto said = [](const char* message, const char* param) {
    ApiError error;
    error.message = message;
    error.param = param;
    return sentence_of(error);
  };
  EXPECT_EQ(said("there is nothing here", ""), "There is nothing here");
  EXPECT_EQ(said("no model is loaded", "n"), "No model is loaded");
  EXPECT_EQ(said("n must be 1", "n"), "The field n must be 1");
  EXPECT_EQ(said("stop[3] must be a string", "stop[3]"), "The field stop[3] must be a string");
  EXPECT_EQ(said("stop_token_ids[2] must be an id", "stop_token_ids"),
            "The field stop_token_ids[2] must be an id");
  EXPECT_EQ(said("model.gguf: it is cut", ""), "model.gguf: it is cut");
  EXPECT_EQ(said("", ""), "");
  const ApiError module = from_module({base::ErrorKind::io, "the disk failed", "why", "try it"});
  EXPECT_EQ(module.message, "The disk failed: why. Try it");
}

TEST_F(PublicTest, AWishToThinkIsRefusedByAModelThatCannot) {
  auto refused = chat(R"("thinking":{"type":"enabled"})");
  EXPECT_EQ(refused->status, 400);
  EXPECT_EQ(refused->json().find("error")->find("param")->as_string(), "thinking");
  chat(R"("thinking":{"type":"disabled"})");
  until_started(1);
  emit(0, end());
}

TEST_F(PublicTest, UserIdsPartTheCache) {
  chat();
  chat(R"("user_id":"a")");
  chat(R"("user_id":"b")");
  until_started(3);
  const uint64_t first = engine_.started(0).request.account;
  const uint64_t second = engine_.started(1).request.account;
  EXPECT_NE(first, second);
  EXPECT_NE(second, engine_.started(2).request.account);
  for (size_t i = 0; i < 3; ++i) emit(i, end());
}

TEST_F(PublicTest, TooManyAtOnceIs429WithATime) {
  std::vector<std::shared_ptr<FakeExchange>> running;
  for (int i = 0; i < 32; ++i) running.push_back(chat(R"("n":8)"));
  auto refused = chat();
  EXPECT_EQ(refused->status, 429);
  EXPECT_EQ(refused->header("retry-after"), "1");
  EXPECT_EQ(refused->header("x-should-retry"), "true");
  until_started(256);
  for (size_t i = 0; i < 256; ++i) emit(i, end());
  auto taken = chat();
  until_started(257);
  emit(256, end());
  EXPECT_EQ(taken->status, 200);
}

TEST_F(PublicTest, ModelsTokensHealthMetrics) {
  EXPECT_EQ(send("GET", "/models")->json().find("data")->as_array()[0].find("id")->as_string(),
            "tiny");
  EXPECT_TRUE(send("GET", "/v1/models/tiny")->json().find("loaded")->as_bool());
  EXPECT_EQ(send("GET", "/v1/models/huge")->status, 404);
  auto tokens = send("POST", "/v1/tokenize", R"({"prompt":"AB","return_token_strs":true})");
  until([&] { return tokens->answered(); });
  EXPECT_EQ(tokens->json().find("tokens")->dump(), "[65,66]");
  EXPECT_EQ(tokens->json().find("token_strs")->dump(), R"(["A","B"])");
  auto count = send("POST", "/v1/tokenize", R"({"messages":[{"role":"user","content":"a"}]})");
  until([&] { return count->answered(); });
  EXPECT_EQ(count->json().find("count")->as_integer(), 10);
  auto text = send("POST", "/v1/detokenize", R"({"tokens":[65,66]})");
  until([&] { return text->answered(); });
  EXPECT_EQ(text->json().find("prompt")->as_string(), "AB");
  EXPECT_EQ(send("GET", "/health")->status, 200);
  engine_.stats_.ready = false;
  EXPECT_EQ(send("GET", "/health")->status, 503);
  auto exchange = chat();
  until_started(1);
  emit(0, delta("a"));
  emit(0, end());
  const std::string metrics = send("GET", "/metrics")->body;
  for (const char* line :
       {"vllm:num_requests_running{model_name=\"tiny\"} 0",
        "vllm:request_success_total{model_name=\"tiny\",finished_reason=\"stop\"} 1",
        "vllm:time_to_first_token_seconds_count{model_name=\"tiny\"} 1",
        "vllm:request_generation_tokens_sum{model_name=\"tiny\"} 3", "nautile:engine_ready 0"}) {
    EXPECT_NE(metrics.find(line), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace api
