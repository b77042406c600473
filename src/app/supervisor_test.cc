// What of the supervisor needs no child: the policy of restarts, the settings that children are
// given, and the messages. The processes themselves are tests/attack.
#include "app/supervisor.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/restart_policy.h"
#include "base/scratch_for_test.h"

namespace app {
namespace {

TEST(RestartPolicy, AtOnceThenSlowerThenAtOnceAgain) {
  RestartPolicy policy;
  EXPECT_EQ(policy.died(0, 1'000), 0);
  EXPECT_EQ(policy.died(1'000, 1'100), 250);
  EXPECT_EQ(policy.died(1'350, 1'400), 500);
  for (int i = 0; i < 100; ++i) policy.died(2'000, 2'001);
  EXPECT_EQ(policy.died(2'000, 2'001), RestartPolicy::pause_ms_max);
  EXPECT_EQ(policy.died(10'000, 10'000 + RestartPolicy::healthy_after_ms), 0);
  EXPECT_EQ(policy.deaths_in_a_row(), 1);
}

class PlanTest : public base::ScratchTest {
 protected:
  void SetUp() override {
    root_ = folder_.string();
    places_.data = root_ + "/data";
    places_.models = places_.data + "/models";
    places_.config_file = root_ + "/none.toml";
    std::filesystem::create_directories(places_.models);
    std::filesystem::create_directories(root_ + "/elsewhere");
    for (const char* name :
         {"/data/models/one.gguf", "/elsewhere/two.gguf", "/elsewhere/private"}) {
      std::ofstream(root_ + name) << "x";
    }
  }
  base::Result<ServePlan> plan(std::map<std::string, std::vector<std::string>> flags) {
    auto config = Config::load(places_, flags);
    if (!config) return base::fail(config.error());
    return plan_server(places_, *config, base::Language::english);
  }
  std::string root_;
  Places places_;
};

TEST_F(PlanTest, TheEngineSeesNoMoreThanItsModels) {
  const std::string two = root_ + "/elsewhere/two.gguf";
  const auto made = plan({{"model", {"one", two}}, {"default-model", {"two"}}});
  ASSERT_TRUE(made.has_value()) << made.error().message();
  ASSERT_EQ(made->engine.models.size(), 2u);
  EXPECT_EQ(made->engine.models[0].id, "two");  // the default comes first and is loaded first
  const auto& paths = made->model_paths;
  EXPECT_NE(std::find(paths.begin(), paths.end(), two), paths.end());
  EXPECT_NE(std::find(paths.begin(), paths.end(), places_.models), paths.end());
  EXPECT_EQ(std::find(paths.begin(), paths.end(), root_ + "/elsewhere"), paths.end());
}

TEST_F(PlanTest, WithoutAChoiceAllStoredModelsAreServed) {
  const auto made = plan({});
  ASSERT_TRUE(made.has_value());
  ASSERT_EQ(made->engine.models.size(), 1u);
  EXPECT_EQ(made->engine.models[0].id, "one");
  EXPECT_EQ(made->address(), "http://127.0.0.1:8080");
}

TEST_F(PlanTest, RefusesWhatCannotBeServed) {
  EXPECT_FALSE(plan({{"listen", {"8080"}}}).has_value());
  EXPECT_FALSE(plan({{"listen", {"127.0.0.1:x"}}}).has_value());
  EXPECT_FALSE(plan({{"model", {"absent"}}}).has_value());
  EXPECT_FALSE(plan({{"default-model", {"absent"}}}).has_value());
  std::filesystem::copy(places_.models + "/one.gguf", root_ + "/elsewhere/one.gguf");
  const auto twice = plan({{"model", {"one", root_ + "/elsewhere/one.gguf"}}});
  ASSERT_FALSE(twice.has_value());
  EXPECT_NE(twice.error().what.find("two models"), std::string::npos);
}

TEST_F(PlanTest, ChildrenReadBackWhatTheyAreGiven) {
  auto made = plan({{"model", {"one"}}, {"threads", {"3"}}, {"isa", {"scalar"}}});
  ASSERT_TRUE(made.has_value());
  made->api_key = "sk-x";
  made->setup_code = "CODE";
  made->port = 4711;
  auto memory = settings_memory(gate_settings(*made));
  ASSERT_TRUE(memory.has_value());
  const auto json = read_settings(memory->release());
  ASSERT_TRUE(json.has_value());
  const auto gate = read_gate_settings(*json);
  ASSERT_TRUE(gate.has_value());
  EXPECT_EQ(gate->api_key, "sk-x");
  EXPECT_EQ(gate->setup_code, "CODE");
  EXPECT_EQ(gate->port, 4711);
  EXPECT_EQ(gate->page_pull, api::PullPolicy::any);
  EXPECT_EQ(gate->pull_model, made->pull_model);
  EXPECT_EQ(gate->state_dir, places_.data + "/state");
  const auto engine = read_engine_settings(engine_settings(*made));
  ASSERT_TRUE(engine.has_value());
  EXPECT_EQ(engine->engine.threads, 3);
  EXPECT_EQ(engine->engine.isa, "scalar");
  EXPECT_EQ(engine->model_paths, made->model_paths);
  EXPECT_EQ(engine->engine.models[0].path, made->engine.models[0].path);
  EXPECT_EQ(engine_settings(*made).dump().find("sk-x"), std::string::npos);
  EXPECT_FALSE(read_gate_settings(base::Json::object()).has_value());
  EXPECT_FALSE(read_engine_settings(base::Json("x")).has_value());
}

TEST_F(PlanTest, AModelThatCameLaterIsAddedOnce) {
  auto made = plan({{"model", {root_ + "/elsewhere/two.gguf"}}});
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ(std::count(made->model_paths.begin(), made->model_paths.end(), places_.models), 0);
  std::ofstream(places_.models + "/three.gguf") << "x";
  const auto added = add_model(places_, places_.models + "/three.gguf", *made);
  ASSERT_TRUE(added.has_value());
  EXPECT_EQ(added->id, "three");
  EXPECT_TRUE(added->added);
  EXPECT_FALSE(add_model(places_, places_.models + "/three.gguf", *made)->added);
  ASSERT_EQ(made->engine.models.size(), 2u);
  EXPECT_EQ(made->engine.models[0].id, "two") << "what was served first still is";
  EXPECT_EQ(made->engine.models[1].context_tokens, 8192);
  EXPECT_EQ(std::count(made->model_paths.begin(), made->model_paths.end(), places_.models), 1);
  std::ofstream(places_.models + "/two.gguf") << "x";
  EXPECT_FALSE(add_model(places_, places_.models + "/two.gguf", *made).has_value());
  EXPECT_FALSE(add_model(places_, places_.models + "/absent.gguf", *made).has_value());
  remove_model("three", *made);
  EXPECT_EQ(made->engine.models.size(), 1u);
}

TEST_F(PlanTest, ThePageMayFetchWhereOnlyThisMachineIsServed) {
  EXPECT_EQ(plan({})->page_pull, api::PullPolicy::any);
  EXPECT_EQ(plan({{"listen", {"[::1]:0"}}})->page_pull, api::PullPolicy::any);
  EXPECT_EQ(plan({{"page-pull", {"catalogue"}}})->page_pull, api::PullPolicy::catalogue);
  EXPECT_EQ(plan({{"page-pull", {"off"}}})->page_pull, api::PullPolicy::off);
  EXPECT_FALSE(plan({{"page-pull", {"yes"}}}).has_value());
}

TEST(Messages, CarryADescriptorAndSurviveNonsense) {
  auto pair = message_pair();
  ASSERT_TRUE(pair.has_value());
  auto link = stream_pair();
  ASSERT_TRUE(link.has_value());
  const std::string nonsense = "{not json";
  ASSERT_GT(::send(pair->theirs.get(), nonsense.data(), nonsense.size(), 0), 0);
  ASSERT_TRUE(send_message(pair->theirs.get(), base::Json::object({{"kind", "engine"}}),
                           link->theirs.get()));
  link->theirs.reset();
  const auto received = receive_message(pair->ours.get());
  ASSERT_TRUE(received.has_value());
  EXPECT_EQ(received->json.find("kind")->as_string(), "engine");
  ASSERT_TRUE(static_cast<bool>(received->fd));
  EXPECT_EQ(::send(received->fd.get(), "x", 1, MSG_NOSIGNAL), 1);
  char byte = 0;
  EXPECT_EQ(::recv(link->ours.get(), &byte, 1, 0), 1);
  pair->theirs.reset();
  EXPECT_FALSE(receive_message(pair->ours.get()).has_value());
}

}  // namespace
}  // namespace app
