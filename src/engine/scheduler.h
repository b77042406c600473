// Scheduler: which tokens the next step computes. A pure function of what it is shown: no clock, no
// threads, no pages of its own; the model thread shows it a State, carries out the Plan and comes
// back. So every policy is tested with plain data.
//
// One step mixes decoding and prompts:
//
//   rows   | a | b | c | d d d d d d d d | e e e e e e |      a, b, c decode one token each
//            decode first  prompt chunks, what is left of the budget
//
// 1. Decode never starves: every running request that waits for its next token gets its row. Only
//    pictures take turns: a step that somebody's text waits for computes some of them, those first
//    that were left out longest ago.
// 2. If pages for that run out, a request is preempted: the newest one of the account that holds
//    the most pages. Its pages are released and its text is computed again later; since sampling
//    depends on (seed, position) only, its tokens stay the same.
// 3. What is left of the budget goes to prompts, by deficit round robin over accounts: an account
//    is owed `quantum_tokens` a round and pays for what it uses, decoded tokens included. Within an
//    account the order is that of arrival. So one account with 20 long prompts delays another
//    account's first short one by one quantum, not by 20 prompts.
// 4. A waiting request is admitted when its turn comes and its whole text fits into the pages that
//    are free. If it does not fit, nobody overtakes it: else large requests would wait forever.
//
// What is planned is a group: one row of ids, or two of equal length that are computed together (a
// picture being drawn: with its text and without). It is admitted and preempted as a whole, counts
// as its rows, and may own from its admission on the pages of all that it is going to be. Groups of
// two take part of the places only, for each runs for minutes; whoever waits for such a place holds
// nobody else up.
#pragma once

#include <cstdint>
#include <vector>

namespace engine {

struct SequenceState {  // of a group; lengths and tokens are those of one of its rows
  uint64_t id = 0;
  int rows = 1;
  uint64_t account = 0;
  int64_t arrival = 0;  // smaller: earlier; survives preemption
  bool admitted = false;
  int length = 0;         // ids so far, prompt and sampled
  int computed = 0;       // of them in the cache
  int prompt_length = 0;  // ids of the prompt: a chunk does not cross the border (one origin)
  // Ids from here on cannot be computed yet, or not in one chunk with those before (a picture
  // begins or ends); -1: none.
  int border = -1;
  int length_reserved = 0;   // positions whose pages it owns from its admission on; 0: `length`
  int pages = 0;             // held, by all rows
  int pages_released = 0;    // that preempting it would make available (not shared with others)
  int chunk_tokens_max = 0;  // 0: no limit of its own (logits of all rows cost memory)
  int tokens_left_max = 0;   // most tokens that it may still generate; for estimates
  int64_t served = 0;        // of a group of two: the step that computed it last; larger: later
};

// What an account is owed or owes, in tokens; in ring order.
struct AccountState {
  uint64_t account = 0;
  int64_t deficit = 0;
  bool in_turn = false;  // the last step ended in the middle of its turn: no new quantum
};

struct SchedulerState {
  std::vector<SequenceState> sequences;
  std::vector<AccountState> accounts;
  int pages_available = 0;  // free ones and those that can be evicted
  int page_tokens = 64;
};

struct StepBudget {
  int step_tokens_max = 512;    // rows of one step; at least running_max
  int prompt_tokens_max = 512;  // of them for prompts; at least the rows of a group
  int running_max = 16;         // rows that are computed at the same time; one group always is
  int running_pairs_max = 8;    // of them in groups of two; one such group always is
  int mixed_pairs_max = 8;      // rows of groups of two that decode in a step in which a single one
                                // does; one such group always does
};

struct PlanItem {
  uint64_t id = 0;
  int tokens = 0;  // the next ones that are not computed, of each row
};
struct Plan {
  std::vector<uint64_t> preempt;       // first
  std::vector<uint64_t> admit;         // then, in order
  std::vector<PlanItem> items;         // then compute these: decode rows, then prompt chunks
  std::vector<AccountState> accounts;  // for the next State
};

inline constexpr int quantum_tokens = 64;
inline constexpr int64_t debt_tokens_max = 4096;  // older usage than that is forgotten

class Scheduler {
 public:
  Plan plan(const SchedulerState& state, const StepBudget& budget) const;
};

// ---- waiting times ---------------------------------------------------------------------------

struct Speed {  // measured, or a guess from the weights' size before the first step
  double prompt_tokens_per_s = 100;
  double decode_steps_per_s = 10;  // each gives one token to every running request
  double answer_tokens_typical = 400;
};
struct WaitEstimate {
  uint64_t id = 0;
  int position = 0;  // 1: next
  int64_t ms_low = 0, ms_high = 0;
};
// For every request that is not admitted, in the order in which they will be.
std::vector<WaitEstimate> estimate_waits(const SchedulerState& state, const StepBudget& budget,
                                         const Speed& speed);

}  // namespace engine
