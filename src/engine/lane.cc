#include "engine/lane.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace engine {
namespace {

constexpr double speed_smoothing = 0.2;         // weight of the newest step
constexpr int chunk_tokens_min = 16;            // the kernels' tile: less wastes half of it
constexpr int chunk_tokens_beside_text = 8;     // … unless somebody would wait for the other half
constexpr int chunk_tokens_to_draw = 2;         // prompts of pictures are short, drawing is long
constexpr double chunk_share_least = 0.25;      // of step_target_ms, whatever decoding takes
constexpr int chunk_tokens_first = 64;          // before anything is measured
constexpr int64_t echo_logits_max = 8'000'000;  // floats of one step: 32 MB
constexpr int64_t announce_interval_ns = 1'000'000'000;
constexpr int stuck_steps_max = 1;          // a cached page may end where features are wanted next
constexpr double guess_bytes_per_s = 10e9;  // of weights read in decoding

}  // namespace

Lane::Lane(const ModelSource& source, std::unique_ptr<LoadedModel> loaded, LaneOptions options,
           const base::Clock& clock, EngineStats& stats)
    : source_(source),
      loaded_(std::move(loaded)),
      runner_(loaded_->runner()),
      options_(options),
      clock_(clock),
      stats_(stats),
      index_(runner_.kv_pool()),
      speculation_(runner_.info().mtp ? options.speculation : SpeculationMode::off) {
  if (model::PictureModel* pictures = loaded_->pictures()) {
    work_ = std::make_unique<PictureWork>(*pictures, clock_);
    CHECK(work_->info().hidden == runner_.info().hidden, "features are rows of the decoder");
    CHECK(!draws() || work_->info().codes == runner_.info().image_codes, "of one file");
  }
  double bytes = std::max<double>(1e6, static_cast<double>(runner_.info().weight_bytes));
  speed_.decode_steps_per_s = guess_bytes_per_s / bytes;
  speed_.prompt_tokens_per_s = 4 * speed_.decode_steps_per_s;
}

Lane::~Lane() { CHECK(sequences_.empty(), "end_all() comes before the lane goes"); }

// ---- requests come and go --------------------------------------------------------------------

void Lane::add(std::unique_ptr<Sequence> sequence) {
  if (sequence->drawing) return add_drawing(std::move(sequence));
  Sequence& s = *sequence;
  s.arrival = arrivals_++;
  if (has_penalties(s.request.sampling)) {
    for (int32_t id : s.ids) s.history.add(id);
  }
  sequences_.push_back(std::move(sequence));
  announce_waits();
}

Sequence* Lane::find(uint64_t request_id) {
  for (auto& s : sequences_) {
    if (s->request.id == request_id && !s->done) return s.get();
  }
  return nullptr;
}

void Lane::cancel(uint64_t request_id) {
  if (Sequence* s = find(request_id)) {
    finish(*s, EndReason::cancelled);
    remove_finished();
  }
}

void Lane::answer_now(uint64_t request_id) {
  if (Sequence* s = find(request_id)) s->answer_now = true;
}

void Lane::end_all(EndReason reason, const base::Error& error) {
  for (auto& s : sequences_) finish(*s, reason, false, error);
  remove_finished();
}

int Lane::running() const {
  return static_cast<int>(std::count_if(sequences_.begin(), sequences_.end(), [](const auto& s) {
    return s->admitted || (s->drawing && s->drawing->painting);
  }));
}
int Lane::waiting() const { return static_cast<int>(sequences_.size()) - running(); }
int Lane::pages_total() const { return runner_.kv_pool().pages_total(); }
int Lane::pages_used() const { return pages_total() - runner_.kv_pool().pages_free(); }

void Lane::finish(Sequence& s, EndReason reason, bool context_full, base::Error error) {
  if (s.done) return;
  if (s.drawing) return finish_drawing(s, reason, std::move(error));
  int64_t now = clock_.monotonic_ns();
  if (s.thinking_began_ns > 0) s.thinking_ms += ms_between(s.thinking_began_ns, now);
  for (const Delta& delta : s.output.finish()) emit(s, delta);
  End end;
  end.reason = reason;
  end.context_full = context_full;
  end.error = std::move(error);
  end.usage.prompt_tokens = s.prompt_length;
  end.usage.cached_tokens = s.cached_tokens;
  end.usage.completion_tokens = s.completion_tokens();
  end.usage.reasoning_tokens = s.output.reasoning_tokens();
  end.usage.seed = s.seed;
  end.usage.queue_ms = ms_between(s.arrived_ns, s.ever_admitted ? s.admitted_ns : now);
  end.usage.prompt_ms = ms_between(s.admitted_ns, s.first_token_ns > 0 ? s.first_token_ns : now);
  end.usage.decode_ms = ms_between(s.first_token_ns, now);
  end.usage.thinking_ms = s.thinking_ms;
  s.done = true;
  release_pages(s);
  emit(s, end);
}

void Lane::remove_finished() {
  std::erase_if(sequences_, [](const auto& s) { return s->done; });
}

// ---- pages -----------------------------------------------------------------------------------

void Lane::release_pages(Strand& strand) {
  for (model::PageId page : strand.kv.pages) runner_.kv_pool().release(page);
  strand.kv.pages.clear();
  strand.kv.length = 0;
  strand.chain = PrefixIndex::root;
  strand.listed_pages = 0;
}

void Lane::release_pages(Sequence& s) {
  release_pages(static_cast<Strand&>(s));
  if (s.drawing) release_pages(s.drawing->without_text);
  if (work_) work_->drop(static_cast<uint64_t>(s.arrival));
  s.features.reset();
  s.admitted = false;
}

void Lane::preempt(Sequence& s) {
  release_pages(s);
  ++stats_.preemptions;
}

// The pages that others have computed already.
void Lane::match_pages(Sequence& s) {
  bool echoing = s.request.prompt_logprobs && s.prompt_tokens_echoed < s.prompt_length;
  if (!options_.prefix_cache || echoing) return;
  // One id at least is computed: its logits are wanted.
  int pages_max = (static_cast<int>(s.ids.size()) - 1) / model::page_tokens;
  const auto match = [&](Strand& strand) {
    release_pages(strand);
    auto found = index_.match(s.request.account, strand.ids, s.prompt_length, pages_max,
                              [&](int first) { return contents_of(s, first); });
    pages_max = static_cast<int>(found.pages.size());
    strand.kv.pages = std::move(found.pages);
    strand.kv.length = pages_max * model::page_tokens;
    strand.chain = found.last;
    strand.listed_pages = pages_max;
  };
  match(s);
  if (!s.drawing) return;
  // The rows of a group are of one length: that of the shorter find.
  match(s.drawing->without_text);
  if (s.drawing->without_text.kv.length < s.kv.length) match(s);
}

void Lane::admit(Sequence& s) {
  match_pages(s);
  if (s.drawing && !admit_drawing(s)) return release_pages(s);
  s.admitted = true;
  if (s.ever_admitted) return;
  s.ever_admitted = true;
  s.admitted_ns = clock_.monotonic_ns();
  s.cached_tokens = std::min(s.kv.length, s.prompt_length);
  stats_.cached_tokens += static_cast<uint64_t>(s.cached_tokens);
  if (s.drawing) {
    if (s.drawing->picture > 0) return;
    s.drawing->order->admitted_ns = s.admitted_ns;
    s.drawing->order->cached_tokens = s.cached_tokens;
  }
  emit(s, Reading{s.cached_tokens, s.prompt_length, s.cached_tokens});
}

bool Lane::reserve(Strand& strand, int tokens) {
  auto need = static_cast<size_t>(model::pages_for(strand.kv.length + tokens));
  while (strand.kv.pages.size() < need) {
    model::PageId page = runner_.kv_pool().take();
    while (page < 0 && index_.evict_one()) page = runner_.kv_pool().take();
    if (page < 0) return false;
    strand.kv.pages.push_back(page);
  }
  return true;
}

void Lane::list_full_pages(Sequence& s) {
  if (!options_.prefix_cache) return;
  list_full_pages(s, s);
  if (s.drawing) list_full_pages(s, s.drawing->without_text);
}

void Lane::list_full_pages(const Sequence& s, Strand& strand) {
  while ((strand.listed_pages + 1) * model::page_tokens <= strand.kv.length) {
    int start = strand.listed_pages * model::page_tokens;
    auto ids = std::span<const int32_t>(strand.ids)
                   .subspan(static_cast<size_t>(start), model::page_tokens);
    int prompt_ids = std::clamp(s.prompt_length - start, 0, model::page_tokens);
    auto& page = strand.kv.pages[static_cast<size_t>(strand.listed_pages)];
    auto listed = index_.insert(strand.chain, s.request.account, ids, prompt_ids, page,
                                contents_of(s, start));
    page = listed.page;
    strand.chain = listed.node;
    ++strand.listed_pages;
  }
}

// ---- one step --------------------------------------------------------------------------------

SchedulerState Lane::view() const {
  SchedulerState state;
  state.page_tokens = model::page_tokens;
  state.pages_available = runner_.kv_pool().pages_free() + index_.evictable();
  state.accounts = accounts_;
  for (const auto& s : sequences_) {
    if (!s->drawing || !s->drawing->painting) state.sequences.push_back(state_of(*s));
  }
  return state;
}

SequenceState Lane::state_of(const Sequence& s) const {
  SequenceState v;
  v.id = static_cast<uint64_t>(s.arrival);  // request ids are the callers'; arrivals are ours
  v.account = s.request.account;
  v.arrival = s.arrival;
  v.admitted = s.admitted;
  v.length = static_cast<int>(s.ids.size());
  v.computed = s.kv.length;
  v.prompt_length = s.prompt_length;
  v.border = held_back(s) ? 0 : chunk_end(s);
  const auto count_pages = [&](const Strand& strand) {
    const auto held = static_cast<int>(strand.kv.pages.size());
    v.pages += held;
    for (int i = 0; i < held; ++i) {
      int ours = i < strand.listed_pages ? 2 : 1;
      v.pages_released +=
          runner_.kv_pool().references(strand.kv.pages[static_cast<size_t>(i)]) <= ours;
    }
  };
  count_pages(s);
  if (s.drawing) {
    v.rows = 2;
    v.length_reserved = length_reserved(s);
    v.tokens_left_max = v.length_reserved - v.length;
    v.served = s.drawing->served_step;
    count_pages(s.drawing->without_text);
    return v;
  }
  if (s.request.prompt_logprobs) {
    v.chunk_tokens_max =
        static_cast<int>(std::max<int64_t>(1, echo_logits_max / runner_.info().vocab));
  }
  int room = source_.status().context_tokens - v.length;
  int asked = s.request.tokens_max < 0 ? room : s.request.tokens_max - s.completion_tokens();
  v.tokens_left_max = std::max(0, std::min(room, asked));
  return v;
}

StepBudget Lane::budget() const {
  StepBudget budget;
  budget.step_tokens_max = runner_.batch_tokens_max();
  budget.running_max = std::min(options_.running_max, budget.step_tokens_max);
  int chunk = options_.prompt_chunk_tokens;
  if (chunk <= 0) {
    // A step that somebody's text waits for takes as long with its chunk as other steps without.
    const bool waited_for = std::any_of(sequences_.begin(), sequences_.end(), [](const auto& s) {
      return s->admitted && !s->drawing && s->kv.length >= s->prompt_length && s->pending() == 1;
    });
    const bool text_to_read = std::any_of(sequences_.begin(), sequences_.end(), [](const auto& s) {
      return !s->drawing && s->kv.length < s->prompt_length;
    });
    double target_ms = waited_for && !text_to_read ? gap_aim_ms : step_target_ms;
    if (waited_for && decode_measured_) target_ms -= 1000 / speed_.decode_steps_per_s;
    target_ms = std::max(target_ms, chunk_share_least * step_target_ms);
    const double measured = speed_.prompt_tokens_per_s * target_ms / 1000;
    const int least = !waited_for    ? chunk_tokens_min
                      : text_to_read ? chunk_tokens_beside_text
                                     : chunk_tokens_to_draw;
    chunk = prompt_measured_ ? static_cast<int>(std::min(measured, 1e6)) : chunk_tokens_first;
    chunk = std::max(chunk / least * least, least);
  }
  // Both rows of a group have their place.
  budget.prompt_tokens_max = std::min(std::max(chunk, 2), budget.step_tokens_max);
  budget.running_pairs_max = budget.running_max / 2;
  budget.mixed_pairs_max = mixed_pairs_.rows_max();
  return budget;
}

// Where the chunk that begins at the first id that is not computed has to end: a segment has one
// origin, and either ids or the rows of one picture.
int Lane::chunk_end(const Sequence& s) const {
  const int at = s.kv.length;
  const int end = at < s.prompt_length ? s.prompt_length : static_cast<int>(s.ids.size());
  for (size_t i = 0; i < s.seen.size(); ++i) {
    const SeenPicture& picture = s.seen[i];
    if (at >= picture.end()) continue;
    if (at < picture.first) return std::min(end, picture.first);
    return s.features && s.features_of == i ? picture.end() : at;
  }
  return end;
}

std::vector<Lane::Row> Lane::rows_of(const Plan& plan) {
  auto by_arrival = [this](uint64_t arrival) -> Sequence& {
    auto found = std::find_if(sequences_.begin(), sequences_.end(), [&](const auto& s) {
      return static_cast<uint64_t>(s->arrival) == arrival;
    });
    CHECK(found != sequences_.end(), "plans name what they were shown");
    return **found;
  };
  for (uint64_t id : plan.preempt) preempt(by_arrival(id));
  for (uint64_t id : plan.admit) admit(by_arrival(id));
  std::vector<Row> rows;
  for (const PlanItem& item : plan.items) {
    Sequence& s = by_arrival(item.id);
    // The cache may hold a part of what was planned.
    int tokens = std::min(item.tokens, chunk_end(s) - s.kv.length);
    if (!s.admitted || tokens <= 0 || !reserve(s, tokens)) continue;
    if (s.drawing && !reserve(s.drawing->without_text, tokens)) continue;
    bool echoing = s.request.prompt_logprobs && s.prompt_tokens_echoed < s.prompt_length;
    bool last = s.kv.length + tokens == static_cast<int>(s.ids.size());
    rows.push_back({&s, tokens, echoing, echoing || last});
  }
  return rows;
}

void Lane::step(bool alone) {
  fetch_features();
  Plan plan = scheduler_.plan(view(), budget());
  accounts_ = plan.accounts;
  std::vector<Row> rows = rows_of(plan);
  const int64_t began = clock_.monotonic_ns();
  const bool waits = sequences_.empty() || (work_ && work_->wanted());
  stuck_steps_ = rows.empty() && !waits ? stuck_steps_ + 1 : 0;
  StepRows computed;
  if (!rows.empty()) {
    computed = compute(rows);
  } else if (stuck_steps_ > stuck_steps_max) {
    // The plan promised pages that are not there: a fault of ours, which must not become a loop.
    finish(*sequences_.back(), EndReason::failed, false,
           {base::ErrorKind::internal, "the engine ran out of pages", "", "report this"});
  }
  const int64_t step_ns = clock_.monotonic_ns() - began;
  if (computed.prompt == 0) {
    mixed_pairs_.note_step(computed.text, computed.pictures, static_cast<double>(step_ns) * 1e-6);
  }
  advance_pictures(alone, !rows.empty(), step_ns);
  remove_finished();
  announce_waits();
}

// A row that decodes one id, whose request has room for two more, and a page for them at hand.
bool Lane::can_guess(const Row& row) const {
  const Sequence& s = *row.sequence;
  if (s.drawing || row.tokens != 1 || row.all_rows) return false;
  if (s.kv.length < s.prompt_length) return false;
  if (s.pending() != 1 || s.request.tokens_max - s.completion_tokens() == 1) return false;
  if (static_cast<int>(s.ids.size()) + 1 >= source_.status().context_tokens) return false;
  auto pages = static_cast<size_t>(model::pages_for(s.kv.length + 2));
  return pages <= s.kv.pages.size() || runner_.kv_pool().pages_free() > 0;
}

// Gives the rows that decode a guess at their next id; whether any got one. A guess is picked as
// the id will be, with the same random number, so that it is right as often as can be.
bool Lane::guess(std::vector<Row>& rows) {
  int decode_rows = 0, tokens = 0;
  for (const Row& row : rows) {
    tokens += row.tokens;
    decode_rows += can_guess(row);
  }
  bool fits = tokens + decode_rows <= runner_.batch_tokens_max();
  if (decode_rows == 0 || !fits || !speculation_.guess(decode_rows)) return false;
  std::vector<Row*> guessing;
  std::vector<model::Segment> segments;
  for (Row& row : rows) {
    Sequence& s = *row.sequence;
    if (!can_guess(row) || !reserve(s, 2)) continue;
    row.ids[0] = s.ids.back();
    guessing.push_back(&row);
    segments.push_back({&s.kv, model::Origin::sampled, {row.ids.data(), 1}});
  }
  if (segments.empty() || !runner_.draft(segments, guess_logits_)) return false;
  for (size_t i = 0; i < guessing.size(); ++i) {
    Sequence& s = *guessing[i]->sequence;
    auto id = sampler_.pick(guess_logits_.row(static_cast<int>(i)), s.history, s.request.sampling,
                            uniform(s.seed, static_cast<uint64_t>(s.ids.size())));
    if (!id) continue;
    guessing[i]->ids[1] = *id;
    guessing[i]->guessed = true;
  }
  return true;
}

Lane::StepRows Lane::compute(std::vector<Row>& rows) {
  int64_t began = clock_.monotonic_ns();
  bool guessed = guess(rows);
  std::vector<model::Segment> segments;
  StepRows counted;
  for (const Row& row : rows) {
    Sequence& s = *row.sequence;
    add_segments(row, segments);
    const int tokens = row.tokens * (s.drawing ? 2 : 1);
    const bool prompt = s.kv.length < s.prompt_length;
    const bool decode = !prompt && row.tokens == 1;
    (!decode ? counted.prompt : s.drawing ? counted.pictures : counted.text) += tokens;
    if (prompt) stats_.prompt_tokens += static_cast<uint64_t>(tokens);
    if (s.drawing) s.drawing->served_step = static_cast<int64_t>(stats_.steps);
  }
  auto done = runner_.forward(segments, logits_);
  measure(counted, guessed, static_cast<double>(clock_.monotonic_ns() - began) * 1e-9);
  ++stats_.steps;
  if (done) {
    after_rows(rows);
  } else {
    for (const Row& row : rows) finish(*row.sequence, EndReason::failed, false, done.error());
  }
  return counted;
}

void Lane::add_segments(const Row& row, std::vector<model::Segment>& segments) {
  Sequence& s = *row.sequence;
  const bool prompt = s.kv.length < s.prompt_length;
  const auto add = [&](Strand& strand) -> model::Segment& {
    auto ids = std::span<const int32_t>(strand.ids)
                   .subspan(static_cast<size_t>(strand.kv.length), static_cast<size_t>(row.tokens));
    return segments.emplace_back(model::Segment{
        &strand.kv, prompt ? model::Origin::prompt : model::Origin::sampled, ids,
        row.wants_logits ? model::Head::text : model::Head::none, row.all_rows || row.guessed});
  };
  if (s.drawing) {
    for (Strand* strand : {static_cast<Strand*>(&s), &s.drawing->without_text}) {
      model::Segment& segment = add(*strand);
      if (row.wants_logits) segment.want = model::Head::image;
      if (!prompt) segment.vocab = model::Vocab::image;
    }
    return;
  }
  model::Segment& segment = add(s);
  if (row.guessed) segment.ids = row.ids;
  for (const SeenPicture& picture : s.seen) {
    if (s.kv.length < picture.first || s.kv.length >= picture.end()) continue;
    const int64_t at = s.kv.length - picture.first;
    segment.embeds = s.features->data() + at * runner_.info().hidden;
  }
}

void Lane::after_rows(const std::vector<Row>& rows) {
  int first_row = 0, first_code_row = 0;
  for (const Row& row : rows) {
    if (row.sequence->drawing) {
      after_drawing_row(row, logits_, first_code_row);
      first_code_row += row.wants_logits ? 2 : 0;
      continue;
    }
    // A guess counts as computed only once it has turned out right.
    if (row.guessed) --row.sequence->kv.length;
    after_row(row, logits_, first_row);
    first_row += row.logit_rows();
  }
}

void Lane::after_row(const Row& row, const model::Logits& logits, int first_row) {
  Sequence& s = *row.sequence;
  list_full_pages(s);
  bool reading = s.kv.length <= s.prompt_length && s.first_token_ns == 0;
  if (reading) emit(s, Reading{s.kv.length, s.prompt_length, s.cached_tokens});
  if (row.all_rows && !echo(s, s.kv.length - row.tokens, row.tokens, logits, first_row)) return;
  if (s.kv.length < static_cast<int>(s.ids.size())) return;
  if (s.request.tokens_max == 0) return finish(s, EndReason::length);
  if (!row.guessed) return sample(s, logits.row(first_row + row.logit_rows() - 1));
  sample(s, logits.row(first_row));
  bool right = s.ids.back() == row.ids[1];
  speculation_.note_guess(right);
  if (s.done || !right) return;
  ++s.kv.length;
  list_full_pages(s);
  sample(s, logits.row(first_row + 1));
}

void Lane::measure(const StepRows& rows, bool guessed, double seconds) {
  if (seconds <= 0) return;
  const int decode_rows = rows.text + rows.pictures;
  auto blend = [](double& value, bool& measured, double now) {
    value = measured ? value + speed_smoothing * (now - value) : now;
    measured = true;
  };
  if (rows.prompt == 0) {
    blend(speed_.decode_steps_per_s, decode_measured_, 1 / seconds);
    speculation_.note_step(decode_rows, guessed, seconds);
    return;
  }
  // In a mixed step the decode rows are thought to take what they take alone.
  double rest = seconds - (decode_rows > 0 && decode_measured_ ? 1 / speed_.decode_steps_per_s : 0);
  rest = std::max(rest, seconds / 4);
  blend(speed_.prompt_tokens_per_s, prompt_measured_, rows.prompt / rest);
}

// ---- what comes out --------------------------------------------------------------------------

// Row j after position p tells how likely the id at p + j + 1 was. False: the request has ended.
bool Lane::echo(Sequence& s, int first_position, int rows, const model::Logits& logits, int row) {
  auto emit_token = [&](int position, bool has_logprob, Token token) {
    if (position < s.prompt_tokens_echoed) return;  // computed again after a preemption
    s.prompt_tokens_echoed = position + 1;
    emit(s, PromptToken{std::move(token), has_logprob});
  };
  if (first_position == 0) {
    Token first;
    first.chosen.id = s.ids[0];
    first.chosen.text = source_.prompts().tokenizer().bytes(s.ids[0]);
    emit_token(0, false, std::move(first));
  }
  for (int j = 0; j < rows; ++j) {
    int position = first_position + j + 1;
    if (position >= s.prompt_length) break;
    auto token = describe(s, s.ids[static_cast<size_t>(position)], logits.row(row + j));
    if (!token) return false;
    emit_token(position, true, std::move(*token));
  }
  return true;
}

std::optional<Token> Lane::describe(const Sequence& s, int32_t id, std::span<const float> logits) {
  const text::Tokenizer& tokenizer = source_.prompts().tokenizer();
  auto found = sampler_.logprobs(logits, id, std::max(0, s.request.logprobs_top));
  if (!found) {
    finish(const_cast<Sequence&>(s), EndReason::failed, false, found.error());
    return std::nullopt;
  }
  auto named = [&](const IdLogprob& l) {
    return TokenLogprob{l.id, std::string(tokenizer.bytes(l.id)), l.logprob};
  };
  Token token{named(found->chosen), {}};
  for (const IdLogprob& l : found->top) token.top.push_back(named(l));
  return token;
}

base::Result<int32_t> Lane::next_id(Sequence& s, std::span<const float> logits) {
  int budget = s.request.thinking_tokens_max;
  bool over = budget >= 0 && s.output.thinking_tokens() >= budget;
  if (s.output.in_reasoning() && (s.answer_now || over)) {
    // One id where the vocabulary has one for the marker, else the marker's text.
    const auto& close = source_.prompts().markers().close_ids;
    if (s.close_ids_fed < static_cast<int>(close.size())) {
      return close[static_cast<size_t>(s.close_ids_fed++)];
    }
  }
  const OpeningGuide::Pick pick = [&](std::span<const float> row) {
    return sampler_.pick(row, s.history, s.request.sampling,
                         uniform(s.seed, static_cast<uint64_t>(s.ids.size())));
  };
  if (!s.opening || s.opening->done() || s.output.in_reasoning()) return pick(logits);
  if (s.output.may_open_reasoning()) {  // it may think first
    auto id = pick(logits);
    if (!id || s.output.opens_reasoning(*id)) return id;
  }
  return s.opening->next(logits, pick);
}

void Lane::sample(Sequence& s, std::span<const float> logits) {
  auto id = next_id(s, logits);
  if (!id) {
    finish(s, EndReason::failed, false, id.error());
    return;
  }
  std::optional<Token> token;
  if (s.request.logprobs_top >= 0) {
    token = describe(s, *id, logits);
    if (!token) return;
  }
  accept(s, *id, std::move(token));
}

bool Lane::ends_answer(const Sequence& s, int32_t id) const {
  const auto& stops = s.request.stop_ids;
  if (std::find(stops.begin(), stops.end(), id) != stops.end()) return true;
  return !s.request.ignore_end_tokens && source_.prompts().tokenizer().is_end(id);
}

// Called after every token: keeps the clock of the thinking.
void Lane::note_thinking(Sequence& s) {
  int64_t now = clock_.monotonic_ns();
  if (s.output.in_reasoning() && s.thinking_began_ns == 0) {
    s.thinking_began_ns = now;
  } else if (!s.output.in_reasoning() && s.thinking_began_ns > 0) {
    s.thinking_ms += ms_between(s.thinking_began_ns, now);
    s.thinking_began_ns = 0;
  }
}

void Lane::accept(Sequence& s, int32_t id, std::optional<Token> token) {
  if (s.first_token_ns == 0) {
    s.first_token_ns = clock_.monotonic_ns();
    note_thinking(s);
  }
  s.ids.push_back(id);
  if (has_penalties(s.request.sampling)) s.history.add(id);
  ++stats_.generated_tokens;
  if (ends_answer(s, id)) {
    finish(s, EndReason::stop);
    return;
  }
  auto pushed = s.output.push(id, std::move(token));
  note_thinking(s);
  for (const Delta& delta : pushed.deltas) emit(s, delta);
  if (pushed.stopped) {
    finish(s, EndReason::stop);
  } else if (s.request.tokens_max >= 0 && s.completion_tokens() >= s.request.tokens_max) {
    finish(s, EndReason::length);
  } else if (static_cast<int>(s.ids.size()) >= source_.status().context_tokens) {
    finish(s, EndReason::length, true);
  }
}

void Lane::announce_waits() {
  longest_wait_ms_ = 0;
  if (waiting() == 0) return;
  int64_t now = clock_.monotonic_ns();
  for (const WaitEstimate& wait : estimate_waits(view(), budget(), speed_)) {
    longest_wait_ms_ = std::max(longest_wait_ms_, wait.ms_high);
    for (auto& s : sequences_) {
      if (static_cast<uint64_t>(s->arrival) != wait.id || s->ever_admitted || s->done) continue;
      if (s->drawing && s->drawing->picture > 0) continue;  // the first tells for all
      bool moved = s->announced.position != wait.position;
      double change = std::abs(static_cast<double>(wait.ms_high - s->announced.ms_high));
      bool drifted = change > 0.2 * static_cast<double>(s->announced.ms_high) + 100 &&
                     now - s->announced_ns > announce_interval_ns;
      if (!moved && !drifted) continue;
      s->announced = wait;
      s->announced_ns = now;
      emit(*s, Queued{wait.position, wait.ms_low, wait.ms_high});
    }
  }
}

}  // namespace engine
