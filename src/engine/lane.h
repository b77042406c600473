// Lane: one loaded model and the requests that it computes. step() is the engine's loop:
//
//   Scheduler -> Segments -> forward -> pick -> events
//
// With a layer that predicts one id more (MTP), rows that decode carry a guess at their next id:
//
//   ids so far   a b c     c is sampled, not computed      draft(c) guesses d
//   forward      c d       two rows of logits
//   row of c     gives d': an ordinary sample. d' = d: the row of d gives one more id.
//                          d' != d: the row of d never was (kv.length is shortened).
//
// The model thread owns it. Sinks are called from within step(), add(), cancel() and end_all().
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "engine/model_source.h"
#include "engine/sequence.h"
#include "engine/speculation.h"

namespace engine {

struct LaneOptions {
  int running_max = 16;
  int prompt_chunk_tokens = 0;  // 0: by measured speed
  bool prefix_cache = true;
  SpeculationMode speculation = SpeculationMode::automatic;
};

class Lane {
 public:
  Lane(const ModelSource& source, std::unique_ptr<LoadedModel> loaded, LaneOptions options,
       const base::Clock& clock, EngineStats& stats);
  ~Lane();

  void add(std::unique_ptr<Sequence> sequence);
  void cancel(uint64_t request_id);
  void answer_now(uint64_t request_id);
  void end_all(EndReason reason, const base::Error& error);

  bool idle() const { return sequences_.empty(); }
  void step();

  int running() const;
  int waiting() const;
  int pages_total() const;
  int pages_used() const;
  int64_t longest_wait_ms() const { return longest_wait_ms_; }

 private:
  struct Row {  // one segment of a step
    Sequence* sequence;
    int tokens;
    bool all_rows;
    bool wants_logits;
    bool guessed = false;
    std::array<int32_t, 2> ids{};  // guessed: the id to compute and the guess at the next one

    int logit_rows() const { return !wants_logits ? 0 : all_rows ? tokens : guessed ? 2 : 1; }
  };
  Sequence* find(uint64_t request_id);
  SchedulerState view() const;
  StepBudget budget() const;
  void admit(Sequence& s);
  void preempt(Sequence& s);
  void release_pages(Sequence& s);
  bool reserve(Sequence& s, int tokens);
  bool can_guess(const Row& row) const;
  bool guess(std::vector<Row>& rows);
  void after_row(const Row& row, const model::Logits& logits, int first_row);
  void compute(std::vector<Row>& rows);
  void list_full_pages(Sequence& s);
  bool echo(Sequence& s, int first_position, int rows, const model::Logits& logits, int row);
  void sample(Sequence& s, std::span<const float> logits);
  base::Result<int32_t> next_id(Sequence& s, std::span<const float> logits);
  std::optional<Token> describe(const Sequence& s, int32_t id, std::span<const float> logits);
  void accept(Sequence& s, int32_t id, std::optional<Token> token);
  void note_thinking(Sequence& s);
  bool ends_answer(const Sequence& s, int32_t id) const;
  void emit(Sequence& s, const Event& event) { s.sink(s.request.id, event); }
  void finish(Sequence& s, EndReason reason, bool context_full = false, base::Error error = {});
  void remove_finished();
  void measure(int prompt_tokens, int decode_rows, bool guessed, double seconds);
  void announce_waits();

  const ModelSource& source_;
  std::unique_ptr<LoadedModel> loaded_;
  model::ModelRunner& runner_;
  LaneOptions options_;
  const base::Clock& clock_;
  EngineStats& stats_;
  PrefixIndex index_;
  Scheduler scheduler_;
  Sampler sampler_;
  model::Logits logits_, guess_logits_;
  Speculation speculation_;
  std::vector<std::unique_ptr<Sequence>> sequences_;
  std::vector<AccountState> accounts_;
  int64_t arrivals_ = 0;
  Speed speed_;
  bool prompt_measured_ = false, decode_measured_ = false;
  int64_t longest_wait_ms_ = 0;
};

}  // namespace engine
