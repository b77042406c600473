// Downloads for the page: what the owner may ask, what is asked of the supervisor, what the pages
// are told, and when the engine is let go.
#include "api/site_pulls.h"

#include "api/bench_for_test.h"

namespace api {
namespace {

using State = PullStatus::State;
using Refusal = PullAnswer::Refusal;

class ManualDoor final : public PullDoor {
 public:
  bool start(uint64_t call, std::string_view reference) override {
    started.emplace_back(call, reference);
    return hears;
  }
  bool pause() override {
    ++pauses;
    return hears;
  }
  bool dismiss() override {
    ++dismissals;
    return hears;
  }
  bool ask_catalogue(uint64_t call) override {
    listed.push_back(call);
    return hears;
  }
  void release_engine() override { ++released; }

  std::vector<std::pair<uint64_t, std::string>> started;
  std::vector<uint64_t> listed;
  int pauses = 0, dismissals = 0, released = 0;
  bool hears = true;
};

class PullsTest : public Bench {
 protected:
  void adjust(ApiOptions& options) override {
    options.pulls = no_door_ ? nullptr : &door_;
    options.pull_policy = policy_;
    options.pull_model = "DeepSeek-R1-Distill-Qwen-7B";
    options.pull_command = "nautile pull r1-7b";
  }
  void tell(PullNews news) {
    service_->tell(std::move(news));
    ASSERT_TRUE(server_->run_one());
  }
  std::shared_ptr<FakeExchange> ask(const std::string& reference) {
    return send("POST", "/site/pulls", R"({"ref":")" + reference + "\"}");
  }
  static PullStatus status(State state) {
    PullStatus out;
    out.state = state;
    out.reference = "hf:org/x";
    out.name = "X-7B";
    out.model = "X";
    out.bytes_total = 100;
    out.bytes_here = 40;
    return out;
  }
  std::string reason(const FakeExchange& exchange) {
    return exchange.json().find("reason")->as_string();
  }

  ManualDoor door_;
  PullPolicy policy_ = PullPolicy::any;
  bool no_door_ = false;
};

TEST_F(PullsTest, AreTheOwnersAlone) {
  for (const char* path : {"/site/catalogue", "/site/pulls"}) {
    EXPECT_EQ(send("GET", path)->status, 401) << path;
  }
  EXPECT_EQ(ask("r1-7b")->status, 401);
  EXPECT_EQ(send("DELETE", "/site/pulls/current")->status, 401);
  sign_in();
  auto foreign = request("POST", "/site/pulls", R"({"ref":"r1-7b"})");
  foreign.headers.emplace_back("origin", "https://elsewhere.example");
  EXPECT_EQ(send(foreign)->status, 403);
  EXPECT_TRUE(door_.started.empty());
}

TEST_F(PullsTest, TheCatalogueIsWhatTheSupervisorSays) {
  sign_in();
  auto exchange = send("GET", "/site/catalogue");
  EXPECT_FALSE(exchange->answered());
  ASSERT_EQ(door_.listed.size(), 1u);
  Catalogue catalogue;
  catalogue.memory_bytes = 16'000;
  catalogue.free_bytes = 9'000;
  catalogue.bandwidth_gb_per_s = 20;
  CatalogueRow row;
  row.name = "X-7B";
  row.short_name = "x";
  row.licence = "MIT";
  row.bytes = 4'000;
  row.tokens_per_s = 4.5;
  row.fits = row.proposed = row.runs = true;
  catalogue.rows = {row, CatalogueRow{}};
  tell(CatalogueAnswer{door_.listed[0], catalogue});
  ASSERT_EQ(exchange->status, 200);
  const base::Json json = exchange->json();
  EXPECT_EQ(json.find("allowed")->as_string(), "any");
  EXPECT_EQ(json.find("free_bytes")->as_integer(), 9'000);
  const auto& models = json.find("models")->as_array();
  ASSERT_EQ(models.size(), 2u);
  EXPECT_EQ(models[0].find("command")->as_string(), "nautile pull x");
  EXPECT_EQ(models[0].find("tokens_per_s")->as_number(), 4.5);
  EXPECT_TRUE(models[0].find("proposed")->as_bool());
  EXPECT_TRUE(models[0].find("installed")->is_null());
  EXPECT_TRUE(models[1].find("tokens_per_s")->is_null());
  EXPECT_FALSE(models[1].find("runs")->as_bool());
}

TEST_F(PullsTest, NobodyWaitsForever) {
  sign_in();
  auto listing = send("GET", "/site/catalogue");
  auto starting = ask("r1-7b");
  server_->advance_ms(SitePulls::answer_wait_ms);
  EXPECT_EQ(starting->status, 503);
  EXPECT_FALSE(listing->answered());
  server_->advance_ms(SitePulls::catalogue_wait_ms);
  EXPECT_EQ(listing->status, 503);
  tell(CatalogueAnswer{door_.listed[0], Catalogue{}});  // too late, and nobody's
  std::vector<std::shared_ptr<FakeExchange>> many;
  for (size_t i = 0; i < SitePulls::calls_waiting_max; ++i) many.push_back(ask("r1-7b"));
  EXPECT_EQ(ask("r1-7b")->status, 503);
  EXPECT_FALSE(many.back()->answered());
  door_.hears = false;
  server_->advance_ms(SitePulls::answer_wait_ms);
  EXPECT_EQ(ask("r1-7b")->status, 503);
  EXPECT_EQ(send("GET", "/site/catalogue")->status, 503);
}

TEST_F(PullsTest, AWishIsPassedOnAndItsAnswerComesBack) {
  sign_in();
  auto exchange = ask("hf:org/R1-GGUF:Q4_K_M");
  ASSERT_EQ(door_.started.size(), 1u);
  EXPECT_EQ(door_.started[0].second, "hf:org/R1-GGUF:Q4_K_M");
  tell(status(State::planning));
  tell(PullAnswer{.call = door_.started[0].first, .error = {}});
  EXPECT_EQ(exchange->status, 202);
  EXPECT_EQ(exchange->json().find("current")->find("state")->as_string(), "planning");
  EXPECT_EQ(ask(std::string(pull_reference_bytes_max + 1, 'x'))->status, 422);
  EXPECT_EQ(send("POST", "/site/pulls", "{}")->status, 400);
  EXPECT_EQ(send("POST", "/site/pulls", R"({"ref":"a","from":"/etc"})")->status, 400);
  EXPECT_EQ(door_.started.size(), 1u);
}

TEST_F(PullsTest, EveryRefusalHasItsWord) {
  sign_in();
  const auto refused = [&](Refusal refusal, int64_t retry_ms = -1) {
    auto exchange = ask("x");
    tell(PullAnswer{door_.started.back().first, refusal,
                    base::Error{base::ErrorKind::wrong_usage, "that is no reference", "", ""},
                    retry_ms});
    return exchange;
  };
  const auto off = refused(Refusal::off);
  EXPECT_EQ(off->status, 403);
  EXPECT_EQ(reason(*off), "pull_off");
  EXPECT_EQ(off->json().find("command")->as_string(), "nautile pull r1-7b");
  EXPECT_EQ(reason(*refused(Refusal::outside)), "pull_outside");
  const auto busy = refused(Refusal::busy);
  EXPECT_EQ(busy->status, 409);
  EXPECT_EQ(reason(*busy), "pull_busy");
  const auto reference = refused(Refusal::reference);
  EXPECT_EQ(reference->status, 400);
  EXPECT_EQ(reference->json().find("error")->find("message")->as_string(), "That is no reference");
  const auto rate = refused(Refusal::rate, 61'000);
  EXPECT_EQ(rate->status, 429);
  EXPECT_EQ(rate->header("retry-after"), "61");
  EXPECT_EQ(refused(Refusal::failed)->status, 500);
}

TEST_F(PullsTest, ProgressGoesToAllPagesAndIsTheFirstWordOfNewOnes) {
  sign_in();
  auto early = send("GET", "/site/events");
  EXPECT_EQ(early->events().back().find("kind")->as_string(), "pull");
  EXPECT_TRUE(early->events().back().find("pull")->is_null()) << "also that there is none";
  PullStatus now = status(State::fetching);
  now.bytes_per_s = 10;
  now.left_ms = 6'000;
  tell(now);
  const base::Json frame = early->events().back();
  EXPECT_EQ(frame.find("kind")->as_string(), "pull");
  EXPECT_EQ(frame.find("pull")->find("bytes_here")->as_integer(), 40);
  EXPECT_EQ(frame.find("pull")->find("left_ms")->as_integer(), 6'000);
  auto late = send("GET", "/site/events");
  EXPECT_EQ(late->events().back().dump(), frame.dump());
  EXPECT_EQ(send("GET", "/site/pulls")->json().find("current")->dump(), frame.find("pull")->dump());
  const base::Json session = send("GET", "/site/session")->json();
  EXPECT_EQ(session.find("pull")->find("proposed")->as_string(), "DeepSeek-R1-Distill-Qwen-7B");
  EXPECT_EQ(session.find("pull")->find("current")->dump(), frame.find("pull")->dump());
}

TEST_F(PullsTest, AnErrorHasItsThreePartsInBothLanguages) {
  sign_in();
  PullStatus now = status(State::failed);
  now.resumable = true;
  now.error = base::Error{base::ErrorKind::out_of_disk, "there is not enough room for X",
                          "2.00 GiB are needed, 1.00 GiB are free at /srv", "free some space"};
  tell(now);
  const base::Json current = *send("GET", "/site/pulls")->json().find("current");
  const base::Json& error = *current.find("error");
  EXPECT_TRUE(current.find("resumable")->as_bool());
  EXPECT_EQ(error.find("kind")->as_string(), "out_of_disk");
  EXPECT_EQ(error.find("what")->as_string(), "There is not enough room for X");
  EXPECT_EQ(error.find("fr")->find("what")->as_string(), "Il n'y a pas assez de place pour X");
}

TEST_F(PullsTest, PauseIsForWhatRuns) {
  sign_in();
  EXPECT_EQ(send("DELETE", "/site/pulls/current")->status, 404);
  tell(status(State::fetching));
  EXPECT_EQ(send("DELETE", "/site/pulls/current")->status, 204);
  EXPECT_EQ(door_.pauses, 1);
  tell(status(State::opening));
  EXPECT_EQ(send("DELETE", "/site/pulls/current")->status, 404);
}

TEST_F(PullsTest, OnlyWhatHasEndedIsDismissed) {
  EXPECT_EQ(send("DELETE", "/site/pulls/ended")->status, 401);
  sign_in();
  EXPECT_EQ(send("DELETE", "/site/pulls/ended")->status, 404);
  for (const State running : {State::planning, State::fetching, State::checking, State::opening}) {
    tell(status(running));
    EXPECT_EQ(send("DELETE", "/site/pulls/ended")->status, 404);
  }
  EXPECT_EQ(door_.dismissals, 0);
  for (const State ended : {State::paused, State::failed, State::done}) {
    tell(status(ended));
    EXPECT_EQ(send("DELETE", "/site/pulls/ended")->status, 204);
  }
  EXPECT_EQ(door_.dismissals, 3);
  tell(PullStatus{});
  EXPECT_TRUE(send("GET", "/site/pulls")->json().find("current")->is_null());
  EXPECT_EQ(send("DELETE", "/site/pulls/ended")->status, 404);
}

TEST_F(PullsTest, TheEngineIsLetGoWhenNothingRuns) {
  sign_in();
  auto exchange = send("POST", "/v1/chat/completions",
                       R"({"model":"tiny","messages":[{"role":"user","content":"Why?"}]})");
  until_started(1);
  tell(status(State::opening));
  tell(EngineWanted{});
  tell(EngineWanted{});
  server_->advance_ms(10 * SitePulls::idle_look_ms);
  EXPECT_EQ(door_.released, 0) << "an answer runs";
  emit(0, delta("Because."));
  emit(0, end());
  EXPECT_EQ(exchange->status, 200);
  server_->advance_ms(10 * SitePulls::idle_look_ms);
  EXPECT_EQ(door_.released, 1);
}

TEST_F(PullsTest, PagesHearOfTheNewModelAtOnce) {
  sign_in();
  auto stream = send("GET", "/site/events");
  tell(status(State::opening));
  tell(status(State::done));
  engine::ModelStatus fresh;
  fresh.id = "X";
  engine_.models_.push_back(fresh);
  server_->advance_ms(2 * SitePulls::idle_look_ms);
  EXPECT_EQ(stream->events().back().find("what")->as_string(), "models");
}

class PullsOffTest : public PullsTest {
 protected:
  PullsOffTest() { policy_ = PullPolicy::off; }
};

TEST_F(PullsOffTest, ThePageIsToldTheCommand) {
  sign_in();
  const auto refused = ask("r1-7b");
  EXPECT_EQ(refused->status, 403);
  EXPECT_EQ(reason(*refused), "pull_off");
  EXPECT_EQ(refused->json().find("command")->as_string(), "nautile pull r1-7b");
  EXPECT_TRUE(door_.started.empty());
  EXPECT_EQ(send("GET", "/site/pulls")->json().find("allowed")->as_string(), "off");
}

class NoSupervisorTest : public PullsTest {
 protected:
  NoSupervisorTest() { no_door_ = true; }
};

TEST_F(NoSupervisorTest, NothingIsOffered) {
  sign_in();
  EXPECT_EQ(send("GET", "/site/catalogue")->status, 503);
  EXPECT_EQ(ask("r1-7b")->status, 403);
  EXPECT_EQ(send("DELETE", "/site/pulls/current")->status, 404);
  EXPECT_EQ(send("GET", "/site/pulls")->json().find("allowed")->as_string(), "off");
}

}  // namespace
}  // namespace api
