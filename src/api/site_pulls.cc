#include "api/site_pulls.h"

#include <algorithm>
#include <array>
#include <utility>

#include "api/fields.h"
#include "base/messages.h"

namespace api {
namespace {

using base::Json;
using State = PullStatus::State;

constexpr std::array<std::string_view, 8> state_words = {
    "none", "planning", "fetching", "checking", "opening", "done", "paused", "failed"};

ApiError nobody_hears() {
  ApiError error = refused_with(503, "unavailable", "the server's first process does not answer",
                                "pull_unavailable");
  error.retry_after_ms = 2'000;
  return error;
}

Json or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

std::string_view policy_word(PullPolicy policy) {
  return policy == PullPolicy::any ? "any" : policy == PullPolicy::catalogue ? "catalogue" : "off";
}

Json status_json(const PullStatus& status) {
  if (status.state == State::none) return {};
  return Json::object({{"state", state_word(status.state)},
                       {"reference", status.reference},
                       {"name", status.name},
                       {"model", or_null(status.model)},
                       {"bytes_total", status.bytes_total},
                       {"bytes_here", status.bytes_here},
                       {"bytes_per_second", status.bytes_per_s},
                       {"left_ms", status.left_ms < 0 ? Json() : Json(status.left_ms)},
                       {"resumable", status.resumable},
                       {"error", status.error ? error_parts(*status.error) : Json()}});
}

Json frame_json(const PullStatus& status) {
  return Json::object({{"kind", "pull"}, {"pull", status_json(status)}});
}

Json catalogue_json(const Catalogue& catalogue, PullPolicy policy) {
  Json models = Json::array();
  for (const CatalogueRow& row : catalogue.rows) {
    models.push(
        Json::object({{"name", row.name},
                      {"short_name", row.short_name},
                      {"reference", row.reference},
                      {"licence", row.licence},
                      {"bytes", row.bytes},
                      {"memory_bytes", row.memory_bytes},
                      {"parameters_b", row.parameters_b},
                      {"tokens_per_s", row.tokens_per_s > 0 ? Json(row.tokens_per_s) : Json()},
                      {"fits", row.fits},
                      {"from_disk", row.from_disk},
                      {"proposed", row.proposed},
                      {"runs", row.runs},
                      {"installed", or_null(row.installed)},
                      {"command", "nautile pull " + row.short_name}}));
  }
  return Json::object({{"memory_bytes", catalogue.memory_bytes},
                       {"free_bytes", catalogue.free_bytes},
                       {"bandwidth_gb_per_s", catalogue.bandwidth_gb_per_s},
                       {"allowed", policy_word(policy)},
                       {"models", std::move(models)}});
}

void answer_if(bool heard, const Call& call) {
  heard ? call.answer_done() : call.refuse(nobody_hears());
}

}  // namespace

std::string_view state_word(State state) { return state_words[static_cast<size_t>(state)]; }

std::optional<State> state_of(std::string_view word) {
  for (size_t i = 0; i < state_words.size(); ++i) {
    if (state_words[i] == word) return static_cast<State>(i);
  }
  return std::nullopt;
}

SitePulls::SitePulls(Context& context, EventStreams& streams, std::function<bool()> quiet)
    : context_(context), streams_(streams), quiet_(std::move(quiet)) {
  // Who comes late, or comes back, is told where the download stands, also that there is none.
  streams_.greet_with([this] { return frame_json(status_).dump(); });
}

void SitePulls::add_routes(std::vector<Route>& routes) {
  using Method = void (SitePulls::*)(Call&);
  const auto add = [&](const char* method, const char* path, bool takes_body, Method endpoint) {
    routes.push_back({method, path, Access::session, takes_body,
                      [this, endpoint](Call& call) { (this->*endpoint)(call); }});
  };
  add("GET", "/site/catalogue", false, &SitePulls::catalogue);
  add("GET", "/site/pulls", false, &SitePulls::show);
  add("POST", "/site/pulls", true, &SitePulls::start);
  add("DELETE", "/site/pulls/current", false, &SitePulls::pause);
  add("DELETE", "/site/pulls/ended", false, &SitePulls::dismiss);
}

bool SitePulls::allowed() const {
  return context_.options.pulls != nullptr && context_.options.pull_policy != PullPolicy::off;
}

Json SitePulls::json() const {
  const PullPolicy policy = allowed() ? context_.options.pull_policy : PullPolicy::off;
  return Json::object({{"allowed", policy_word(policy)},
                       {"proposed", or_null(context_.options.pull_model)},
                       {"current", status_json(status_)}});
}

void SitePulls::show(Call& call) { call.answer(json()); }

uint64_t SitePulls::hold(Call& call, int64_t wait_ms) {
  if (waiting_.size() >= calls_waiting_max) {
    call.refuse(nobody_hears());
    return 0;
  }
  const uint64_t number = next_call_++;
  waiting_.emplace(number, call);
  context_.after_ms(wait_ms, [this, number] {
    if (const auto late = release(number)) late->refuse(nobody_hears());
  });
  return number;
}

std::optional<Call> SitePulls::release(uint64_t number) {
  const auto at = waiting_.find(number);
  if (at == waiting_.end()) return std::nullopt;
  Call call = std::move(at->second);
  waiting_.erase(at);
  return call;
}

void SitePulls::catalogue(Call& call) {
  if (context_.options.pulls == nullptr) return call.refuse(nobody_hears());
  const uint64_t number = hold(call, catalogue_wait_ms);
  if (number == 0 || context_.options.pulls->ask_catalogue(number)) return;
  if (const auto unheard = release(number)) unheard->refuse(nobody_hears());
}

void SitePulls::start(Call& call) {
  Fields fields(call.body, "");
  fields.require("ref");
  const std::string* reference = fields.text("ref", pull_reference_bytes_max);
  if (auto error = fields.finish()) return call.refuse(*error);
  if (!allowed()) {
    return call.refuse(refusal_of({.refusal = PullAnswer::Refusal::off,
                                   .error = {.what = "this server fetches no models for its page",
                                             .why = "page-pull is off"}}));
  }
  const uint64_t number = hold(call, answer_wait_ms);
  if (number == 0 || context_.options.pulls->start(number, *reference)) return;
  if (const auto unheard = release(number)) unheard->refuse(nobody_hears());
}

void SitePulls::pause(Call& call) {
  const bool running = status_.state == State::planning || status_.state == State::fetching ||
                       status_.state == State::checking;
  if (!running) {
    return call.refuse(refused_with(404, "not_found", "no download is running", "pull_none"));
  }
  answer_if(context_.options.pulls->pause(), call);
}

void SitePulls::dismiss(Call& call) {
  const bool ended = status_.state == State::paused || status_.state == State::failed ||
                     status_.state == State::done;
  if (!ended) {
    return call.refuse(refused_with(404, "not_found", "no download has ended", "pull_none"));
  }
  answer_if(context_.options.pulls->dismiss(), call);
}

ApiError SitePulls::refusal_of(const PullAnswer& answer) const {
  using Refusal = PullAnswer::Refusal;
  ApiError error = from_module(answer.error);
  error.retry_after_ms = -1;
  const auto as = [&](int status, const char* code, const char* reason) {
    error.status = status;
    error.code = code;
    error.reason = reason;
  };
  switch (answer.refusal) {
    case Refusal::off:
    case Refusal::outside:
      as(403, "pull_not_allowed", answer.refusal == Refusal::off ? "pull_off" : "pull_outside");
      error.extra = {{"command", Json(context_.options.pull_command)}};
      break;
    case Refusal::busy:
      as(409, "pull_running", "pull_busy");
      break;
    case Refusal::reference:
      as(400, "invalid_value", "pull_reference");
      error.param = "ref";
      break;
    case Refusal::rate:
      as(429, "rate_limit_exceeded", "pull_rate");
      error.retry_after_ms = answer.retry_after_ms;
      break;
    case Refusal::none:
    case Refusal::failed:
      as(500, "internal_error", "pull_failed");
      break;
  }
  return error;
}

void SitePulls::answer(const PullAnswer& answer) {
  const auto call = release(answer.call);
  if (!call) return;
  if (answer.refusal == PullAnswer::Refusal::none) return call->answer(json(), 202);
  call->refuse(refusal_of(answer));
}

void SitePulls::answer(CatalogueAnswer answer) {
  const auto call = release(answer.call);
  if (!call) return;
  if (!answer.catalogue) return call->refuse(from_module(answer.catalogue.error()));
  const PullPolicy policy = allowed() ? context_.options.pull_policy : PullPolicy::off;
  call->answer(catalogue_json(*answer.catalogue, policy));
}

void SitePulls::take_status(PullStatus status) {
  status_ = std::move(status);
  streams_.tell_all(frame_json(status_).dump());
  if (status_.state == State::opening || status_.state == State::done) watch_models();
}

// Nothing is cut: as long as something runs the engine stays, and the page says what it waits for.
void SitePulls::let_engine_go() {
  if (!engine_wanted_) return;
  if (context_.engine.running() == 0 && quiet_()) {
    engine_wanted_ = false;
    return context_.options.pulls->release_engine();
  }
  context_.after_ms(idle_look_ms, [this] { let_engine_go(); });
}

// The list of models has changed, or soon will have: the pages are told at once, not at a ping. The
// engine says to the supervisor and to us which models it has; which comes first is open.
void SitePulls::watch_models() {
  streams_.look_at_models();
  const std::vector<engine::ModelStatus> models = context_.engine.models();
  const bool here =
      std::any_of(models.begin(), models.end(),
                  [&](const engine::ModelStatus& model) { return model.id == status_.model; });
  if (status_.state == State::opening) looks_left_ = looks_after_done_max;
  const bool expected = status_.state == State::opening ||
                        (status_.state == State::done && !here && looks_left_-- > 0);
  if (watching_ || !expected) return;
  watching_ = true;
  context_.after_ms(idle_look_ms, [this] {
    watching_ = false;
    watch_models();
  });
}

void SitePulls::take(PullNews news) {
  if (auto* answered = std::get_if<PullAnswer>(&news)) return answer(*answered);
  if (auto* listed = std::get_if<CatalogueAnswer>(&news)) return answer(std::move(*listed));
  if (auto* status = std::get_if<PullStatus>(&news)) return take_status(std::move(*status));
  if (std::exchange(engine_wanted_, true)) return;
  let_engine_go();
}

}  // namespace api
