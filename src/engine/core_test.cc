#include "engine/core.h"

#include <algorithm>
#include <chrono>
#include <gtest/gtest.h>
#include <thread>

#include "engine/fake_model_for_test.h"

namespace engine {
namespace {

std::unique_ptr<Engine> make_engine(std::vector<std::unique_ptr<ModelSource>> sources,
                                    EngineOptions options = {}, uint64_t memory_bytes_max = 0) {
  Engine::Parts parts;
  parts.sources = std::move(sources);
  parts.clock = std::make_shared<base::SystemClock>();
  parts.random = std::make_unique<base::SeededRandom>(1);
  parts.memory_bytes_max = memory_bytes_max;
  return std::make_unique<Engine>(std::move(options), std::move(parts));
}
std::unique_ptr<Engine> make_engine(FakeSettings settings = {}, EngineOptions options = {},
                                    std::function<void(FakeRunner&)> prepare = nullptr) {
  auto source = std::make_unique<FakeSource>(std::move(settings));
  source->prepare = std::move(prepare);
  std::vector<std::unique_ptr<ModelSource>> sources;
  sources.push_back(std::move(source));
  return make_engine(std::move(sources), std::move(options));
}

Request ids_request(uint64_t id, std::vector<int32_t> ids, int tokens_max, uint64_t account = 1) {
  Request r;
  r.id = id;
  r.model = "fake";
  r.prompt = IdsPrompt{std::move(ids)};
  r.tokens_max = tokens_max;
  r.account = account;
  r.sampling.seed = id * 1000;
  r.ignore_end_tokens = true;
  r.logprobs_top = 2;
  return r;
}
Request chat_request(uint64_t id, std::string question, int tokens_max) {
  Request r = ids_request(id, {}, tokens_max);
  r.prompt = ChatPrompt{{{.role = "user", .content = std::move(question)}}};
  return r;
}
std::vector<int32_t> letters(int count, int first = 0) {
  std::vector<int32_t> ids;
  for (int i = 0; i < count; ++i) ids.push_back((first + i * 7) % 256);
  return ids;
}

// Numbers are published after the step that changed them.
bool eventually(const std::function<bool()>& holds) {
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

struct Answer {
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
  End end;
  friend bool operator==(const Answer& a, const Answer& b) {
    return a.ids == b.ids && a.logprobs == b.logprobs;
  }
};
Answer answer_of(Collector& collector, uint64_t id) {
  End end = collector.wait_end(id);
  return {collector.ids(id), collector.logprobs(id), end};
}
Answer alone(Request request, FakeSettings settings = {}, EngineOptions options = {}) {
  auto engine = make_engine(std::move(settings), std::move(options));
  Collector collector;
  uint64_t id = request.id;
  EXPECT_TRUE(engine->start(std::move(request), collector.sink()).has_value());
  return answer_of(collector, id);
}

TEST(Engine, AnswersAndCounts) {
  auto engine = make_engine();
  Collector collector;
  ASSERT_TRUE(engine->start(ids_request(1, letters(100), 20), collector.sink()).has_value());
  Answer answer = answer_of(collector, 1);
  EXPECT_EQ(answer.ids.size(), 20u);
  EXPECT_EQ(answer.logprobs.size(), 60u);
  EXPECT_EQ(answer.end.reason, EndReason::length);
  EXPECT_FALSE(answer.end.context_full);
  EXPECT_EQ(answer.end.usage.prompt_tokens, 100);
  EXPECT_EQ(answer.end.usage.completion_tokens, 20);
  EXPECT_EQ(answer.end.usage.seed, 1000u);
  auto readings = collector.all<Reading>(1);
  ASSERT_GE(readings.size(), 2u);
  EXPECT_EQ(readings.front().done, 0);
  EXPECT_EQ(readings.back().done, 100);
  EXPECT_EQ(collector.all<Queued>(1).size(), 1u);
  EXPECT_TRUE(std::holds_alternative<End>(collector.events(1).back()));
}

// Guesses, most of them right: the same tokens in fewer steps, whatever is rejected on the way,
// with a cache that runs full and requests that come and go.
TEST(Engine, GuessesChangeNothingButTheNumberOfSteps) {
  base::SeededRandom random(5);
  std::vector<Request> requests;
  for (uint64_t id = 1; id <= 24; ++id) {
    auto r = ids_request(id, letters(1 + static_cast<int>(random.below(200)), id % 3),
                         1 + static_cast<int>(random.below(150)), random.below(3));
    if (id % 2 == 0) r.sampling.temperature = 0;
    if (id % 5 == 0) r.sampling.frequency_penalty = 0.5;
    requests.push_back(r);
  }
  std::map<SpeculationMode, uint64_t> steps;
  std::vector<Answer> expected;
  for (SpeculationMode mode :
       {SpeculationMode::off, SpeculationMode::on, SpeculationMode::automatic}) {
    EngineOptions options;
    options.speculation = mode;
    FakeRunner* runner = nullptr;
    auto engine = make_engine({.pages = 24}, options, [&](FakeRunner& fake) {
      fake.drafts();
      runner = &fake;
    });
    Collector collector;
    for (const Request& r : requests) {
      ASSERT_TRUE(engine->start(r, collector.sink()).has_value());
    }
    for (size_t i = 0; i < requests.size(); ++i) {
      Answer answer = answer_of(collector, requests[i].id);
      EXPECT_EQ(answer.end.usage.completion_tokens, requests[i].tokens_max);
      if (mode == SpeculationMode::off) expected.push_back(answer);
      EXPECT_EQ(answer, expected[i]) << i;
    }
    steps[mode] = engine->stats().steps;
    EXPECT_EQ(runner->drafted > 0, mode != SpeculationMode::off);
  }
  EXPECT_LT(steps[SpeculationMode::on] * 10, steps[SpeculationMode::off] * 8);
}

TEST(Engine, BatchChunksAndCacheChangeNothing) {
  base::SeededRandom random(11);
  std::vector<Request> requests;
  for (uint64_t id = 1; id <= 40; ++id) {
    int length = 1 + static_cast<int>(random.below(300));
    int answer = 1 + static_cast<int>(random.below(100));
    // Few beginnings, so that pages are shared.
    auto r = ids_request(id, letters(length, static_cast<int>(random.below(3))), answer,
                         random.below(3));
    if (random.below(3) == 0) r.sampling.repetition_penalty = 1.2;
    requests.push_back(r);
  }
  std::map<uint64_t, Answer> expected;
  for (const Request& r : requests) expected[r.id] = alone(r);
  for (int chunk : {0, 16, 64, 200}) {
    EngineOptions options;
    options.prompt_chunk_tokens = chunk;
    options.running_max = 8;
    auto engine = make_engine(FakeSettings{}, options);
    Collector collector;
    for (int round = 0; round < 2; ++round) {  // the second one finds a warm cache
      for (Request r : requests) {
        r.id += static_cast<uint64_t>(round) * 1000;
        ASSERT_TRUE(engine->start(r, collector.sink()).has_value());
      }
      for (const Request& r : requests) {
        Answer answer = answer_of(collector, r.id + static_cast<uint64_t>(round) * 1000);
        EXPECT_TRUE(answer == expected[r.id]) << "chunk " << chunk << " request " << r.id;
      }
    }
    EXPECT_TRUE(eventually([&] { return engine->stats().cached_tokens > 0; }));
  }
}

TEST(Engine, PreemptionChangesNoToken) {
  FakeSettings tight;
  tight.pages = 12;
  tight.context_tokens = 12 * 64;
  std::vector<Request> requests;
  for (uint64_t id = 1; id <= 8; ++id) {
    requests.push_back(ids_request(id, letters(60 + static_cast<int>(id)), 300, id % 3));
  }
  auto engine = make_engine(tight);
  Collector collector;
  for (const Request& r : requests) {
    ASSERT_TRUE(engine->start(r, collector.sink()).has_value());
  }
  for (const Request& r : requests) {
    EXPECT_TRUE(answer_of(collector, r.id) == alone(r)) << r.id;
  }
  EXPECT_TRUE(eventually([&] { return engine->stats().preemptions > 0; }));
}

TEST(Engine, CachedPagesAreOfTheAccountOnly) {
  auto engine = make_engine();
  Collector collector;
  auto cached = [&](uint64_t id, uint64_t account) {
    EXPECT_TRUE(engine->start(ids_request(id, letters(200), 2, account), collector.sink()));
    return collector.wait_end(id).usage.cached_tokens;
  };
  EXPECT_EQ(cached(1, 1), 0);
  EXPECT_EQ(cached(2, 1), 192);
  EXPECT_EQ(cached(3, 2), 0);
  EXPECT_EQ(cached(4, 2), 192);
  EXPECT_EQ(cached(5, 1), 192);
}

TEST(Engine, CancelEndsWithinOneStep) {
  std::shared_ptr<FakeRunner*> runner = std::make_shared<FakeRunner*>(nullptr);
  Collector collector;
  EngineClient* client = nullptr;
  std::atomic<int> steps = 0;
  std::atomic<int> steps_at_cancel = -1;
  auto engine = make_engine(FakeSettings{}, EngineOptions{}, [&](FakeRunner& r) {
    *runner = &r;
    r.before_step = [&] { ++steps; };
  });
  client = engine.get();
  collector.on_event = [&](uint64_t id, const Event& event) {
    if (std::holds_alternative<Delta>(event) && steps_at_cancel < 0) {
      steps_at_cancel = steps.load();
      client->cancel(id);
    }
  };
  ASSERT_TRUE(engine->start(ids_request(1, letters(10), 500), collector.sink()).has_value());
  End end = collector.wait_end(1);
  EXPECT_EQ(end.reason, EndReason::cancelled);
  EXPECT_LE(steps - steps_at_cancel, 1);
  int steps_at_end = steps;
  // Another request's answer shows that the engine goes on without the first.
  Answer other = [&] {
    EXPECT_TRUE(engine->start(ids_request(2, letters(10), 3), collector.sink()).has_value());
    return answer_of(collector, 2);
  }();
  EXPECT_EQ(steps - steps_at_end, 3);
  EXPECT_TRUE(eventually([&] { return engine->stats().kv_pages_used == 0; }));
  EXPECT_EQ(other.ids.size(), 3u);
}

TEST(Engine, CancelInTheQueueAndOfNobody) {
  EngineOptions options;
  options.running_max = 1;
  auto engine = make_engine(FakeSettings{}, options);
  Collector collector;
  engine->cancel(77);
  ASSERT_TRUE(engine->start(ids_request(1, letters(10), 900), collector.sink()).has_value());
  ASSERT_TRUE(engine->start(ids_request(2, letters(10), 5), collector.sink()).has_value());
  ASSERT_TRUE(collector.wait_until([](auto& events) { return !events[2].empty(); }));
  engine->cancel(2);
  End end = collector.wait_end(2);
  EXPECT_EQ(end.reason, EndReason::cancelled);
  EXPECT_EQ(end.usage.completion_tokens, 0);
  engine->cancel(1);
  EXPECT_EQ(collector.wait_end(1).reason, EndReason::cancelled);
}

TEST(Engine, TheQueueTellsPositionAndTime) {
  EngineOptions options;
  options.running_max = 1;
  options.waiting_max = 2;
  auto engine = make_engine(FakeSettings{}, options);
  Collector collector;
  for (uint64_t id = 1; id <= 3; ++id) {
    ASSERT_TRUE(engine->start(ids_request(id, letters(10), 900, id), collector.sink()).has_value());
  }
  auto full = engine->start(ids_request(4, letters(10), 5), collector.sink());
  ASSERT_FALSE(full.has_value());
  EXPECT_EQ(full.error().kind, base::ErrorKind::unavailable);
  EXPECT_NE(full.error().next.find("try again in"), std::string::npos);
  ASSERT_TRUE(collector.wait_until([](auto& events) {
    auto* queued = events[3].empty() ? nullptr : std::get_if<Queued>(&events[3].back());
    return queued && queued->position == 2 && queued->wait_ms_high > 0;
  }));
  engine->cancel(1);
  ASSERT_TRUE(collector.wait_until([](auto& events) {
    auto* queued = std::get_if<Queued>(&events[3].back());
    return queued && queued->position == 1;
  }));
  engine->cancel(3);
  engine->cancel(2);
  collector.wait_end(3);
}

TEST(Engine, AFullContextIsSaid) {
  FakeSettings small;
  small.context_tokens = 128;
  Answer answer = alone(ids_request(1, letters(100), -1), small);
  EXPECT_EQ(answer.ids.size(), 28u);
  EXPECT_EQ(answer.end.reason, EndReason::length);
  EXPECT_TRUE(answer.end.context_full);
}

TEST(Engine, APromptThatIsTooLongIsRefusedWithNumbers) {
  FakeSettings small;
  small.context_tokens = 256;
  auto engine = make_engine(small);
  Collector collector;
  auto refused = engine->start(ids_request(1, letters(256), 5), collector.sink());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, base::ErrorKind::limit_exceeded);
  EXPECT_NE(refused.error().why.find("256"), std::string::npos);
  ChatPrompt chat;
  chat.messages.push_back({.role = "system", .content = "s"});
  for (int i = 0; i < 4; ++i) {
    chat.messages.push_back({.role = "user", .content = std::string(40, 'q')});
    chat.messages.push_back({.role = "assistant", .content = std::string(40, 'a')});
  }
  chat.messages.push_back({.role = "user", .content = "last"});
  auto size = engine->prompt_size("fake", chat);
  ASSERT_TRUE(size.has_value());
  EXPECT_GT(size->tokens, 256);
  EXPECT_EQ(size->context_tokens, 256);
  ASSERT_GT(size->drop_exchanges, 0);
  auto shorter = [&](int dropped) {
    ChatPrompt s = chat;
    s.messages.erase(s.messages.begin() + 1, s.messages.begin() + 1 + 2 * dropped);
    return engine->prompt_size("fake", s)->tokens;
  };
  EXPECT_LE(shorter(size->drop_exchanges), 256 - 64);
  EXPECT_GT(shorter(size->drop_exchanges - 1), 256 - 64);
  chat.messages = {{.role = "user", .content = std::string(400, 'q')}};
  EXPECT_EQ(engine->prompt_size("fake", chat)->drop_exchanges, -1);
}

TEST(Engine, RefusalsAreTyped) {
  auto engine = make_engine();
  Collector collector;
  auto kind_of = [&](const Request& r) {
    auto started = engine->start(r, collector.sink());
    EXPECT_FALSE(started.has_value());
    return started ? base::ErrorKind::internal : started.error().kind;
  };
  Request r = ids_request(1, letters(5), 5);
  r.model = "other";
  EXPECT_EQ(kind_of(r), base::ErrorKind::not_found);
  r = ids_request(1, {300}, 5);
  EXPECT_EQ(kind_of(r), base::ErrorKind::invalid_input);
  r = ids_request(1, {}, 5);
  EXPECT_EQ(kind_of(r), base::ErrorKind::invalid_input);
  r = ids_request(1, letters(5), 5);
  r.sampling.temperature = -1;
  EXPECT_EQ(kind_of(r), base::ErrorKind::invalid_input);
  r = ids_request(1, letters(5), 5);
  r.exact = true;
  EXPECT_EQ(kind_of(r), base::ErrorKind::unsupported);
  ASSERT_TRUE(engine->start(ids_request(9, letters(5), 900), collector.sink()).has_value());
  EXPECT_EQ(kind_of(ids_request(9, letters(5), 5)), base::ErrorKind::invalid_input);
  engine->cancel(9);
  collector.wait_end(9);
}

TEST(Engine, EndTokensStopStringsAndIds) {
  Request r = ids_request(1, letters(20), 200);
  Answer whole = alone(r);
  r.stop_ids = {whole.ids[50]};
  Answer stopped = alone(r);
  EXPECT_EQ(stopped.end.reason, EndReason::stop);
  auto first = std::find(whole.ids.begin(), whole.ids.end(), whole.ids[50]);
  EXPECT_EQ(stopped.ids, std::vector<int32_t>(whole.ids.begin(), first));

  auto engine = make_engine();
  Collector collector;
  r = ids_request(2, letters(20), 200);
  ASSERT_TRUE(engine->start(r, collector.sink()).has_value());
  collector.wait_end(2);
  std::string text = collector.text(2, Part::answer);
  size_t at = text.find_first_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP", 10);
  ASSERT_NE(at, std::string::npos);
  std::string stop = text.substr(at, 1);
  r.id = 3;
  r.sampling.seed = 2000;
  r.stop_strings = {stop};
  ASSERT_TRUE(engine->start(r, collector.sink()).has_value());
  EXPECT_EQ(collector.wait_end(3).reason, EndReason::stop);
  EXPECT_EQ(collector.text(3, Part::answer), text.substr(0, text.find(stop)));
}

TEST(Engine, EchoGivesALogprobForEveryPromptToken) {
  auto ids = letters(150);
  for (int chunk : {16, 64, 512}) {
    EngineOptions options;
    options.prompt_chunk_tokens = chunk;
    auto engine = make_engine(FakeSettings{}, options);
    Collector collector;
    Request r = ids_request(1, ids, 0);
    r.prompt_logprobs = true;
    ASSERT_TRUE(engine->start(r, collector.sink()).has_value());
    EXPECT_EQ(collector.wait_end(1).reason, EndReason::length);
    auto tokens = collector.all<PromptToken>(1);
    ASSERT_EQ(tokens.size(), ids.size());
    for (size_t i = 0; i < ids.size(); ++i) {
      EXPECT_EQ(tokens[i].token.chosen.id, ids[i]);
      EXPECT_EQ(tokens[i].has_logprob, i > 0);
    }
    EXPECT_TRUE(collector.ids(1).empty());
    // The same with a warm cache: nothing may be left out.
    r.id = 2;
    ASSERT_TRUE(engine->start(r, collector.sink()).has_value());
    collector.wait_end(2);
    auto again = collector.all<PromptToken>(2);
    ASSERT_EQ(again.size(), tokens.size());
    for (size_t i = 0; i < ids.size(); ++i) {
      EXPECT_EQ(again[i].token.chosen.logprob, tokens[i].token.chosen.logprob);
    }
  }
}

TEST(Engine, ThinkingIsSplitAndCanBeEnded) {
  FakeSettings thinking;
  thinking.chat_template = always_thinking_template;
  auto engine = make_engine(thinking);
  EXPECT_EQ(engine->models()[0].thinking, ThinkingSupport::always);
  Collector collector;
  collector.on_event = [&](uint64_t id, const Event& event) {
    if (id == 1 && std::holds_alternative<Delta>(event)) engine->answer_now(1);
  };
  ASSERT_TRUE(engine->start(chat_request(1, "why?", 200), collector.sink()).has_value());
  End end = collector.wait_end(1);
  EXPECT_GT(end.usage.reasoning_tokens, 0);
  EXPECT_LT(end.usage.reasoning_tokens, 100);
  EXPECT_FALSE(collector.text(1, Part::answer).empty());
  auto ids = collector.ids(1);
  EXPECT_NE(std::find(ids.begin(), ids.end(), fake_close_id), ids.end());

  Request budget = chat_request(2, "why?", 200);
  budget.thinking_tokens_max = 10;
  ASSERT_TRUE(engine->start(budget, collector.sink()).has_value());
  end = collector.wait_end(2);
  ids = collector.ids(2);
  auto close = std::find(ids.begin(), ids.end(), fake_close_id);
  EXPECT_LE(close - ids.begin(), 10);
  EXPECT_FALSE(collector.text(2, Part::answer).empty());

  Request off = chat_request(3, "why?", 50);
  std::get<ChatPrompt>(off.prompt).thinking = Thinking::off;
  ASSERT_TRUE(engine->start(off, collector.sink()).has_value());
  EXPECT_EQ(collector.wait_end(3).usage.reasoning_tokens, 0);
}

TEST(Engine, AFaultOfTheRunnerEndsTheRequestsNotTheEngine) {
  FakeRunner* runner = nullptr;
  auto engine = make_engine(FakeSettings{}, EngineOptions{}, [&](FakeRunner& r) {
    r.broken = true;
    runner = &r;
  });
  Collector collector;
  ASSERT_TRUE(engine->start(ids_request(1, letters(10), 5), collector.sink()).has_value());
  End end = collector.wait_end(1);
  EXPECT_EQ(end.reason, EndReason::failed);
  EXPECT_EQ(end.error.kind, base::ErrorKind::internal);
  runner->broken = false;
  ASSERT_TRUE(engine->start(ids_request(2, letters(10), 5), collector.sink()).has_value());
  EXPECT_EQ(collector.wait_end(2).reason, EndReason::length);
}

TEST(Engine, LoadsOnDemandAndMakesRoom) {
  std::vector<std::unique_ptr<ModelSource>> sources;
  for (const char* id : {"a", "b"}) {
    FakeSettings settings;
    settings.id = id;
    settings.memory_bytes = 600;
    settings.on_load = [](const LoadProgress& progress) -> base::Result<void> {
      progress.progress(0.5);
      return {};
    };
    sources.push_back(std::make_unique<FakeSource>(std::move(settings)));
  }
  EngineOptions options;
  options.preload_first = false;
  auto engine = make_engine(std::move(sources), options, 1000);
  Collector collector;
  auto loaded = [&](size_t i) { return engine->models()[i].loaded; };
  EXPECT_FALSE(loaded(0) || loaded(1));
  for (uint64_t id = 1; id <= 6; ++id) {
    Request r = ids_request(id, letters(10), 20);
    r.model = id % 2 ? "a" : "b";
    ASSERT_TRUE(engine->start(r, collector.sink()).has_value());
    if (id == 1) {
      collector.wait_end(1);
      EXPECT_FALSE(collector.all<Loading>(1).empty());
      EXPECT_TRUE(loaded(0));
    }
  }
  for (uint64_t id = 1; id <= 6; ++id) {
    EXPECT_EQ(collector.wait_end(id).reason, EndReason::length) << id;
  }
  EXPECT_TRUE(loaded(0) != loaded(1)) << "both do not fit, one stays";
}

TEST(Engine, AModelThatCannotBeLoadedOrIsTooLarge) {
  FakeSettings settings;
  settings.memory_bytes = 5000;
  settings.on_load = [](const LoadProgress&) -> base::Result<void> {
    return base::fail(base::ErrorKind::io, "the disk is gone");
  };
  EngineOptions options;
  options.preload_first = false;
  std::vector<std::unique_ptr<ModelSource>> sources;
  sources.push_back(std::make_unique<FakeSource>(settings));
  auto engine = make_engine(std::move(sources), options, 5000);
  Collector collector;
  ASSERT_TRUE(engine->start(ids_request(1, letters(10), 5), collector.sink()).has_value());
  End end = collector.wait_end(1);
  EXPECT_EQ(end.reason, EndReason::failed);
  EXPECT_EQ(end.error.kind, base::ErrorKind::io);
  sources.clear();
  sources.push_back(std::make_unique<FakeSource>(settings));
  engine = make_engine(std::move(sources), options, 4999);
  auto refused = engine->start(ids_request(1, letters(10), 5), collector.sink());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, base::ErrorKind::out_of_memory);
}

TEST(Engine, DestroyingItEndsEverything) {
  Collector collector;
  {
    auto engine = make_engine();
    for (uint64_t id = 1; id <= 4; ++id) {
      ASSERT_TRUE(engine->start(ids_request(id, letters(10), 900), collector.sink()).has_value());
    }
  }
  for (uint64_t id = 1; id <= 4; ++id) {
    EXPECT_EQ(collector.wait_end(id).reason, EndReason::cancelled);
  }
}

}  // namespace
}  // namespace engine
