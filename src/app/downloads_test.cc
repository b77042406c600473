// The supervisor's side of a download: what is admitted, and every way from its start to its end.
// No process is started: the world here only remembers what was asked of it.
#include "app/downloads.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "app/pull_job.h"
#include "app/pull_messages.h"

namespace app {
namespace {

using State = api::PullStatus::State;
using Refusal = api::PullAnswer::Refusal;

constexpr const char* model_7b = "DeepSeek-R1-Distill-Qwen-7B";

class DownloadsTest : public ::testing::Test {
 protected:
  Downloads::World world() {
    return {.clock = clock_,
            .log = log_,
            .start_puller = [this](const std::string& reference) -> base::Result<void> {
              if (cannot_start_) return base::fail(base::ErrorKind::io, "cannot start a process");
              started_.push_back(reference);
              return {};
            },
            .stop_puller = [this] { ++stops_; },
            .tell = [this](const api::PullStatus& status) { told_.push_back(status); },
            .keep = [this](const api::PullStatus& status) { kept_.push_back(status); },
            .take_up = [this](const std::string& path) -> base::Result<Downloads::TakenUp> {
              paths_.push_back(path);
              if (name_taken_) return base::fail(base::ErrorKind::wrong_usage, "two models");
              return Downloads::TakenUp{"R1-7B", served_};
            },
            .give_up = [this](const std::string& model) { given_up_.push_back(model); },
            .want_engine = [this] { ++engines_wanted_; }};
  }
  static base::Json progress(State state, int64_t here, int64_t total) {
    api::PullStatus status;
    status.state = state;
    status.model = "R1-7B";
    status.bytes_here = here;
    status.bytes_total = total;
    status.bytes_per_s = 7;
    status.left_ms = 1'000;
    return to_json(status, "progress");
  }
  static base::Json ended() {
    return base::Json::object({{"kind", "end"}, {"path", "/models/R1-7B.gguf"}});
  }
  static base::Json failed(base::ErrorKind kind) {
    return base::Json::object(
        {{"kind", "error"}, {"error", to_json(base::Error{kind, "what", "why", "next"})}});
  }
  void fetch_all(Downloads& downloads) {
    ASSERT_EQ(downloads.start(1, "r1-7b").refusal, Refusal::none);
    downloads.take_message(progress(State::fetching, 10, 100));
    downloads.take_message(ended());
    downloads.puller_ended(0);
  }

  base::FakeClock clock_;
  base::Log log_{clock_, -1, base::LogLevel::debug};
  bool cannot_start_ = false, name_taken_ = false, served_ = false;
  int stops_ = 0, engines_wanted_ = 0;
  std::vector<std::string> started_, paths_, given_up_;
  std::vector<api::PullStatus> told_, kept_;
};

TEST(AdmitWish, NamesAndReferencesOfTheNetworkOnly) {
  const auto by_name = admit_wish("r1-7b");
  ASSERT_TRUE(by_name.has_value());
  EXPECT_EQ(by_name->name, model_7b);
  EXPECT_EQ(by_name->reference, "hf:unsloth/DeepSeek-R1-Distill-Qwen-7B-GGUF:Q4_K_M");
  EXPECT_TRUE(by_name->in_catalogue);
  // The same written out is the same.
  EXPECT_TRUE(admit_wish(by_name->reference)->in_catalogue);
  EXPECT_FALSE(admit_wish("hf:org/R1-GGUF:Q8_0")->in_catalogue);
  EXPECT_EQ(admit_wish("ollama:deepseek-r1")->reference, "ollama:deepseek-r1:latest");
  for (const char* bad : {"", "file:/etc/passwd", "/etc/passwd", "http://host/x", "hf:", "hf:org",
                          "hf:org/..", "hf:org/x@../y", "hf:o rg/x", "ollama:a/b/c"}) {
    EXPECT_FALSE(admit_wish(bad).has_value()) << bad;
  }
  EXPECT_FALSE(admit_wish("hf:org/" + std::string(300, 'x')).has_value());
}

TEST_F(DownloadsTest, FromTheWishToTheModel) {
  Downloads downloads(world(), api::PullPolicy::any);
  EXPECT_EQ(downloads.start(7, "R1-7B").call, 7u);
  ASSERT_EQ(started_,
            std::vector<std::string>{"hf:unsloth/DeepSeek-R1-Distill-Qwen-7B-GGUF:Q4_K_M"});
  EXPECT_EQ(told_.back().state, State::planning);
  EXPECT_EQ(told_.back().name, model_7b);
  downloads.take_message(progress(State::fetching, 40, 100));
  downloads.take_message(progress(State::fetching, 60, 100));
  EXPECT_EQ(told_.back().bytes_here, 60);
  EXPECT_EQ(told_.back().bytes_per_s, 7);
  downloads.take_message(progress(State::checking, 100, 100));
  EXPECT_EQ(told_.back().bytes_per_s, 0);
  downloads.take_message(ended());
  EXPECT_EQ(paths_, std::vector<std::string>{"/models/R1-7B.gguf"});
  EXPECT_EQ(told_.back().state, State::opening);
  EXPECT_EQ(kept_.back().state, State::none);  // nothing is left to be resumed
  EXPECT_EQ(engines_wanted_, 1);
  EXPECT_TRUE(downloads.wants_engine());
  downloads.puller_ended(0);
  EXPECT_FALSE(downloads.running());
  // The engine of before says what it has, late: that is not the answer.
  downloads.engine_reported({.served = 1, .contexts = {{"other", 1}}, .left_out = {}});
  EXPECT_EQ(downloads.status().state, State::opening);
  downloads.engine_started();
  EXPECT_FALSE(downloads.wants_engine());
  downloads.engine_reported({.served = 2, .contexts = {{"R1-7B", 1}}, .left_out = {}});
  EXPECT_EQ(told_.back().state, State::done);
  EXPECT_EQ(told_.back().model, "R1-7B");
  // And the next one.
  EXPECT_EQ(downloads.start(8, "r1-1.5b").refusal, Refusal::none);
  EXPECT_EQ(told_.back().bytes_total, 0);
}

TEST_F(DownloadsTest, WhatIsServedAlreadyNeedsNoOtherEngine) {
  served_ = true;
  Downloads downloads(world(), api::PullPolicy::any);
  fetch_all(downloads);
  EXPECT_EQ(downloads.status().state, State::done);
  EXPECT_EQ(engines_wanted_, 0);
}

TEST_F(DownloadsTest, AModelThatCannotBeOpenedIsSaid) {
  Downloads downloads(world(), api::PullPolicy::any);
  fetch_all(downloads);
  downloads.engine_started();
  downloads.engine_reported(
      {.served = 1,
       .contexts = {},
       .left_out = {{"R1-7B", {base::ErrorKind::unsupported, "no such architecture", "", ""}}}});
  EXPECT_EQ(told_.back().state, State::failed);
  EXPECT_EQ(told_.back().error->what, "no such architecture");
  EXPECT_FALSE(told_.back().resumable);
}

TEST_F(DownloadsTest, AFileThatTakesTheEngineDownIsGivenUp) {
  Downloads downloads(world(), api::PullPolicy::any);
  fetch_all(downloads);
  downloads.engine_died();  // the one of before: it says nothing about the file
  downloads.engine_started();
  downloads.engine_died();
  EXPECT_TRUE(given_up_.empty());
  downloads.engine_started();
  downloads.engine_died();
  EXPECT_EQ(given_up_, std::vector<std::string>{"R1-7B"});
  EXPECT_EQ(told_.back().state, State::failed);
}

TEST_F(DownloadsTest, PausedInOrderOrNot) {
  Downloads downloads(world(), api::PullPolicy::any);
  downloads.pause();
  EXPECT_EQ(stops_, 0);
  downloads.start(1, "r1-7b");
  downloads.take_message(progress(State::fetching, 40, 100));
  downloads.pause();
  EXPECT_EQ(stops_, 1);
  downloads.take_message(failed(base::ErrorKind::interrupted));
  downloads.puller_ended(130 << 8);
  EXPECT_EQ(told_.back().state, State::paused);
  EXPECT_EQ(told_.back().bytes_here, 40);
  EXPECT_EQ(kept_.back().state, State::paused);
  // Resumed: the bar goes on where it stood.
  downloads.start(2, model_7b);
  EXPECT_EQ(told_.back().state, State::planning);
  EXPECT_EQ(told_.back().bytes_here, 40);
  downloads.pause();
  downloads.puller_ended(SIGTERM);  // it was not yet ready to say anything
  EXPECT_EQ(told_.back().state, State::paused);
}

TEST_F(DownloadsTest, OneThatHasEndedIsForgottenWhenAskedTo) {
  Downloads downloads(world(), api::PullPolicy::any);
  downloads.dismiss();
  EXPECT_TRUE(told_.empty());
  downloads.start(1, "r1-7b");
  downloads.take_message(progress(State::fetching, 40, 100));
  downloads.dismiss();
  EXPECT_EQ(told_.back().state, State::fetching) << "it runs";
  downloads.take_message(failed(base::ErrorKind::out_of_disk));
  downloads.puller_ended(1 << 8);
  ASSERT_EQ(told_.back().state, State::failed);
  downloads.dismiss();
  EXPECT_EQ(told_.back().state, State::none);
  EXPECT_EQ(kept_.back().state, State::none);
  EXPECT_EQ(downloads.status().bytes_here, 0);
  EXPECT_EQ(downloads.start(2, "r1-7b").refusal, api::PullAnswer::Refusal::none);
}

TEST_F(DownloadsTest, KilledFromOutsideItCanBeResumed) {
  Downloads downloads(world(), api::PullPolicy::any);
  downloads.start(1, "r1-7b");
  downloads.take_message(progress(State::fetching, 40, 100));
  downloads.puller_ended(SIGKILL);
  EXPECT_EQ(told_.back().state, State::failed);
  EXPECT_TRUE(told_.back().resumable);
  EXPECT_NE(told_.back().error->why.find("signal 9"), std::string::npos);
  EXPECT_EQ(kept_.back().state, State::failed);
  EXPECT_EQ(downloads.start(2, "r1-7b").refusal, Refusal::none);
  EXPECT_EQ(started_.size(), 2u);
}

TEST_F(DownloadsTest, TheErrorsOfAPullComeThroughWhole) {
  Downloads downloads(world(), api::PullPolicy::any);
  downloads.start(1, "r1-7b");
  downloads.take_message(failed(base::ErrorKind::out_of_disk));
  downloads.puller_ended(4 << 8);
  EXPECT_EQ(told_.back().error->kind, base::ErrorKind::out_of_disk);
  EXPECT_EQ(told_.back().error->why, "why");
  EXPECT_EQ(told_.back().error->next, "next");
  EXPECT_EQ(told_.back().state, State::failed);
}

TEST_F(DownloadsTest, AServerThatIsStartedAgainOffersToGoOn) {
  Downloads before(world(), api::PullPolicy::any);
  before.start(1, "r1-7b");
  before.take_message(progress(State::fetching, 40, 100));
  clock_.advance_ms(keep_every_ms);
  before.take_message(progress(State::fetching, 55, 100));
  const auto text = to_json(kept_.back(), "kept").dump();
  Downloads after(world(), api::PullPolicy::any);
  after.remember(status_from(*base::parse_json(text, "kept")));
  EXPECT_EQ(after.status().state, State::paused);
  EXPECT_EQ(after.status().bytes_here, 55);
  EXPECT_EQ(after.status().name, model_7b);
  Downloads off(world(), api::PullPolicy::off);
  off.remember(status_from(*base::parse_json(text, "kept")));
  EXPECT_EQ(off.status().state, State::none);
  api::PullStatus foreign;
  foreign.reference = "file:/etc/passwd";
  Downloads wary(world(), api::PullPolicy::any);
  wary.remember(foreign);
  EXPECT_EQ(wary.status().state, State::none);
}

TEST_F(DownloadsTest, TheSettingHolds) {
  Downloads off(world(), api::PullPolicy::off);
  EXPECT_EQ(off.start(1, "r1-7b").refusal, Refusal::off);
  Downloads narrow(world(), api::PullPolicy::catalogue);
  EXPECT_EQ(narrow.start(1, "hf:org/R1-GGUF").refusal, Refusal::outside);
  EXPECT_EQ(narrow.start(1, "file:/x").refusal, Refusal::reference);
  EXPECT_TRUE(started_.empty());
  EXPECT_EQ(narrow.start(1, "hf:unsloth/DeepSeek-R1-Distill-Qwen-7B-GGUF:Q4_K_M").refusal,
            Refusal::none);
}

TEST_F(DownloadsTest, OneAtATime) {
  Downloads downloads(world(), api::PullPolicy::any);
  downloads.start(1, "r1-7b");
  EXPECT_EQ(downloads.start(2, "r1-14b").refusal, Refusal::busy);
  EXPECT_EQ(downloads.start(3, "r1-7b").refusal, Refusal::none);  // asked twice
  EXPECT_EQ(started_.size(), 1u);
  downloads.take_message(ended());
  downloads.puller_ended(0);
  EXPECT_EQ(downloads.start(4, "r1-14b").refusal, Refusal::busy) << "the engine is exchanged";
}

TEST_F(DownloadsTest, NamesOutsideTheCatalogueAreRationed) {
  Downloads downloads(world(), api::PullPolicy::any);
  const auto ask = [&](int number) {
    const auto answer = downloads.start(1, "hf:org/R" + std::to_string(number));
    downloads.puller_ended(1 << 8);
    return answer;
  };
  for (int i = 0; i < new_references_per_hour_max; ++i) {
    ASSERT_EQ(ask(i).refusal, Refusal::none) << i;
    clock_.advance_ms(1'000);
  }
  const auto refused = ask(99);
  EXPECT_EQ(refused.refusal, Refusal::rate);
  EXPECT_GT(refused.retry_after_ms, 0);
  EXPECT_EQ(ask(new_references_per_hour_max - 1).refusal, Refusal::none) << "going on is free";
  EXPECT_EQ(downloads.start(1, "r1-7b").refusal, Refusal::none) << "so is the catalogue";
  downloads.puller_ended(0);
  clock_.advance_ms(refused.retry_after_ms);
  EXPECT_EQ(ask(99).refusal, Refusal::none);
}

TEST_F(DownloadsTest, AProcessThatCannotStartIsARefusal) {
  cannot_start_ = true;
  Downloads downloads(world(), api::PullPolicy::any);
  EXPECT_EQ(downloads.start(1, "r1-7b").refusal, Refusal::failed);
  EXPECT_FALSE(downloads.running());
}

TEST(PullMessages, SurviveTheWayAndNonsense) {
  api::PullStatus status;
  status.state = State::failed;
  status.reference = "hf:org/x";
  status.name = "x";
  status.bytes_total = 100;
  status.bytes_here = 40;
  status.resumable = true;
  status.error = base::Error{base::ErrorKind::out_of_disk, "a", "b", "c"};
  const auto news = news_from(*base::parse_json(to_json(status, "pull_status").dump(), "m"));
  ASSERT_TRUE(news.has_value());
  const auto& read = std::get<api::PullStatus>(*news);
  EXPECT_EQ(read.state, State::failed);
  EXPECT_EQ(read.error->kind, base::ErrorKind::out_of_disk);
  EXPECT_EQ(read.error->next, "c");
  EXPECT_TRUE(read.resumable);
  api::Catalogue catalogue;
  catalogue.memory_bytes = 5;
  catalogue.rows.push_back({.name = "n", .tokens_per_s = 1.5, .runs = true});
  const auto answer = news_from(catalogue_answer(9, to_json(catalogue)));
  EXPECT_EQ(std::get<api::CatalogueAnswer>(*answer).call, 9u);
  EXPECT_EQ(std::get<api::CatalogueAnswer>(*answer).catalogue->rows[0].tokens_per_s, 1.5);
  const auto refused = news_from(catalogue_refusal(9, {base::ErrorKind::io, "x", "", ""}));
  EXPECT_FALSE(std::get<api::CatalogueAnswer>(*refused).catalogue.has_value());
  for (const char* nonsense :
       {R"({"kind":"pull_status","state":7,"bytes_here":-1,"left_ms":"x","error":[]})",
        R"({"kind":"pull_answer","refusal":99,"error":{"error_kind":99}})",
        R"({"kind":"catalogue_answer","catalogue":{"rows":[1,{}],"bandwidth_gb_per_s":"x"}})",
        R"({"kind":7})", R"([])"}) {
    (void)news_from(*base::parse_json(nonsense, "m"));
  }
  const auto odd = news_from(*base::parse_json(
      R"({"kind":"pull_status","state":"fetching","bytes_here":9,"bytes_total":4})", "m"));
  EXPECT_EQ(std::get<api::PullStatus>(*odd).bytes_here, 4);
}

TEST(PullSpeed, IsThatOfTheLastSeconds) {
  PullSpeed speed;
  EXPECT_EQ(speed.left_ms(100), -1);
  speed.note(0, 0);
  speed.note(1'000, 1'000);
  EXPECT_EQ(speed.bytes_per_s(), 1'000);
  EXPECT_EQ(speed.left_ms(5'000), 5'000);
  for (int64_t t = 2; t <= 20; ++t) speed.note(t * 1'000, 1'000 + static_cast<uint64_t>(t) * 100);
  EXPECT_EQ(speed.bytes_per_s(), 100);
  for (int64_t t = 21; t <= 40; ++t) speed.note(t * 1'000, 3'000);
  EXPECT_EQ(speed.bytes_per_s(), 0);
  EXPECT_EQ(speed.left_ms(5'000), -1);
}

}  // namespace
}  // namespace app
