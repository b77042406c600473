#include "engine/scheduler.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <optional>

#include "base/random.h"

namespace engine {
namespace {

// Carries plans out on plain numbers, as the model thread does on pages.
class Simulation {
 public:
  explicit Simulation(int pages, StepBudget budget = {}) : pages_total_(pages), budget_(budget) {}

  uint64_t add(uint64_t account, int prompt, int answer) {
    SequenceState s;
    s.id = next_++;
    s.account = account;
    s.arrival = static_cast<int64_t>(s.id);
    s.length = s.prompt_length = prompt;
    s.tokens_left_max = answer;
    state_.sequences.push_back(s);
    answers_[s.id] = answer;
    return s.id;
  }
  // A picture: two rows whose pages are all taken at once.
  uint64_t add_pair(uint64_t account, int prompt, int codes) {
    uint64_t id = add(account, prompt, codes);
    find(id)->rows = 2;
    find(id)->length_reserved = prompt + codes - 1;
    return id;
  }
  SequenceState* find(uint64_t id) {
    for (auto& s : state_.sequences) {
      if (s.id == id) return &s;
    }
    return nullptr;
  }
  Plan step() {
    int used = 0;
    for (auto& s : state_.sequences) {
      used += s.pages;
      s.pages_released = s.pages;
    }
    state_.pages_available = pages_total_ - used;
    Plan plan = Scheduler().plan(state_, budget_);
    ++steps_;
    for (uint64_t id : plan.preempt) {
      auto* s = find(id);
      EXPECT_TRUE(s->admitted);
      s->admitted = false;
      s->computed = s->pages = 0;
      ++preemptions_;
    }
    for (uint64_t id : plan.admit) {
      auto* s = find(id);
      EXPECT_FALSE(s->admitted);
      s->admitted = true;
      if (s->rows == 2) s->pages = 2 * ((s->length_reserved + 63) / 64);
    }
    int rows = 0;
    for (const PlanItem& item : plan.items) {
      auto* s = find(item.id);
      EXPECT_TRUE(s->admitted);
      EXPECT_GT(item.tokens, 0);
      EXPECT_LE(s->computed + item.tokens, s->length);
      if (s->computed < s->prompt_length) {
        EXPECT_LE(s->computed + item.tokens, s->prompt_length);
      }
      if (s->chunk_tokens_max > 0) {
        EXPECT_LE(item.tokens, s->chunk_tokens_max);
      }
      s->computed += item.tokens;
      s->served = steps_;
      s->pages = std::max(s->pages, s->rows * ((s->computed + 63) / 64));
      rows += item.tokens * s->rows;
      served_[s->account] += item.tokens * s->rows;
      if (s->computed == s->length) {
        if (!first_token_.contains(s->id)) first_token_[s->id] = steps_;
        ++s->length;
        --s->tokens_left_max;
      }
    }
    EXPECT_LE(rows, budget_.step_tokens_max);
    used = 0;
    int running = 0, pairs = 0, groups = 0;
    for (auto& s : state_.sequences) {
      used += s.pages;
      running += s.admitted ? s.rows : 0;
      pairs += s.admitted && s.rows == 2;
      groups += s.admitted;
    }
    EXPECT_LE(used, pages_total_);
    EXPECT_TRUE(running <= budget_.running_max || groups == 1);
    EXPECT_TRUE(2 * pairs <= budget_.running_pairs_max || pairs == 1);
    std::erase_if(state_.sequences, [&](const SequenceState& s) {
      if (s.tokens_left_max > 0) return false;
      finished_[s.id] = steps_;
      return true;
    });
    state_.accounts = plan.accounts;
    return plan;
  }
  void run(int steps_max) {
    while (!state_.sequences.empty() && steps_ < steps_max) step();
  }

  SchedulerState state_;
  int pages_total_;
  StepBudget budget_;
  std::map<uint64_t, int> answers_, first_token_, finished_;
  std::map<uint64_t, int64_t> served_;
  int steps_ = 0, preemptions_ = 0;
  uint64_t next_ = 1;
};

TEST(Scheduler, EmptyStateMeansAnEmptyPlan) {
  Plan plan = Scheduler().plan({}, {});
  EXPECT_TRUE(plan.items.empty() && plan.admit.empty() && plan.preempt.empty());
}

TEST(Scheduler, PromptIsCutIntoChunksAndThenDecodes) {
  Simulation sim(100, {.step_tokens_max = 64, .prompt_tokens_max = 48});
  uint64_t id = sim.add(1, 100, 3);
  EXPECT_EQ(sim.step().items[0].tokens, 48);
  EXPECT_EQ(sim.step().items[0].tokens, 48);
  EXPECT_EQ(sim.step().items[0].tokens, 4);
  EXPECT_EQ(sim.find(id)->length, 101);
  EXPECT_EQ(sim.step().items[0].tokens, 1);
  EXPECT_EQ(sim.step().items[0].tokens, 1);
  EXPECT_TRUE(sim.state_.sequences.empty());
}

TEST(Scheduler, DecodeNeverStarvesBehindPrompts) {
  Simulation sim(1000, {.step_tokens_max = 128, .prompt_tokens_max = 128});
  uint64_t decoding = sim.add(1, 10, 1000);
  sim.step();
  for (int i = 0; i < 8; ++i) sim.add(2, 4000, 10);
  for (int i = 0; i < 100; ++i) {
    Plan plan = sim.step();
    EXPECT_TRUE(std::any_of(plan.items.begin(), plan.items.end(),
                            [&](const PlanItem& item) { return item.id == decoding; }));
  }
}

TEST(Scheduler, AShortQuestionDoesNotWaitBehindAnotherAccountsPile) {
  Simulation sim(10000, {.step_tokens_max = 128, .prompt_tokens_max = 128, .running_max = 32});
  for (int i = 0; i < 20; ++i) sim.add(1, 6000, 100);
  for (int i = 0; i < 10; ++i) sim.step();
  uint64_t quick = sim.add(2, 60, 10);
  int before = sim.steps_;
  sim.run(before + 3);
  ASSERT_TRUE(sim.first_token_.contains(quick));
  EXPECT_LE(sim.first_token_[quick] - before, 3);
}

TEST(Scheduler, AccountsShareThePromptTokensEvenly) {
  Simulation sim(100000, {.step_tokens_max = 256, .prompt_tokens_max = 256, .running_max = 64});
  for (int i = 0; i < 20; ++i) sim.add(1, 3000, 5);
  for (int i = 0; i < 3; ++i) sim.add(2, 20000, 5);
  sim.add(3, 50000, 5);
  for (int i = 0; i < 100; ++i) sim.step();
  int64_t total = sim.served_[1] + sim.served_[2] + sim.served_[3];
  for (uint64_t account : {1, 2, 3}) {
    EXPECT_NEAR(static_cast<double>(sim.served_[account]) / static_cast<double>(total), 1.0 / 3,
                0.02)
        << account;
  }
}

TEST(Scheduler, DecodedTokensArePaidFor) {
  // Account 1 decodes eight streams, so its share of the prompts is smaller.
  Simulation sim(100000, {.step_tokens_max = 72, .prompt_tokens_max = 64, .running_max = 64});
  for (int i = 0; i < 8; ++i) sim.add(1, 8, 4000);
  for (int i = 0; i < 4; ++i) sim.step();
  sim.served_.clear();
  sim.add(1, 100000, 5);
  sim.add(2, 100000, 5);
  for (int i = 0; i < 400; ++i) sim.step();
  EXPECT_NEAR(static_cast<double>(sim.served_[1]) / static_cast<double>(sim.served_[2]), 1.0, 0.1);
}

TEST(Scheduler, AdmissionWaitsForPagesAndKeepsTheOrder) {
  Simulation sim(20, {.step_tokens_max = 512, .prompt_tokens_max = 512});
  uint64_t first = sim.add(1, 640, 100);
  uint64_t large = sim.add(2, 1000, 10);
  uint64_t small = sim.add(3, 10, 10);
  Plan plan = sim.step();
  EXPECT_EQ(plan.admit, std::vector<uint64_t>{first});
  std::vector<uint64_t> order;
  while (!sim.state_.sequences.empty() && sim.steps_ < 1000) {
    plan = sim.step();
    order.insert(order.end(), plan.admit.begin(), plan.admit.end());
  }
  EXPECT_TRUE(sim.state_.sequences.empty());
  EXPECT_EQ(order, (std::vector<uint64_t>{large, small}));
}

TEST(Scheduler, PreemptsTheNewestOfTheBiggestUser) {
  Simulation sim(12, {.step_tokens_max = 512, .prompt_tokens_max = 512});
  uint64_t small = sim.add(1, 64, 300);
  uint64_t old = sim.add(2, 128, 300);
  uint64_t newest = sim.add(2, 128, 300);
  std::optional<uint64_t> victim;
  while (!victim && sim.steps_ < 1000) {
    Plan plan = sim.step();
    if (!plan.preempt.empty()) victim = plan.preempt[0];
  }
  ASSERT_TRUE(victim.has_value());
  EXPECT_EQ(*victim, newest);
  sim.run(5000);
  EXPECT_TRUE(sim.state_.sequences.empty());
  EXPECT_LT(sim.finished_[small], sim.finished_[newest]);
  EXPECT_LT(sim.finished_[old], sim.finished_[newest]);
}

TEST(Scheduler, EverythingEndsUnderRandomLoad) {
  base::SeededRandom random(5);
  for (int round = 0; round < 60; ++round) {
    int pages = 16 + static_cast<int>(random.below(64));
    int running = 1 + static_cast<int>(random.below(16));
    Simulation sim(pages, {.step_tokens_max = running + 1 + static_cast<int>(random.below(256)),
                           .prompt_tokens_max = 2 + static_cast<int>(random.below(256)),
                           .running_max = running,
                           .running_pairs_max = running / 2});
    int capacity = pages * 64;
    for (int i = 0; i < 30; ++i) {
      int prompt = 1 + static_cast<int>(random.below(static_cast<uint64_t>(capacity / 2)));
      int answer = 1 + static_cast<int>(random.below(static_cast<uint64_t>(capacity / 2 - 1)));
      uint64_t id = sim.add(random.below(4), prompt, answer);
      if (random.below(4) == 0) sim.find(id)->chunk_tokens_max = 7;
      if (random.below(4) == 0) sim.add_pair(random.below(4), 1 + prompt / 4, 1 + answer / 4);
      for (uint64_t n = random.below(6); n > 0; --n) sim.step();
    }
    sim.run(400000);
    ASSERT_TRUE(sim.state_.sequences.empty()) << "round " << round;
  }
}

TEST(Scheduler, APairIsAdmittedWithAllItsPagesOrNotAtAll) {
  Simulation sim(41);
  const uint64_t first = sim.add_pair(1, 30, 576);
  const uint64_t second = sim.add_pair(2, 30, 576);
  const uint64_t third = sim.add_pair(3, 30, 576);
  EXPECT_EQ(sim.step().admit, (std::vector<uint64_t>{first, second}));
  int preempted = 0;
  while (!sim.state_.sequences.empty() && sim.steps_ < 5000) {
    preempted += static_cast<int>(sim.step().preempt.size());
  }
  EXPECT_TRUE(sim.state_.sequences.empty());
  EXPECT_EQ(preempted, 0) << "who has all pages never lacks one";
  EXPECT_EQ(sim.finished_[first], 576) << "the prompt's step gives the first code";
  EXPECT_GT(sim.finished_[third], sim.finished_[second]);
}

TEST(Scheduler, PicturesTakeTurnsInStepsThatATextWaitsFor) {
  Simulation sim(1000, {.running_max = 16, .running_pairs_max = 8, .mixed_pairs_max = 4});
  std::vector<uint64_t> pictures;
  for (int i = 0; i < 3; ++i) pictures.push_back(sim.add_pair(1, 8, 500));
  const uint64_t reader = sim.add(2, 8, 100);
  const auto reading = [&] {
    return sim.find(reader)->computed < 8 ||
           std::any_of(pictures.begin(), pictures.end(),
                       [&](uint64_t id) { return sim.find(id)->computed < 8; });
  };
  while (reading()) sim.step();
  std::map<uint64_t, int> rows_of;
  std::map<uint64_t, int> missed;
  for (int step = 0; step < 60; ++step) {
    const Plan plan = sim.step();
    ASSERT_EQ(plan.items.size(), 3u) << "the reader and two of three pictures";
    std::map<uint64_t, int> now;
    for (const PlanItem& item : plan.items) now[item.id] += item.tokens;
    EXPECT_EQ(now.count(reader), 1u);
    for (const uint64_t id : pictures) {
      rows_of[id] += now.contains(id);
      missed[id] = now.contains(id) ? 0 : missed[id] + 1;
      EXPECT_LE(missed[id], 1);
    }
  }
  for (const uint64_t id : pictures) EXPECT_EQ(rows_of[id], 40);
  while (sim.find(reader) != nullptr) sim.step();
  EXPECT_EQ(sim.step().items.size(), 3u) << "alone, all pictures decode in every step";
}

TEST(Scheduler, OnePictureAlwaysDecodes) {
  Simulation sim(1000, {.running_max = 16, .mixed_pairs_max = 0});
  sim.add_pair(1, 8, 50);
  sim.add(2, 8, 100);
  sim.run(200);
  EXPECT_LE(sim.finished_.at(1), 60);
}

TEST(Scheduler, PairsTakePartOfThePlacesAndHoldNobodyUp) {
  Simulation sim(1000, {.running_max = 8, .running_pairs_max = 4});
  for (int i = 0; i < 8; ++i) sim.add_pair(1, 30, 576);
  sim.step();
  const uint64_t question = sim.add(2, 30, 20);
  const uint64_t same_account = sim.add(1, 30, 20);
  sim.step();
  EXPECT_TRUE(sim.first_token_.contains(question));
  EXPECT_TRUE(sim.first_token_.contains(same_account));
  sim.run(5000);
  EXPECT_TRUE(sim.state_.sequences.empty());
}

TEST(Scheduler, APairPaysForBothRows) {
  Simulation sim(100000, {.step_tokens_max = 256, .prompt_tokens_max = 255, .running_max = 64});
  sim.add_pair(1, 40000, 5);
  sim.add(2, 80000, 5);
  for (int i = 0; i < 200; ++i) sim.step();
  EXPECT_NEAR(static_cast<double>(sim.served_[1]) / static_cast<double>(sim.served_[2]), 1.0, 0.05);
}

TEST(Scheduler, NothingIsPlannedBeyondABorder) {
  Simulation sim(100);
  const uint64_t id = sim.add(1, 100, 3);
  sim.find(id)->border = 0;
  EXPECT_TRUE(sim.step().items.empty());
  EXPECT_FALSE(sim.find(id)->admitted) << "it would hold pages for nothing";
  sim.find(id)->border = 30;
  EXPECT_EQ(sim.step().items[0].tokens, 30);
  EXPECT_TRUE(sim.step().items.empty());
  const uint64_t other = sim.add(2, 10, 2);
  EXPECT_EQ(sim.step().items[0].id, other) << "others get on";
  sim.find(id)->border = 90;
  Plan plan = sim.step();
  EXPECT_EQ(plan.items.back().tokens, 60);
  sim.find(id)->border = -1;
  EXPECT_EQ(sim.step().items.back().tokens, 10);
}

TEST(Scheduler, APreemptedTextIsComputedByOrigin) {
  Simulation sim(100);
  uint64_t id = sim.add(1, 50, 100);
  auto* s = sim.find(id);
  s->length = 90;  // 40 sampled ids whose page was lost
  EXPECT_EQ(sim.step().items[0].tokens, 50);
  EXPECT_EQ(sim.step().items[0].tokens, 40);
  EXPECT_EQ(sim.find(id)->length, 91);
}

TEST(Waits, PositionsFollowTheFairOrderAndTimesGrow) {
  SchedulerState state;
  auto add = [&](uint64_t id, uint64_t account, bool admitted) {
    SequenceState s;
    s.id = id;
    s.account = account;
    s.arrival = static_cast<int64_t>(id);
    s.admitted = admitted;
    s.length = 100;
    s.prompt_length = 100;
    s.computed = admitted ? 100 : 0;
    s.tokens_left_max = 200;
    state.sequences.push_back(s);
  };
  state.pages_available = 1000;
  add(1, 1, true);
  add(2, 1, true);
  for (uint64_t id = 3; id <= 6; ++id) add(id, 1, false);
  add(7, 2, false);
  StepBudget budget{.running_max = 2};
  Speed speed{.prompt_tokens_per_s = 100, .decode_steps_per_s = 20};
  auto waits = estimate_waits(state, budget, speed);
  ASSERT_EQ(waits.size(), 5u);
  int position_of_7 = 0;
  int64_t last = 0;
  for (size_t i = 0; i < waits.size(); ++i) {
    EXPECT_EQ(waits[i].position, static_cast<int>(i) + 1);
    EXPECT_LT(waits[i].ms_low, waits[i].ms_high);
    EXPECT_GE(waits[i].ms_low, last);
    last = waits[i].ms_low;
    if (waits[i].id == 7) position_of_7 = waits[i].position;
  }
  EXPECT_EQ(position_of_7, 2);  // the other account's first comes before the pile
  EXPECT_GE(waits[0].ms_low, 3000);
  // Free places: no wait.
  state.sequences.erase(state.sequences.begin(), state.sequences.begin() + 2);
  budget.running_max = 16;
  waits = estimate_waits(state, budget, speed);
  EXPECT_EQ(waits[0].ms_high, 0);
}

}  // namespace
}  // namespace engine
