// Pictures through the whole engine, with a model that is a function of all that it reads.
#include <algorithm>
#include <chrono>
#include <gtest/gtest.h>
#include <thread>

#include "engine/core.h"
#include "engine/fake_model_for_test.h"

namespace engine {
namespace {

constexpr int codes_of_picture = FakePictures::grid * FakePictures::grid;

// Numbers are published after the step that changed them.
bool eventually(const std::function<bool()>& holds) {
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

// An engine with a model that sees and draws, and what a test wants to know of it.
struct Studio {
  explicit Studio(FakeSettings settings = {}, EngineOptions options = {}, bool reads = true) {
    settings.janus = true;
    add(std::move(settings));
    options_ = std::move(options);
    if (reads) options_.pictures = reader;
  }
  void add(FakeSettings settings) {
    auto source = std::make_unique<FakeSource>(std::move(settings));
    source->prepare = [this](FakeRunner& r) {
      r.before_step = [this] {
        ++steps;
        if (before_step) before_step();
      };
      runner = &r;
    };
    source->prepare_pictures = [this](FakePictures& p) {
      if (on_pictures) on_pictures(p);
      pictures = &p;
    };
    sources_.push_back(std::move(source));
  }
  Engine& open(uint64_t memory_bytes_max = 0) {
    Engine::Parts parts;
    parts.sources = std::move(sources_);
    parts.clock = std::make_shared<base::SystemClock>();
    parts.random = std::make_unique<base::SeededRandom>(1);
    parts.memory_bytes_max = memory_bytes_max;
    engine = std::make_unique<Engine>(options_, std::move(parts));
    return *engine;
  }
  base::Result<void> start(const Request& request) {
    return engine->start(request, collector.sink());
  }
  base::ErrorKind refused(const Request& request, std::string* next = nullptr) {
    auto started = start(request);
    EXPECT_FALSE(started.has_value());
    if (next && !started) *next = started.error().next;
    return started ? base::ErrorKind::internal : started.error().kind;
  }

  std::shared_ptr<FakeReader> reader = std::make_shared<FakeReader>();
  std::function<void()> before_step;
  std::function<void(FakePictures&)> on_pictures;
  Collector collector;
  std::atomic<int> steps = 0;
  std::atomic<FakeRunner*> runner = nullptr;
  std::atomic<FakePictures*> pictures = nullptr;
  EngineOptions options_;
  std::vector<std::unique_ptr<ModelSource>> sources_;
  std::unique_ptr<Engine> engine;  // last: its thread uses what stands above
};

Request question(uint64_t id, const std::vector<std::string>& pictures, int tokens_max = 20,
                 uint64_t account = 1) {
  Request r;
  r.id = id;
  r.model = "fake";
  Message message{.role = "user", .content = "What is it?", .pictures = {}};
  for (const std::string& bytes : pictures) message.pictures.push_back({5, bytes});
  r.prompt = ChatPrompt{{{.role = "system", .content = "S"}, message}};
  r.tokens_max = tokens_max;
  r.account = account;
  r.sampling.seed = 77;
  r.ignore_end_tokens = true;
  r.logprobs_top = 1;
  return r;
}
Request drawing(uint64_t id, int pictures, uint64_t seed, std::string text = "a whale",
                uint64_t account = 1) {
  Request r;
  r.id = id;
  r.model = "fake";
  r.prompt = DrawPrompt{std::move(text), pictures, 5.0, {}};
  r.sampling.seed = seed;
  r.account = account;
  return r;
}

struct Answer {
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
  friend bool operator==(const Answer&, const Answer&) = default;
};
Answer answer_of(Collector& collector, uint64_t id) {
  End end = collector.wait_end(id);
  EXPECT_EQ(end.reason, EndReason::length) << end.error.message();
  return {collector.ids(id), collector.logprobs(id)};
}
Answer alone(const Request& request) {
  Studio studio;
  studio.open();
  EXPECT_TRUE(studio.start(request).has_value());
  return answer_of(studio.collector, request.id);
}
std::vector<Drawn> drawn_of(Collector& collector, uint64_t id) {
  End end = collector.wait_end(id);
  EXPECT_EQ(end.reason, EndReason::stop) << end.error.message();
  auto drawn = collector.all<Drawn>(id);
  std::sort(drawn.begin(), drawn.end(),
            [](const Drawn& a, const Drawn& b) { return a.picture < b.picture; });
  return drawn;
}
std::vector<Drawn> drawn_alone(const Request& request, FakeSettings settings = {}) {
  Studio studio(std::move(settings));
  studio.open();
  EXPECT_TRUE(studio.start(request).has_value());
  return drawn_of(studio.collector, request.id);
}

// ---- seeing ------------------------------------------------------------------------------------

TEST(Seeing, AnswersDependOnThePictureAndItIsLookedAtOnce) {
  Studio studio;
  Engine& engine = studio.open();
  EXPECT_TRUE(engine.models()[0].sees);
  for (uint64_t id = 1; id <= 3; ++id) ASSERT_TRUE(studio.start(question(id, {"a ship"})));
  const Answer ship = answer_of(studio.collector, 1);
  EXPECT_EQ(answer_of(studio.collector, 2), ship);
  EXPECT_EQ(answer_of(studio.collector, 3), ship);
  EXPECT_EQ(studio.pictures.load()->seen, 1);
  // Warm: all but the last page of the prompt is there, with the picture's rows.
  ASSERT_TRUE(studio.start(question(4, {"a ship"})));
  EXPECT_EQ(answer_of(studio.collector, 4), ship);
  EXPECT_EQ(studio.collector.wait_end(4).usage.cached_tokens, 64);
  // The same ids, another picture.
  ASSERT_TRUE(studio.start(question(5, {"a fish"})));
  const Answer fish = answer_of(studio.collector, 5);
  EXPECT_NE(fish, ship);
  EXPECT_EQ(fish, alone(question(5, {"a fish"})));
  EXPECT_EQ(studio.collector.wait_end(5).usage.cached_tokens, 0);
  EXPECT_EQ(studio.pictures.load()->seen, 2);
  // Another account shares neither features nor pages.
  ASSERT_TRUE(studio.start(question(6, {"a ship"}, 20, 2)));
  EXPECT_EQ(answer_of(studio.collector, 6), ship);
  EXPECT_EQ(studio.collector.wait_end(6).usage.cached_tokens, 0);
  EXPECT_EQ(studio.pictures.load()->seen, 3);
}

TEST(Seeing, PicturesOfAPromptAreToldApart) {
  const Answer ab = alone(question(1, {"a", "b"})), ba = alone(question(1, {"b", "a"}));
  EXPECT_NE(ab, ba);
  EXPECT_NE(ab, alone(question(1, {"a", "a"})));
  EXPECT_EQ(ab, alone(question(1, {"a", "b"})));
}

TEST(Seeing, BatchChunksCacheAndPreemptionChangeNothing) {
  base::SeededRandom random(21);
  std::vector<Request> requests;
  for (uint64_t id = 1; id <= 24; ++id) {
    std::vector<std::string> pictures;
    for (uint64_t n = random.below(4); n > 0; --n) {
      pictures.push_back(std::string(1, static_cast<char>('a' + random.below(3))));
    }
    requests.push_back(question(id, pictures, 1 + static_cast<int>(random.below(90)), id % 3));
  }
  std::map<uint64_t, Answer> expected;
  for (const Request& r : requests) expected[r.id] = alone(r);
  for (int chunk : {0, 16, 50, 200}) {
    EngineOptions options;
    options.prompt_chunk_tokens = chunk;
    FakeSettings settings;
    settings.pages = chunk == 50 ? 12 : 64;
    Studio studio(settings, options);
    studio.open();
    for (uint64_t round = 0; round < 2; ++round) {
      for (Request r : requests) {
        r.id += round * 1000;
        ASSERT_TRUE(studio.start(r).has_value());
      }
      for (const Request& r : requests) {
        EXPECT_EQ(answer_of(studio.collector, r.id + round * 1000), expected[r.id])
            << "chunk " << chunk << " request " << r.id;
      }
    }
    EXPECT_TRUE(eventually([&] { return studio.engine->stats().cached_tokens > 0; }));
    if (chunk == 50) {
      EXPECT_TRUE(eventually([&] { return studio.engine->stats().preemptions > 0; }));
    }
  }
}

TEST(Seeing, OthersGetOnWhileAPictureIsLookedAt) {
  Studio studio;
  studio.on_pictures = [](FakePictures& p) { p.see_operations = 1ull << 62; };  // without end
  studio.open();
  ASSERT_TRUE(studio.start(question(1, {"a"})));
  ASSERT_TRUE(studio.start(question(2, {}, 50)));
  EXPECT_EQ(answer_of(studio.collector, 2).ids.size(), 50u);
  EXPECT_TRUE(studio.collector.ids(1).empty());
  studio.engine->cancel(1);
  EXPECT_EQ(studio.collector.wait_end(1).reason, EndReason::cancelled);
  // The palette, for which there is time now, is done soon; the picture never would be.
  EXPECT_TRUE(eventually([&] { return studio.pictures.load()->jobs == 0; }));
}

TEST(Seeing, RefusalsAreTypedAndLeaveNothingBehind) {
  Studio studio;
  FakeSettings blind;
  blind.id = "blind";
  studio.add(blind);
  studio.open();
  Request r = question(1, {"a"});
  r.model = "blind";
  std::string next;
  EXPECT_EQ(studio.refused(r, &next), base::ErrorKind::unsupported);
  EXPECT_NE(next.find("fake"), std::string::npos) << next;
  EXPECT_EQ(studio.refused(question(1, {"a", "broken"})), base::ErrorKind::invalid_input);
  EXPECT_EQ(studio.refused(question(1, std::vector<std::string>(17, "a"))),
            base::ErrorKind::invalid_input);
  EXPECT_EQ(studio.refused(question(1, {std::string(picture_bytes_max + 1, 'x')})),
            base::ErrorKind::invalid_input);
  EXPECT_EQ(studio.refused(question(1, std::vector<std::string>(16, "a"))),
            base::ErrorKind::limit_exceeded)
      << "16 pictures do not fit into the context";
  ASSERT_TRUE(studio.start(question(1, {"a"}))) << "the number is free again";
  answer_of(studio.collector, 1);

  Studio unread({}, {}, false);
  unread.open();
  EXPECT_EQ(unread.refused(question(1, {"a"})), base::ErrorKind::unavailable);
  ASSERT_TRUE(unread.start(question(1, {})));
  answer_of(unread.collector, 1);
}

TEST(Seeing, ACancelWhilePicturesAreReadIsHeard) {
  Studio studio;
  studio.open();
  studio.reader->before_read = [&] { studio.engine->cancel(1); };
  ASSERT_TRUE(studio.start(question(1, {"a"}, 900)));
  EXPECT_EQ(studio.collector.wait_end(1).reason, EndReason::cancelled);
}

// ---- drawing -----------------------------------------------------------------------------------

TEST(Drawing, GivesASketchRowByRowThenThePicture) {
  Studio studio;
  Engine& engine = studio.open();
  EXPECT_EQ(engine.models()[0].drawn_side, FakePictures::drawn_side);
  // The palette is made ready before anybody asks.
  EXPECT_TRUE(eventually([&] {
    return studio.pictures.load() && studio.pictures.load()->palettes == 1 &&
           studio.pictures.load()->jobs == 0;
  }));
  ASSERT_TRUE(studio.start(drawing(1, 2, 40)));
  const auto drawn = drawn_of(studio.collector, 1);
  ASSERT_EQ(drawn.size(), 2u);
  for (const Drawn& picture : drawn) {
    EXPECT_EQ(picture.seed, 40u + static_cast<uint64_t>(picture.picture));
    EXPECT_EQ(picture.codes.size(), static_cast<size_t>(codes_of_picture));
    EXPECT_TRUE(picture.png.starts_with("\x89PNG"));
    EXPECT_NE(picture.png.find("a whale"), std::string::npos);
    int row = 0;
    bool there = false;
    for (const Event& event : studio.collector.events(1)) {
      const auto* done = std::get_if<Drawn>(&event);
      there = there || (done && done->picture == picture.picture);
      const auto* sketch = std::get_if<SketchRow>(&event);
      if (!sketch || sketch->picture != picture.picture) continue;
      EXPECT_FALSE(there) << "no row after the picture";
      EXPECT_EQ(sketch->row, row);
      EXPECT_EQ(sketch->rows, FakePictures::grid);
      ASSERT_EQ(sketch->colours.size(), 3u * FakePictures::grid);
      for (int i = 0; i < FakePictures::grid; ++i) {
        const int32_t code = picture.codes[static_cast<size_t>(row * FakePictures::grid + i)];
        EXPECT_EQ(static_cast<uint8_t>(sketch->colours[static_cast<size_t>(3 * i)]), code * 3);
      }
      ++row;
    }
    EXPECT_EQ(row, FakePictures::grid);
  }
  EXPECT_NE(drawn[0].codes, drawn[1].codes);
  const Usage usage = studio.collector.wait_end(1).usage;
  EXPECT_EQ(usage.completion_tokens, 2 * codes_of_picture);
  EXPECT_EQ(usage.seed, 40u);
  EXPECT_GT(usage.prompt_tokens, 7);
  EXPECT_EQ(studio.collector.all<Reading>(1).back().done, usage.prompt_tokens);
  EXPECT_EQ(studio.collector.all<End>(1).size(), 1u);
  EXPECT_EQ(studio.pictures.load()->palettes, 1);
  EXPECT_TRUE(
      eventually([&] { return engine.stats().kv_pages_used == 0 || engine.stats().running == 0; }));
}

TEST(Drawing, EachPictureCanBeHadAgainAlone) {
  const auto four = drawn_alone(drawing(1, 4, 100));
  ASSERT_EQ(four.size(), 4u);
  for (uint64_t i = 0; i < 4; ++i) {
    const auto again = drawn_alone(drawing(9, 1, 100 + i));
    ASSERT_EQ(again.size(), 1u);
    EXPECT_EQ(again[0].codes, four[i].codes);
    EXPECT_EQ(again[0].png, four[i].png);
  }
  Request other = drawing(1, 1, 100);
  std::get<DrawPrompt>(other.prompt).guidance = 1;
  EXPECT_NE(drawn_alone(other)[0].codes, four[0].codes);
  other = drawing(1, 1, 100, "a whole");
  EXPECT_NE(drawn_alone(other)[0].codes, four[0].codes);
}

TEST(Drawing, AtTemperatureZeroTheSeedDoesNotMatter) {
  Request r = drawing(1, 2, 5);
  r.sampling.temperature = 0;
  const auto drawn = drawn_alone(r);
  ASSERT_EQ(drawn.size(), 2u);
  EXPECT_EQ(drawn[0].codes, drawn[1].codes);
}

// The likeliest code of without + weight * (with - without), by hand.
TEST(Drawing, GuidanceIsThatOfTheTwoRows) {
  std::vector<float> guided;
  guide(std::vector<float>{1, 2, 0}, std::vector<float>{3, 1, 0}, 5, guided);
  EXPECT_EQ(guided, (std::vector<float>{-7, 6, 0}));
  guide(std::vector<float>{1, 2, 0}, std::vector<float>{3, 1, 0}, 0, guided);
  EXPECT_EQ(guided, (std::vector<float>{3, 1, 0}));
}

TEST(Drawing, CodesAloneAreDecoded) {
  const auto drawn = drawn_alone(drawing(1, 1, 3));
  Request codes = drawing(2, 1, 3);
  codes.prompt = DrawPrompt{"", 1, 5, drawn[0].codes};
  Studio studio;
  studio.open();
  ASSERT_TRUE(studio.start(codes));
  const auto again = drawn_of(studio.collector, 2);
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].codes, drawn[0].codes);
  EXPECT_TRUE(again[0].png.starts_with("\x89PNG"));
  EXPECT_TRUE(studio.collector.all<SketchRow>(2).empty());
  EXPECT_EQ(studio.collector.wait_end(2).usage.completion_tokens, 0);
  EXPECT_EQ(studio.steps, 0) << "the decoder of ids has nothing to do";
}

TEST(Drawing, WhateverElseRunsThePicturesAreTheSame) {
  std::map<uint64_t, std::vector<Drawn>> expected;
  std::vector<Request> requests;
  const std::string longer(200, 'w');
  for (uint64_t id = 1; id <= 6; ++id) {
    requests.push_back(
        drawing(id, 1 + static_cast<int>(id % 4), id * 10, id % 2 ? "a whale" : longer, id % 3));
    expected[id] = drawn_alone(requests.back());
  }
  std::map<uint64_t, Answer> answers;
  std::vector<Request> questions;
  for (uint64_t id = 11; id <= 16; ++id) {
    questions.push_back(
        question(id, {std::string(1, static_cast<char>('a' + id % 2))}, 60, id % 3));
    answers[id] = alone(questions.back());
  }
  for (int chunk : {0, 1, 40, 200}) {
    for (int pages : {18, 64}) {
      EngineOptions options;
      options.prompt_chunk_tokens = chunk;
      options.prefix_cache = chunk != 40;
      FakeSettings settings;
      settings.pages = pages;
      settings.context_tokens = 512;
      Studio studio(settings, options);
      studio.open();
      for (uint64_t round = 0; round < 2; ++round) {
        for (size_t i = 0; i < requests.size(); ++i) {
          for (Request r : {requests[i], questions[i]}) {
            r.id += round * 1000;
            ASSERT_TRUE(studio.start(r).has_value());
          }
        }
        for (const Request& r : requests) {
          const auto drawn = drawn_of(studio.collector, r.id + round * 1000);
          ASSERT_EQ(drawn.size(), expected[r.id].size());
          for (size_t i = 0; i < drawn.size(); ++i) {
            EXPECT_EQ(drawn[i].codes, expected[r.id][i].codes) << chunk << " " << pages;
            EXPECT_EQ(drawn[i].png, expected[r.id][i].png);
          }
        }
        for (const Request& r : questions) {
          EXPECT_EQ(answer_of(studio.collector, r.id + round * 1000), answers[r.id]);
        }
      }
      if (options.prefix_cache) {
        EXPECT_TRUE(eventually([&] { return studio.engine->stats().cached_tokens > 0; }));
      }
    }
  }
}

// Longer than a page: its whole pages are computed once for all pictures of a request.
TEST(Drawing, PicturesShareTheirPrompt) {
  const std::string text(250, 'w');  // 264 ids: four whole pages a row
  const auto computed = [&](int pictures) {
    Studio studio;
    studio.open();
    EXPECT_TRUE(studio.start(drawing(1, pictures, 1, text)));
    drawn_of(studio.collector, 1);
    return studio.runner.load()->computed - pictures * 2 * (codes_of_picture - 1);
  };
  const int one = computed(1);
  EXPECT_EQ(computed(4), one + 3 * 2 * (one / 2 - 4 * 64));
}

TEST(Drawing, StopIsHeardWhileCodesAreSampled) {
  Studio studio;
  studio.open();
  std::atomic<int> steps_at_cancel = -1;
  studio.collector.on_event = [&](uint64_t id, const Event& event) {
    const auto* row = std::get_if<SketchRow>(&event);
    if (!row || row->row != 2 || steps_at_cancel >= 0) return;
    steps_at_cancel = studio.steps.load();
    studio.engine->cancel(id);
  };
  ASSERT_TRUE(studio.start(drawing(1, 3, 1)));
  const End end = studio.collector.wait_end(1);
  EXPECT_EQ(end.reason, EndReason::cancelled);
  EXPECT_LE(studio.steps - steps_at_cancel, 1);
  EXPECT_GT(end.usage.completion_tokens, 0);
  EXPECT_LT(end.usage.completion_tokens, 3 * codes_of_picture);
  EXPECT_EQ(studio.collector.all<End>(1).size(), 1u);
  EXPECT_TRUE(eventually([&] { return studio.engine->stats().running == 0; }));
  EXPECT_TRUE(studio.collector.all<Drawn>(1).empty());
}

TEST(Drawing, StopIsHeardWhileItIsPainted) {
  Studio studio;
  std::atomic<int> slices = 0;
  studio.on_pictures = [&](FakePictures& p) { p.before_slice = [&] { ++slices; }; };
  studio.open();
  ASSERT_TRUE(studio.start(drawing(1, 1, 1)));
  drawn_of(studio.collector, 1);
  studio.pictures.load()->draw_operations = 1ull << 62;  // from now on it never ends
  const int before = slices;
  ASSERT_TRUE(studio.start(drawing(2, 1, 1)));
  ASSERT_TRUE(eventually([&] { return slices > before + 2; }));
  // Others get on meanwhile.
  ASSERT_TRUE(studio.start(question(3, {}, 40)));
  answer_of(studio.collector, 3);
  studio.engine->cancel(2);
  EXPECT_EQ(studio.collector.wait_end(2).reason, EndReason::cancelled);
  EXPECT_EQ(studio.pictures.load()->jobs, 0);
}

TEST(Drawing, RefusalsAreTyped) {
  Studio studio;
  FakeSettings text;
  text.id = "text";
  studio.add(text);
  studio.open();
  Request r = drawing(1, 1, 1);
  r.model = "text";
  std::string next;
  EXPECT_EQ(studio.refused(r, &next), base::ErrorKind::unsupported);
  EXPECT_NE(next.find("fake"), std::string::npos) << next;
  EXPECT_EQ(studio.refused(drawing(1, 9, 1)), base::ErrorKind::invalid_input);
  EXPECT_EQ(studio.refused(drawing(1, 1, 1, "")), base::ErrorKind::invalid_input);
  EXPECT_EQ(studio.refused(drawing(1, 1, 1, std::string(2000, 'w'))),
            base::ErrorKind::limit_exceeded);
  r = drawing(1, 1, 1);
  r.sampling.temperature = -1;
  EXPECT_EQ(studio.refused(r), base::ErrorKind::invalid_input);
  // Two rows have to fit into the cache, not only one into the context.
  FakeSettings narrow;
  narrow.pages = 6;
  Studio small(narrow);
  small.open();
  EXPECT_EQ(small.refused(drawing(1, 1, 1, std::string(200, 'w'))),
            base::ErrorKind::limit_exceeded);
  ASSERT_TRUE(small.start(drawing(1, 2, 1)));
  EXPECT_EQ(drawn_of(small.collector, 1).size(), 2u);
}

// Half of the places at most is taken by drawings: others are admitted beside them.
TEST(Drawing, ManyPicturesLeaveRoomForOthers) {
  EngineOptions options;
  options.running_max = 4;
  Studio studio({}, options);
  studio.open();
  std::atomic<bool> answered = false, drawn_before = false;
  studio.collector.on_event = [&](uint64_t id, const Event& event) {
    if (id == 2 && std::holds_alternative<End>(event)) answered = true;
    const auto* drawn = std::get_if<Drawn>(&event);
    if (id == 1 && drawn && drawn->picture >= 2 && !answered) drawn_before = true;
  };
  ASSERT_TRUE(studio.start(drawing(1, 8, 1)));
  ASSERT_TRUE(studio.start(question(2, {}, 10, 2)));
  EXPECT_EQ(drawn_of(studio.collector, 1).size(), 8u);
  EXPECT_FALSE(drawn_before) << "ten tokens are there before the third picture";
  answer_of(studio.collector, 2);
}

TEST(Drawing, AModelIsNotUnloadedUnderAPicture) {
  FakeSettings first;
  first.memory_bytes = 600;
  EngineOptions options;
  options.unload_after_idle_ms = 0;
  Studio studio(first, options);
  FakeSettings second;
  second.id = "second";
  second.memory_bytes = 600;
  studio.add(second);
  studio.open(1000);
  ASSERT_TRUE(studio.start(drawing(1, 2, 1)));
  Request other = question(2, {});
  other.model = "second";
  ASSERT_TRUE(studio.start(other));
  ASSERT_TRUE(studio.start(drawing(3, 1, 1)));
  EXPECT_EQ(drawn_of(studio.collector, 1).size(), 2u);
  answer_of(studio.collector, 2);
  EXPECT_EQ(drawn_of(studio.collector, 3).size(), 1u);
}

TEST(Drawing, AFaultEndsTheWholeRequestOnce) {
  Studio studio;
  studio.before_step = [&] {
    if (studio.steps == 10) studio.runner.load()->broken = true;
  };
  studio.open();
  ASSERT_TRUE(studio.start(drawing(1, 4, 1)));
  const End end = studio.collector.wait_end(1);
  EXPECT_EQ(end.reason, EndReason::failed);
  EXPECT_EQ(end.error.kind, base::ErrorKind::internal);
  studio.before_step = nullptr;
  studio.runner.load()->broken = false;
  ASSERT_TRUE(studio.start(drawing(2, 4, 1)));
  EXPECT_EQ(drawn_of(studio.collector, 2).size(), 4u);
  EXPECT_EQ(studio.collector.all<End>(1).size(), 1u);
}

TEST(Drawing, DestroyingTheEngineEndsPictures) {
  Collector collector;
  {
    Studio studio;
    studio.on_pictures = [](FakePictures& p) { p.draw_operations = 1ull << 62; };
    studio.open();
    ASSERT_TRUE(studio.engine->start(drawing(1, 3, 1), collector.sink()));
    ASSERT_TRUE(studio.engine->start(question(2, {"a"}, 900), collector.sink()));
  }
  EXPECT_EQ(collector.wait_end(1).reason, EndReason::cancelled);
  EXPECT_EQ(collector.wait_end(2).reason, EndReason::cancelled);
}

}  // namespace
}  // namespace engine
