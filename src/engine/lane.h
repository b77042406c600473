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
// Pictures (lane_pictures.cc): a chunk of a prompt ends where a picture begins, and goes on when
// its features are there; a picture is drawn by two rows that get the same code, then painted:
//
//   step: rows of text and of codes -> a slice of PictureWork -> step …
//
// The model thread owns it. Sinks are called from within step(), add(), cancel() and end_all().
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "engine/mixed_pairs.h"
#include "engine/model_source.h"
#include "engine/picture_work.h"
#include "engine/sequence.h"
#include "engine/speculation.h"

namespace engine {

// 0 where one of the two has not come.
inline int64_t ms_between(int64_t from_ns, int64_t to_ns) {
  return from_ns > 0 && to_ns > from_ns ? (to_ns - from_ns) / 1'000'000 : 0;
}

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

  // Nobody waits for anything: it may be unloaded.
  bool idle() const { return sequences_.empty(); }
  // step() has something to do; perhaps only what is made ready before anybody asks for it.
  bool has_work() const { return !idle() || (work_ && draws() && !work_->palette()); }
  // `alone`: nothing else is computed on this machine.
  void step(bool alone = true);

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

    // Of text; a picture's row has two of codes.
    int logit_rows() const {
      return !wants_logits || sequence->drawing ? 0 : all_rows ? tokens : guessed ? 2 : 1;
    }
  };
  Sequence* find(uint64_t request_id);
  SchedulerState view() const;
  StepBudget budget() const;
  void admit(Sequence& s);
  void preempt(Sequence& s);
  void release_pages(Sequence& s);
  void release_pages(Strand& strand);
  bool reserve(Strand& strand, int tokens);
  void match_pages(Sequence& s);
  bool can_guess(const Row& row) const;
  bool guess(std::vector<Row>& rows);
  void after_rows(const std::vector<Row>& rows);
  void after_row(const Row& row, const model::Logits& logits, int first_row);
  struct StepRows {
    int prompt = 0, text = 0, pictures = 0;  // of prompts; that decode
  };
  StepRows compute(std::vector<Row>& rows);
  void list_full_pages(Sequence& s);
  void list_full_pages(const Sequence& s, Strand& strand);
  SequenceState state_of(const Sequence& s) const;
  std::vector<Row> rows_of(const Plan& plan);
  void add_segments(const Row& row, std::vector<model::Segment>& segments);
  int chunk_end(const Sequence& s) const;
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

  // Pictures.
  bool draws() const { return runner_.info().image_codes > 0; }
  int codes_of_picture() const { return work_->info().grid * work_->info().grid; }
  void add_drawing(std::unique_ptr<Sequence> first);
  bool held_back(const Sequence& s) const;
  int length_reserved(const Sequence& s) const;
  PrefixIndex::Contents contents_of(const Sequence& s, int first) const;
  bool admit_drawing(Sequence& s);
  void fetch_features();
  void after_drawing_row(const Row& row, const model::Logits& logits, int first_row);
  void sample_code(Sequence& s, const model::Logits& logits, int first_row);
  void tell_sketch(Sequence& s);
  void paint(Sequence& s);
  void painted(Sequence& s, const std::vector<uint8_t>& pixels);
  void finish_drawing(Sequence& s, EndReason reason, base::Error error);
  void advance_pictures(bool alone, bool computed, int64_t step_ns);

  void measure(const StepRows& rows, bool guessed, double seconds);
  void announce_waits();

  const ModelSource& source_;
  std::unique_ptr<LoadedModel> loaded_;
  model::ModelRunner& runner_;
  LaneOptions options_;
  const base::Clock& clock_;
  EngineStats& stats_;
  PrefixIndex index_;
  std::unique_ptr<PictureWork> work_;  // of a model that sees and draws
  std::vector<float> guided_;          // (codes)
  MixedPairs mixed_pairs_;
  Scheduler scheduler_;
  Sampler sampler_;
  model::Logits logits_, guess_logits_;
  Speculation speculation_;
  std::vector<std::unique_ptr<Sequence>> sequences_;
  std::vector<AccountState> accounts_;
  int64_t arrivals_ = 0;
  int stuck_steps_ = 0;  // in a row that computed nothing although somebody waits
  Speed speed_;
  bool prompt_measured_ = false, decode_measured_ = false;
  int64_t longest_wait_ms_ = 0;
};

}  // namespace engine
