#include "engine/scheduler.h"

#include <algorithm>
#include <map>

namespace engine {
namespace {

int pages_for(int tokens, int page_tokens) { return (tokens + page_tokens - 1) / page_tokens; }
// Of all rows of the group.
int pages_for(const SequenceState& s, int tokens, int page_tokens) {
  return s.rows * pages_for(tokens, page_tokens);
}
int pages_for_all(const SequenceState& s, int page_tokens) {
  return pages_for(s, std::max(s.length, s.length_reserved), page_tokens);
}

// Mutable copies of what plan() is shown, and the decisions so far.
class Planner {
 public:
  Planner(const SchedulerState& state, const StepBudget& budget)
      : state_(state), budget_(budget), pages_(state.pages_available) {
    for (const SequenceState& s : state.sequences) sequences_.push_back({s});
    std::stable_sort(sequences_.begin(), sequences_.end(),
                     [](const Work& a, const Work& b) { return a.s.arrival < b.s.arrival; });
    for (const Work& w : sequences_) {
      if (w.s.admitted) count(w.s, 1);
    }
    plan_.accounts = ring();
  }

  Plan take() {
    decode();
    reserve_running_prompts();
    prompts();
    for (auto& account : plan_.accounts) {
      account.deficit = std::max(account.deficit, -debt_tokens_max);
    }
    return std::move(plan_);
  }

 private:
  struct Work {
    SequenceState s;
    int planned = 0;       // prompt tokens given so far in this step
    bool dropped = false;  // preempted in this step
    bool put_off = false;  // it decodes in a later step
    bool decodes() const {
      return s.admitted && !dropped && s.length - s.computed == 1 && s.computed >= s.prompt_length;
    }
    int prompt_left() const {
      if (dropped || decodes()) return 0;
      int border = s.computed < s.prompt_length ? s.prompt_length : s.length;
      if (s.border >= 0) border = std::min(border, s.border);
      int left = border - s.computed - planned;
      return s.chunk_tokens_max > 0 ? std::min(left, s.chunk_tokens_max - planned) : left;
    }
  };

  // The ring of the last step without those who left, newcomers at its end with nothing owed.
  std::vector<AccountState> ring() const {
    std::vector<AccountState> ring;
    auto known = [&](uint64_t account) {
      return std::any_of(ring.begin(), ring.end(),
                         [&](const AccountState& a) { return a.account == account; });
    };
    for (const AccountState& a : state_.accounts) {
      bool present = std::any_of(sequences_.begin(), sequences_.end(),
                                 [&](const Work& w) { return w.s.account == a.account; });
      if (present && !known(a.account)) ring.push_back(a);
    }
    for (const Work& w : sequences_) {
      if (!known(w.s.account)) ring.push_back({w.s.account, 0, false});
    }
    return ring;
  }

  AccountState& account(uint64_t id) {
    return *std::find_if(plan_.accounts.begin(), plan_.accounts.end(),
                         [&](const AccountState& a) { return a.account == id; });
  }

  // The newest request of the account that holds the most pages.
  Work* victim() {
    std::map<uint64_t, int> held;
    for (const Work& w : sequences_) {
      if (w.s.admitted && !w.dropped) held[w.s.account] += w.s.pages;
    }
    uint64_t biggest = 0;
    int most = -1;
    for (auto [id, pages] : held) {
      if (pages > most) {
        most = pages;
        biggest = id;
      }
    }
    Work* newest = nullptr;
    for (Work& w : sequences_) {
      if (w.s.admitted && !w.dropped && w.s.account == biggest) newest = &w;
    }
    return newest;
  }

  void count(const SequenceState& s, int sign) {
    running_ += sign * s.rows;
    if (s.rows > 1) running_pairs_ += sign * s.rows;
  }

  void preempt(Work& w) {
    w.dropped = true;
    pages_ += w.s.pages_released;
    count(w.s, -1);
    plan_.preempt.push_back(w.s.id);
  }

  // Pages do not come into it: groups of two own theirs from their admission on.
  void put_off_pairs() {
    bool mixed = false;
    std::vector<Work*> pairs;
    for (Work& w : sequences_) {
      if (!w.decodes()) continue;
      if (w.s.rows > 1) {
        pairs.push_back(&w);
      } else {
        mixed = true;
      }
    }
    if (!mixed) return;
    // Of those that waited equally long, the one that is less far: by arrival the first of three
    // would always be one of two.
    const auto sampled = [](const Work* w) { return w->s.length - w->s.prompt_length; };
    std::stable_sort(pairs.begin(), pairs.end(), [&](const Work* a, const Work* b) {
      return a->s.served != b->s.served ? a->s.served < b->s.served : sampled(a) < sampled(b);
    });
    int rows = 0;
    for (Work* w : pairs) {
      w->put_off = rows > 0 && rows + w->s.rows > budget_.mixed_pairs_max;
      if (!w->put_off) rows += w->s.rows;
    }
  }

  void decode() {
    put_off_pairs();
    for (Work& w : sequences_) {
      if (!w.decodes() || w.put_off) continue;
      int need = pages_for(w.s, w.s.computed + 1, state_.page_tokens) - w.s.pages;
      while (need > pages_ && !w.dropped) preempt(*victim());
      if (w.dropped) continue;
      pages_ -= std::max(need, 0);
      w.s.pages += std::max(need, 0);
      plan_.items.push_back({w.s.id, 1});
      account(w.s.account).deficit -= w.s.rows;
    }
    // A victim may already have had its row.
    std::erase_if(plan_.items, [&](const PlanItem& item) {
      return std::find(plan_.preempt.begin(), plan_.preempt.end(), item.id) != plan_.preempt.end();
    });
  }

  // Requests that were admitted own, in advance, the pages of their whole text.
  void reserve_running_prompts() {
    for (Work& w : sequences_) {
      if (!w.s.admitted || w.dropped || w.decodes()) continue;
      int need = pages_for_all(w.s, state_.page_tokens) - w.s.pages;
      while (need > pages_ && !w.dropped) preempt(*victim());
      if (!w.dropped) pages_ -= std::max(need, 0);
    }
    std::erase_if(plan_.items, [&](const PlanItem& item) {
      return std::find(plan_.preempt.begin(), plan_.preempt.end(), item.id) != plan_.preempt.end();
    });
  }

  bool admit(Work& w) {
    if (w.s.admitted) return true;
    // One page more than the text, so that the first tokens of the answer have room.
    const int more = running_ > 0 && w.s.length_reserved == 0 ? w.s.rows : 0;
    const int need = pages_for_all(w.s, state_.page_tokens) + more;
    const bool pair = w.s.rows > 1;
    if (pair && running_pairs_ > 0 && running_pairs_ + w.s.rows > budget_.running_pairs_max) {
      return false;
    }
    const bool full = running_ > 0 && running_ + w.s.rows > budget_.running_max;
    if (closed_ || full || need > pages_) {
      closed_ = true;
      return false;
    }
    pages_ -= need;
    count(w.s, 1);
    w.s.admitted = true;
    plan_.admit.push_back(w.s.id);
    return true;
  }

  // The account's oldest request with prompt tokens to compute, admitted if need be.
  Work* next_of(uint64_t id) {
    for (Work& w : sequences_) {
      if (w.s.account != id || w.prompt_left() <= 0) continue;
      if (w.s.admitted || admit(w)) return &w;
    }
    return nullptr;
  }

  void prompts() {
    int decoding = 0;
    for (const PlanItem& item : plan_.items) decoding += rows_of(item.id);
    int left = std::min(budget_.prompt_tokens_max, budget_.step_tokens_max - decoding);
    std::vector<PlanItem> chunks;
    size_t idle_in_a_row = 0;
    auto& ring = plan_.accounts;
    while (left > 0 && !ring.empty() && idle_in_a_row < ring.size()) {
      AccountState& at = ring.front();
      Work* w = next_of(at.account);
      if (!w) {
        // Nothing to compute: what it was owed is forgotten, what it owes is not.
        at.deficit = std::min<int64_t>(at.deficit, 0);
        at.in_turn = false;
        ++idle_in_a_row;
      } else {
        idle_in_a_row = 0;
        if (!at.in_turn) at.deficit += quantum_tokens;
        at.in_turn = false;
        while (left > 0 && at.deficit > 0 && w) {
          const int rows = w->s.rows;
          // A deficit that pays for a part of the rows pays for one token of each.
          const int64_t paid = (at.deficit + rows - 1) / rows;
          const int n = static_cast<int>(std::min<int64_t>({w->prompt_left(), left / rows, paid}));
          if (n == 0) {
            left = 0;  // too little is left of the step for all rows
            break;
          }
          w->planned += n;
          left -= n * rows;
          at.deficit -= n * rows;
          add(chunks, w->s.id, n);
          w = next_of(at.account);
        }
        // Its turn goes on in the next step if only the budget ended.
        at.in_turn = left == 0 && at.deficit > 0 && w != nullptr;
        if (at.in_turn) break;
      }
      std::rotate(ring.begin(), ring.begin() + 1, ring.end());
    }
    plan_.items.insert(plan_.items.end(), chunks.begin(), chunks.end());
  }

  int rows_of(uint64_t id) const {
    for (const Work& w : sequences_) {
      if (w.s.id == id) return w.s.rows;
    }
    return 1;
  }

  static void add(std::vector<PlanItem>& chunks, uint64_t id, int n) {
    for (PlanItem& item : chunks) {
      if (item.id == id) {
        item.tokens += n;
        return;
      }
    }
    chunks.push_back({id, n});
  }

  const SchedulerState& state_;
  const StepBudget& budget_;
  std::vector<Work> sequences_;
  Plan plan_;
  int pages_ = 0;
  int running_ = 0;        // rows
  int running_pairs_ = 0;  // of them in groups of two
  bool closed_ = false;    // somebody did not fit: nobody is admitted after them
};

// Waiting requests in the order of admission: one of each account in turn, as the ring stands.
std::vector<const SequenceState*> admission_order(const SchedulerState& state) {
  std::vector<const SequenceState*> waiting;
  for (const SequenceState& s : state.sequences) {
    if (!s.admitted) waiting.push_back(&s);
  }
  std::stable_sort(waiting.begin(), waiting.end(),
                   [](auto* a, auto* b) { return a->arrival < b->arrival; });
  // What every account has had before a request: its debt and the texts ahead of it.
  std::map<uint64_t, int64_t> spent;
  for (const AccountState& a : state.accounts) spent[a.account] = -a.deficit;
  std::vector<std::pair<int64_t, const SequenceState*>> keyed;
  for (const SequenceState* s : waiting) {
    int64_t& before = spent[s->account];
    keyed.emplace_back(before, s);
    before += std::max(s->length, 1) * s->rows;
  }
  std::stable_sort(keyed.begin(), keyed.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<const SequenceState*> order;
  order.reserve(keyed.size());
  for (const auto& [key, s] : keyed) order.push_back(s);
  return order;
}

// Nobody knows how long an answer will be; a picture has the codes that it has.
double answer_tokens(const SequenceState& s, const Speed& speed) {
  if (s.rows > 1) return s.tokens_left_max;
  return std::min<double>(s.tokens_left_max, speed.answer_tokens_typical);
}

}  // namespace

Plan Scheduler::plan(const SchedulerState& state, const StepBudget& budget) const {
  return Planner(state, budget).take();
}

std::vector<WaitEstimate> estimate_waits(const SchedulerState& state, const StepBudget& budget,
                                         const Speed& speed) {
  double decode = std::max(speed.decode_steps_per_s, 1e-3);
  double prompt = std::max(speed.prompt_tokens_per_s, 1e-3);
  // When each place becomes free, in seconds from now, as a heap of the earliest.
  std::vector<double> free_at;
  double prompt_s = 0;
  for (const SequenceState& s : state.sequences) {
    if (!s.admitted) continue;
    prompt_s += s.rows * std::max(0, s.length - s.computed - 1) / prompt;
    free_at.insert(free_at.end(), static_cast<size_t>(s.rows), answer_tokens(s, speed) / decode);
  }
  for (double& t : free_at) t += prompt_s;
  while (static_cast<int>(free_at.size()) < budget.running_max) free_at.push_back(0);
  int pages = state.pages_available;
  std::vector<WaitEstimate> waits;
  double ahead_s = prompt_s;  // prompts are computed one after another
  for (const SequenceState* s : admission_order(state)) {
    int need = pages_for_all(*s, state.page_tokens) + 1;
    auto place = std::min_element(free_at.begin(), free_at.end());
    // Without pages a free place does not help: it waits for the next answer to end.
    if (need > pages && *place <= 0) {
      auto busy = std::min_element(free_at.begin(), free_at.end(), [](double a, double b) {
        return (a > 0 ? a : 1e300) < (b > 0 ? b : 1e300);
      });
      if (*busy > 0) place = busy;
    }
    double wait_s = std::max(*place, ahead_s);
    waits.push_back({s->id, static_cast<int>(waits.size()) + 1, static_cast<int64_t>(wait_s * 500),
                     static_cast<int64_t>(wait_s * 2000)});
    pages -= need;
    const double reading_s = s->rows * s->length / prompt;
    ahead_s += reading_s;
    *place = wait_s + reading_s + answer_tokens(*s, speed) / decode;
  }
  return waits;
}

}  // namespace engine
