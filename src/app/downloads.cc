#include "app/downloads.h"

#include <sys/wait.h>

#include "app/pull_messages.h"
#include "pull/catalogue.h"

namespace app {
namespace {

using State = api::PullStatus::State;
using Refusal = api::PullAnswer::Refusal;

constexpr int64_t hour_ms = 3'600'000;

base::Error not_admitted(std::string_view text, std::string why) {
  return {base::ErrorKind::wrong_usage, base::shown_name(text) + " cannot be fetched from the page",
          std::move(why),
          "choose one of the catalogue, or write hf:ORG/REPO[:FILE] or ollama:NAME"};
}

}  // namespace

base::Result<AdmittedWish> admit_wish(std::string_view text) {
  if (text.size() > api::pull_reference_bytes_max) {
    return base::fail(not_admitted(
        text, fmt::format("it has more than {} bytes", api::pull_reference_bytes_max)));
  }
  if (const pull::CatalogueModel* model = pull::find_in_catalogue(text)) {
    if (model->runs) {
      return AdmittedWish{std::string(model->reference), std::string(model->name), true};
    }
    return base::fail(not_admitted(text, "this version of the program cannot run it yet"));
  }
  ASSIGN(const pull::Reference reference, pull::parse_reference(text));
  if (reference.kind == pull::Reference::Kind::file) {
    return base::fail(
        not_admitted(text, "files of the server are read from its command line only"));
  }
  for (const pull::CatalogueModel& model : pull::catalogue()) {
    if (reference.text() == model.reference) return admit_wish(model.name);
  }
  return AdmittedWish{reference.text(), reference.text(), false};
}

void Downloads::remember(api::PullStatus kept) {
  const auto wish = admit_wish(kept.reference);
  if (policy_ == api::PullPolicy::off || !wish) return;
  kept.reference = wish->reference;
  kept.name = wish->name;
  kept.state = State::paused;
  kept.bytes_per_s = 0;
  kept.left_ms = -1;
  kept.error.reset();
  status_ = std::move(kept);
}

// How long until one more reference of the network's own naming may be asked for; 0: now.
int64_t Downloads::rate_wait_ms() {
  const int64_t now_ms = world_.clock.monotonic_ms();
  while (!new_references_ms_.empty() && now_ms - new_references_ms_.front() >= hour_ms) {
    new_references_ms_.pop_front();
  }
  if (new_references_ms_.size() < new_references_per_hour_max) return 0;
  return new_references_ms_.front() + hour_ms - now_ms;
}

std::optional<api::PullAnswer> Downloads::refuse(const base::Result<AdmittedWish>& wish) {
  api::PullAnswer answer;
  const auto because = [&](Refusal refusal, base::Error error) {
    answer.refusal = refusal;
    answer.error = std::move(error);
    return answer;
  };
  using base::ErrorKind;
  if (policy_ == api::PullPolicy::off) {
    return because(Refusal::off,
                   {ErrorKind::wrong_usage, "this server fetches no models for its page",
                    "page-pull is off", "run `nautile pull` on the server"});
  }
  if (!wish) return because(Refusal::reference, wish.error());
  if (policy_ == api::PullPolicy::catalogue && !wish->in_catalogue) {
    return because(Refusal::outside,
                   {ErrorKind::wrong_usage, "this server fetches models of the catalogue only",
                    "page-pull is catalogue", "run `nautile pull` on the server"});
  }
  if (running_ || opening()) {
    return because(Refusal::busy,
                   {ErrorKind::unavailable, "another download is running", "there is one at a time",
                    "pause it first, or wait for its end"});
  }
  const int64_t wait_ms =
      wish->in_catalogue || wish->reference == status_.reference ? 0 : rate_wait_ms();
  if (wait_ms == 0) return std::nullopt;
  answer.retry_after_ms = wait_ms;
  return because(Refusal::rate,
                 {ErrorKind::unavailable, "too many different downloads were asked for",
                  fmt::format("{} an hour are admitted", new_references_per_hour_max),
                  "wait, or run `nautile pull` on the server"});
}

api::PullAnswer Downloads::start(uint64_t call, std::string_view text) {
  const auto wish = admit_wish(text);
  api::PullAnswer answer;
  answer.call = call;
  // Asked twice, by two tabs or after a lost reply: it is already as it was wanted.
  if (wish && (running_ || opening()) && wish->reference == status_.reference) return answer;
  if (auto refused = refuse(wish)) {
    refused->call = call;
    return *refused;
  }
  if (const auto started = world_.start_puller(wish->reference); !started) {
    answer.refusal = Refusal::failed;
    answer.error = started.error();
    return answer;
  }
  const bool again = wish->reference == status_.reference;
  if (!wish->in_catalogue && !again) {
    new_references_ms_.push_back(world_.clock.monotonic_ms());
  }
  api::PullStatus fresh;
  fresh.reference = wish->reference;
  fresh.name = wish->name;
  if (again) {  // what was here is still here: the bar does not jump back
    fresh.model = status_.model;
    fresh.bytes_total = status_.bytes_total;
    fresh.bytes_here = status_.bytes_here;
  }
  status_ = std::move(fresh);
  running_ = true;
  pausing_ = concluded_ = false;
  started_ms_ = world_.clock.monotonic_ms();
  world_.log.write(base::LogLevel::info, base::LogEvent::pull_started);
  change(State::planning);
  return answer;
}

void Downloads::pause() {
  if (!running_) return;
  pausing_ = true;
  world_.stop_puller();
}

void Downloads::dismiss() {
  if (running_ || opening() || status_.state == State::none) return;
  status_ = {};
  change(State::none);
}

void Downloads::change(State state) {
  status_.state = state;
  if (state != State::fetching) {
    status_.bytes_per_s = 0;
    status_.left_ms = -1;
  }
  kept_ms_ = world_.clock.monotonic_ms();
  const bool over = state == State::opening || state == State::done;
  world_.keep(over ? api::PullStatus{} : status_);
  world_.tell(status_);
}

void Downloads::log_end(bool good) {
  const int64_t duration_ms = world_.clock.monotonic_ms() - started_ms_;
  const int kind = status_.error ? static_cast<int>(status_.error->kind) : -1;
  world_.log.write(good ? base::LogLevel::info : base::LogLevel::warning,
                   base::LogEvent::pull_ended,
                   {{base::LogKey::bytes, status_.bytes_here},
                    {base::LogKey::error_kind, int64_t{kind}},
                    {base::LogKey::duration_ms, base::LogDurationMs{duration_ms}}});
}

void Downloads::fail(base::Error error, bool resumable) {
  status_.error = std::move(error);
  status_.resumable = resumable;
  log_end(false);
  change(State::failed);
}

void Downloads::progress(const base::Json& message) {
  const api::PullStatus now = status_from(message);
  const bool same = now.state == status_.state;
  if (now.state != State::planning && now.state != State::fetching &&
      now.state != State::checking) {
    return;
  }
  if (!now.model.empty()) status_.model = now.model;
  if (now.bytes_total > 0) {
    status_.bytes_total = now.bytes_total;
    status_.bytes_here = now.bytes_here;
  }
  if (!same) return change(now.state);
  status_.bytes_per_s = now.bytes_per_s;
  status_.left_ms = now.left_ms;
  if (world_.clock.monotonic_ms() - kept_ms_ >= keep_every_ms) {
    kept_ms_ = world_.clock.monotonic_ms();
    world_.keep(status_);
  }
  world_.tell(status_);
}

// It is here and proven: the engine is to know it.
void Downloads::arrived(const base::Json& message) {
  status_.bytes_here = status_.bytes_total;
  const auto taken = world_.take_up(text_member(message, "path"));
  if (!taken) return fail(taken.error(), false);
  log_end(true);
  status_.model = taken->model;
  opening_deaths_ = 0;
  engine_is_new_ = false;
  change(taken->served ? State::done : State::opening);
  if (!taken->served) world_.want_engine();
}

void Downloads::take_message(const base::Json& message) {
  if (!running_ || concluded_) return;
  const std::string kind = text_member(message, "kind");
  if (kind == "progress") return progress(message);
  if (kind == "end") {
    concluded_ = true;
    return arrived(message);
  }
  if (kind != "error") return;
  concluded_ = true;
  base::Error error = error_from(message.find("error"));
  if (error.kind == base::ErrorKind::interrupted && pausing_) {
    log_end(true);
    return change(State::paused);
  }
  fail(std::move(error), true);
}

void Downloads::puller_ended(int wait_status) {
  if (!running_) return;
  running_ = false;
  if (concluded_) return;
  concluded_ = true;
  if (pausing_) {
    log_end(true);
    return change(State::paused);
  }
  fail({base::ErrorKind::interrupted, "the download was ended from outside",
        WIFSIGNALED(wait_status)
            ? fmt::format("its process got signal {}", WTERMSIG(wait_status))
            : fmt::format("its process ended with {}", WEXITSTATUS(wait_status)),
        "resume it: it goes on from here"},
       true);
}

void Downloads::engine_started() {
  if (opening()) engine_is_new_ = true;
}

void Downloads::engine_reported(const ModelReport& report) {
  if (!opening() || !engine_is_new_) return;
  for (const ModelReport::LeftOut& model : report.left_out) {
    if (model.id == status_.model) return fail(model.error, false);
  }
  change(State::done);
}

// A file that takes the engine down each time it is opened must not take the server down with it.
void Downloads::engine_died() {
  if (!opening() || !engine_is_new_ || ++opening_deaths_ < opening_deaths_max) return;
  world_.give_up(status_.model);
  fail({base::ErrorKind::internal, status_.model + " cannot be opened",
        "the engine ended each time it tried", "remove it with `nautile rm`, and report it"},
       false);
}

}  // namespace app
