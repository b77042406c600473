// The site's endpoints as docs/site-wire.md states them.
#include "api/site.h"

#include "api/bench_for_test.h"

namespace api {
namespace {

const std::string conversation = std::string(31, '0') + "1";

std::string hex(char c) { return std::string(32, c); }

class SiteTest : public Bench {
 protected:
  static std::string node(const std::string& id, const std::string& parent, const char* role,
                          const std::string& content) {
    return R"({"id":")" + id + R"(","parent":)" + (parent.empty() ? "null" : "\"" + parent + "\"") +
           R"(,"role":")" + role + R"(","content":")" + content + "\"}";
  }
  static std::string generation(const std::string& key, const std::string& answer,
                                const std::string& path, const std::string& more = "") {
    return R"({"key":")" + key + R"(","conversation":")" + conversation + R"(","answer":")" +
           answer + R"(","model":"tiny","path":[)" + path + "]" + more + "}";
  }
  std::shared_ptr<FakeExchange> generate(const std::string& body) {
    auto exchange = send("POST", "/site/generations", body);
    until([&] { return exchange->answered(); });
    return exchange;
  }
  std::string start(char key, char answer, const std::string& path) {
    const size_t before = engine_.started_count();
    auto exchange = generate(generation(hex(key), hex(answer), path));
    EXPECT_EQ(exchange->status, 202) << exchange->body;
    until_started(before + 1);
    return exchange->json().find("generation")->as_string();
  }
  std::string question() { return node(hex('a'), "", "user", "Why?"); }
  std::shared_ptr<FakeExchange> follow(const std::string& id, int after = 0) {
    return send("GET", "/site/generations/" + id + "/events?after=" + std::to_string(after));
  }
  // Frames without pings and state frames.
  static std::vector<base::Json> frames(const FakeExchange& exchange) {
    std::vector<base::Json> out;
    for (base::Json& event : exchange.events()) {
      if (event.find("n") != nullptr) out.push_back(std::move(event));
    }
    return out;
  }
};

TEST_F(SiteTest, SetUpOnceWithTheCodeOfTheTerminal) {
  EXPECT_EQ(send("GET", "/site/session")->json().find("state")->as_string(), "setup");
  EXPECT_EQ(send("GET", "/setup")->status, 200);
  EXPECT_EQ(send("POST", "/site/signin", R"({"code":"ABCD2345"})")->status, 404);
  auto wrong = send("POST", "/site/setup", R"({"code":"ABCD-2346","mode":"just_me"})");
  EXPECT_EQ(wrong->status, 403);
  EXPECT_EQ(wrong->json().find("reason")->as_string(), "code");
  sign_in();
  EXPECT_EQ(cookie_.size(), 64u);
  EXPECT_EQ(send("GET", "/setup")->status, 404);
  EXPECT_EQ(send("POST", "/site/setup", R"({"code":"ABCD-2345","mode":"just_me"})")->status, 404);
  EXPECT_EQ(send("POST", "/site/signin", R"({"code":"ABCD-2345"})")->status, 403) << "used up";
  ASSERT_EQ(codes_.size(), 1u) << "the next code was announced";
  EXPECT_EQ(send("POST", "/site/signin", R"({"code":")" + codes_[0] + "\"}")->status, 200);
}

TEST_F(SiteTest, TheCookieIsForThisSiteAlone) {
  auto done = send("POST", "/site/setup", R"({"code":"ABCD-2345","mode":"just_me"})");
  const std::string header = done->header("set-cookie");
  for (const char* part : {"HttpOnly", "SameSite=Strict", "Path=/"}) {
    EXPECT_NE(header.find(part), std::string::npos) << part;
  }
}

TEST_F(SiteTest, FiveWrongCodesAMinuteAndNotOneMore) {
  const std::string wrong = R"({"code":"0000-0000","mode":"just_me"})";
  for (int i = 0; i < 5; ++i) EXPECT_EQ(send("POST", "/site/setup", wrong)->status, 403);
  auto refused = send("POST", "/site/setup", R"({"code":"ABCD-2345","mode":"just_me"})");
  EXPECT_EQ(refused->status, 429);
  EXPECT_EQ(refused->header("retry-after"), "60");
  server_->advance_ms(60'000);
  sign_in();
}

TEST_F(SiteTest, ARestartSignsNobodyOutAndKeepsTheCodeSpent) {
  sign_in();
  close();
  open();
  auto session = send("GET", "/site/session");
  EXPECT_EQ(session->json().find("state")->as_string(), "ready");
  EXPECT_EQ(send("POST", "/site/signin", R"({"code":"ABCD-2345"})")->status, 403);
  EXPECT_EQ(codes_.size(), 2u) << "a spent code is replaced at the start";
}

TEST_F(SiteTest, SignOutRevokes) {
  sign_in();
  auto stream = send("GET", "/site/events");
  EXPECT_EQ(send("POST", "/site/signout")->status, 204);
  EXPECT_TRUE(stream->ended);
  EXPECT_EQ(stream->events().back().find("what")->as_string(), "signed_out");
  EXPECT_EQ(send("GET", "/site/conversations")->status, 401);
  EXPECT_EQ(send("GET", "/site/session")->json().find("state")->as_string(), "signin");
}

TEST_F(SiteTest, WhenTheServerStopsTheStreamEndsInOrderBehindTheLastFrame) {
  sign_in();
  auto stream = follow(start('1', 'b', question()));
  emit(0, delta("Because"));
  service_->begin_stop();
  engine::End lost = end(engine::EndReason::failed);
  lost.error = {base::ErrorKind::unavailable, "the engine is being restarted", "", ""};
  engine_.emit(0, lost);
  service_->end_streams();
  server_->run_pending();
  const base::Json last = frames(*stream).back();
  EXPECT_EQ(last.find("kind")->as_string(), "end");
  EXPECT_EQ(last.find("reason")->as_string(), "server_stopped");
  EXPECT_EQ(last.find("error")->find("code")->as_string(), "server_stopped");
  EXPECT_TRUE(stream->ended);
}

TEST_F(SiteTest, TheOneCallAtStart) {
  sign_in();
  const base::Json session = send("GET", "/site/session")->json();
  EXPECT_EQ(session.find("member")->find("mode")->as_string(), "just_me");
  EXPECT_EQ(session.find("history")->as_string(), "memory");
  EXPECT_EQ(session.find("default_model")->as_string(), "tiny");
  EXPECT_EQ(session.find("draft_key")->as_string().size(), 64u);
  const base::Json& model = session.find("models")->as_array()[0];
  EXPECT_EQ(model.find("defaults")->find("temperature")->as_number(), 0.6);
  EXPECT_TRUE(model.find("defaults")->find("top_p")->is_null());
  engine_.models_.clear();
  EXPECT_TRUE(send("GET", "/site/session")->json().find("default_model")->is_null());
}

TEST_F(SiteTest, FramesAreNumberedMergedAndResumable) {
  sign_in();
  const std::string id = start('1', 'b', question());
  auto whole = follow(id);
  emit(0, engine::Queued{2, 100, 200});
  server_->advance_ms(100);
  emit(0, engine::Reading{5, 10, 0});
  server_->advance_ms(100);
  emit(0, delta("t1", engine::Part::reasoning));
  server_->advance_ms(40);
  emit(0, delta("t2", engine::Part::reasoning));
  server_->advance_ms(100);
  for (int i = 0; i < 20; ++i) {
    emit(0, delta("w" + std::to_string(i) + " "));
    server_->advance_ms(10);
  }
  emit(0, end());
  EXPECT_TRUE(whole->ended) << "the stream of one generation ends with it";
  const auto all = frames(*whole);
  std::string answer;
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].find("n")->as_integer(), static_cast<int64_t>(i) + 1);
    if (all[i].find("kind")->as_string() == "answer") answer += all[i].find("text")->as_string();
  }
  EXPECT_EQ(answer.size(), 10u * 3 + 10u * 4);
  EXPECT_LT(all.size(), 4u + 9u) << "20 pieces in 200 ms go out as at most 7 frames";
  EXPECT_EQ(all[0].find("kind")->as_string(), "queue");
  EXPECT_EQ(all[1].find("kind")->as_string(), "read");
  EXPECT_EQ(all[3].find("ms")->as_integer(), 40) << "thinking time is the server's";
  const base::Json& last = all.back();
  EXPECT_EQ(last.find("kind")->as_string(), "end");
  EXPECT_EQ(last.find("reason")->as_string(), "stop");
  EXPECT_EQ(last.find("usage")->find("cached_tokens")->as_integer(), 4);

  auto rest = frames(*follow(id, 4));
  ASSERT_EQ(rest.size(), all.size() - 4);
  EXPECT_EQ(rest[0].dump(), all[4].dump());

  const base::Json stored = send("GET", "/site/conversations/" + conversation)->json();
  const base::Json& node = stored.find("messages")->as_array()[1];
  EXPECT_EQ(node.find("content")->as_string(), answer);
  EXPECT_EQ(node.find("reasoning")->as_string(), "t1t2");
  EXPECT_EQ(node.find("end")->as_string(), "stop");
  EXPECT_EQ(stored.find("title")->as_string(), "Why?");

  server_->advance_ms(Generations::kept_ms + 1);
  EXPECT_EQ(frames(*follow(id))[0].find("kind")->as_string(), "gone");
}

TEST_F(SiteTest, TheSameKeyIsTheSameGeneration) {
  sign_in();
  const std::string body = generation(hex('1'), hex('b'), question());
  auto first = send("POST", "/site/generations", body);
  auto retry = send("POST", "/site/generations", body);
  until([&] { return first->answered() && retry->answered(); });
  EXPECT_EQ(first->body, retry->body);
  until_started(1);
  EXPECT_EQ(generate(body)->body, first->body);
  emit(0, end());
  server_->advance_ms(Generations::kept_ms + 1);
  EXPECT_EQ(generate(body)->body, first->body) << "also when its frames are gone";
  EXPECT_EQ(engine_.started_count(), 1u);
  auto conflict = generate(generation(hex('2'), hex('b'), question()));
  EXPECT_EQ(conflict->status, 409);
}

TEST_F(SiteTest, StopStopsTheComputeAndTheEndFrameSaysSo) {
  sign_in();
  const std::string id = start('1', 'b', question());
  auto stream = send("GET", "/site/events?follow=" + id + ":0");
  emit(0, delta("kept"));
  EXPECT_EQ(send("POST", "/site/generations/" + id + "/answer")->status, 204);
  EXPECT_EQ(engine_.hurried_.size(), 1u);
  EXPECT_EQ(send("DELETE", "/site/generations/" + id)->status, 204);
  until_cancelled(1);
  emit(0, end(engine::EndReason::cancelled));
  EXPECT_EQ(frames(*stream).back().find("reason")->as_string(), "cancelled");
  EXPECT_FALSE(stream->ended) << "a browser's stream goes on";
  EXPECT_EQ(send("DELETE", "/site/generations/" + hex('f'))->status, 404);
}

TEST_F(SiteTest, NobodyWatchingIsNoReasonToStop) {
  sign_in();
  const std::string id = start('1', 'b', question());
  auto stream = send("GET", "/site/events?follow=" + id + ":0");
  stream->disconnect();
  emit(0, delta("x"));
  EXPECT_TRUE(engine_.cancelled().empty());
  const base::Json session = send("GET", "/site/session")->json();
  EXPECT_EQ(session.find("running")->as_array()[0].find("generation")->as_string(), id);
  emit(0, end());
}

TEST_F(SiteTest, AMessageComesBackWithAllThatThePageKeepsOfIt) {
  sign_in();
  start('1', 'b', question());
  emit(0, delta("half"));
  emit(0, end());
  std::string kept = node(hex('b'), hex('a'), "assistant", "half");
  kept.insert(kept.size() - 1,
              R"(,"end":"length","context_full":true,"usage":{},"created_unix_ms":1)");
  start('2', 'b', question() + "," + kept);
  EXPECT_EQ(std::get<engine::ChatPrompt>(engine_.started(1).request.prompt).messages.size(), 2u);
}

TEST_F(SiteTest, WhyAnAnswerFailedIsSaidInBothLanguages) {
  sign_in();
  const std::string id = start('1', 'b', question());
  engine::End refused = end(engine::EndReason::failed);
  refused.error = {base::ErrorKind::invalid_input, "the picture cannot be read",
                   "it is an animated WebP file", "send a smaller picture"};
  emit(0, refused);
  const base::Json last = frames(*follow(id)).back();
  const base::Json& parts = *last.find("error")->find("parts");
  EXPECT_EQ(parts.find("why")->as_string(), "It is an animated WebP file");
  EXPECT_EQ(parts.find("fr")->find("what")->as_string(), "L'image ne peut pas être lue");
}

TEST_F(SiteTest, TheEngineDied) {
  sign_in();
  const std::string id = start('1', 'b', question());
  emit(0, delta("half"));
  engine::End lost = end(engine::EndReason::failed);
  lost.error = {base::ErrorKind::unavailable, "the engine died", "", ""};
  emit(0, lost);
  const base::Json last = frames(*follow(id)).back();
  EXPECT_EQ(last.find("reason")->as_string(), "engine_died");
  EXPECT_EQ(last.find("error")->find("code")->as_string(), "engine_unavailable");
  // Continue: the same answer node, what is new is appended.
  start('2', 'b', question() + "," + node(hex('b'), hex('a'), "assistant", "half"));
  const engine::Request request = engine_.started(1).request;
  EXPECT_TRUE(std::get<engine::ChatPrompt>(request.prompt).messages.back().prefix);
  emit(1, delta(" more"));
  emit(1, end());
  const base::Json stored = send("GET", "/site/conversations/" + conversation)->json();
  ASSERT_EQ(stored.find("messages")->as_array().size(), 2u);
  EXPECT_EQ(stored.find("messages")->as_array()[1].find("content")->as_string(), "half more");
}

TEST_F(SiteTest, WhatDoesNotFitIsMeasuredAndNothingIsKept) {
  sign_in();
  engine_.size_ = {1'200, 1'000, 3};
  auto refused = generate(generation(hex('1'), hex('b'), question()));
  EXPECT_EQ(refused->status, 413);
  const base::Json body = refused->json();
  EXPECT_EQ(body.find("reason")->as_string(), "context");
  EXPECT_EQ(body.find("tokens_over")->as_integer(), 201);
  EXPECT_EQ(body.find("context_tokens")->as_integer(), 1'000);
  EXPECT_EQ(body.find("drop_exchanges")->as_integer(), 3);
  EXPECT_EQ(send("GET", "/site/conversations/" + conversation)->status, 404);
  auto measured = send("POST", "/site/measure", R"({"model":"tiny","path":[)" + question() + "]}");
  until([&] { return measured->answered(); });
  EXPECT_EQ(measured->json().find("tokens")->as_integer(), 1'200);
}

TEST_F(SiteTest, RefusalsHaveTheirReasons) {
  sign_in();
  auto model =
      send("POST", "/site/generations",
           R"({"key":")" + hex('1') + R"(","conversation":")" + conversation + R"(","answer":")" +
               hex('b') + R"(","model":"none","path":[)" + question() + "]}");
  EXPECT_EQ(model->status, 404);
  EXPECT_EQ(model->json().find("reason")->as_string(), "model");
  engine_.stats_.ready = false;
  auto engine = send("POST", "/site/generations", generation(hex('1'), hex('b'), question()));
  EXPECT_EQ(engine->status, 503);
  EXPECT_EQ(engine->json().find("reason")->as_string(), "engine");
  EXPECT_EQ(engine->header("retry-after"), "2");
  EXPECT_EQ(send("POST", "/site/generations", "{}")->status, 400);
}

TEST_F(SiteTest, ConversationsAreRenamedSearchedAndDeleted) {
  sign_in();
  auto stream = send("GET", "/site/events");
  start('1', 'b', question());
  emit(0, delta("Because"));
  emit(0, end());
  const std::string path = "/site/conversations/" + conversation;
  EXPECT_EQ(send("PATCH", path, R"({"title":"Comets"})")->status, 204);
  const base::Json list = send("GET", "/site/conversations")->json();
  EXPECT_EQ(list.find("conversations")->as_array()[0].find("title")->as_string(), "Comets");
  EXPECT_EQ(stream->events().back().find("what")->as_string(), "conversations");
  const auto found = [&](const char* text) {
    return send("POST", "/site/conversations/search", std::string(R"({"text":")") + text + "\"}")
        ->json()
        .find("conversations")
        ->as_array()
        .size();
  };
  EXPECT_EQ(found("because"), 1u);
  EXPECT_EQ(found("lease"), 0u);
  // A second version, then without the first.
  start('2', 'c', question());
  emit(1, end());
  EXPECT_EQ(send("DELETE", path + "/nodes/" + hex('b'))->status, 204);
  EXPECT_EQ(send("GET", path)->json().find("messages")->as_array().size(), 2u);
  EXPECT_EQ(send("DELETE", path + "/nodes/" + hex('b'))->status, 404);
  EXPECT_EQ(send("DELETE", path)->status, 204);
  EXPECT_EQ(send("GET", path)->status, 404);
  EXPECT_EQ(send("DELETE", path)->status, 404);
}

TEST_F(SiteTest, DeletingWhatIsBeingWrittenStopsIt) {
  sign_in();
  start('1', 'b', question());
  EXPECT_EQ(send("DELETE", "/site/conversations/" + conversation)->status, 204);
  until_cancelled(1);
  emit(0, delta("late"));
  emit(0, end(engine::EndReason::cancelled));
}

TEST_F(SiteTest, AFarBehindReaderIsFedInPortions) {
  sign_in();
  const std::string id = start('1', 'b', question());
  for (int i = 0; i < 40; ++i) {
    emit(0, delta(std::string(8'000, 'x')));
    server_->advance_ms(40);
  }
  auto stream = send("GET", "/site/events?follow=" + id + ":0");
  EXPECT_LT(stream->body.size(), EventStreams::portion_bytes + 20'000);
  server_->advance_ms(EventStreams::catch_up_ms * 10);
  EXPECT_EQ(frames(*stream).size(), 40u);
  emit(0, end());
}

TEST_F(SiteTest, AStreamPingsAndASessionHasAFewAtMost) {
  sign_in();
  std::vector<std::shared_ptr<FakeExchange>> streams;
  for (int i = 0; i <= EventStreams::streams_per_session_max; ++i) {
    streams.push_back(send("GET", "/site/events"));
  }
  EXPECT_TRUE(streams.front()->ended) << "the oldest gives way";
  EXPECT_FALSE(streams.back()->ended);
  const size_t before = streams.back()->events().size();
  engine_.models_[0].loaded = false;
  server_->advance_ms(EventStreams::ping_ms + 1);
  const auto events = streams.back()->events();
  ASSERT_GT(events.size(), before);
  bool told = false;
  for (const base::Json& event : events) told |= event.find("what") != nullptr;
  EXPECT_TRUE(told) << "a model was unloaded";
  EXPECT_EQ(send("GET", "/site/events?follow=zz")->status, 400);
}

}  // namespace
}  // namespace api
