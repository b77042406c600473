#include "app/supervisor.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/build_info.h"
#include "app/downloads.h"
#include "app/pull_messages.h"
#include "app/restart_policy.h"
#include "app/seal.h"
#include "base/log.h"
#include "base/messages.h"

namespace app {
namespace {

constexpr int64_t stop_grace_ms = 5'000;
// A gate that dies so often without ever listening will not listen the next time either.
constexpr int gate_failures_max = 5;
constexpr int64_t tell_again_ms = 250;
constexpr int64_t measure_every_ms = 60'000;
constexpr size_t catalogue_calls_max = 16;
constexpr uint64_t kept_download_bytes_max = 64 * 1024;

struct Child {
  const char* verb;
  pid_t pid = 0;  // 0: not running
  Fd messages;    // our end of its control or report socket
  int64_t started_ms = 0;
  int64_t start_at_ms = 0;  // when to start it again; 0: not waiting
  RestartPolicy policy;
  base::Json seal;         // what it reported of its confinement
  bool listening = false;  // the gate only
};

class Supervisor {
 public:
  Supervisor(const Session& session, ServePlan plan, Fd listener)
      : session_(session),
        plan_(std::move(plan)),
        listener_(std::move(listener)),
        log_(session.clock, STDERR_FILENO, plan_.log_level),
        downloads_(world_of_downloads(), plan_.page_pull) {}

  base::Result<int> run(bool owned);

 private:
  base::Result<void> take_signals();
  base::Result<void> start_gate();
  base::Result<void> start_engine();
  base::Result<void> start_pictures();
  base::Result<void> start_helper(Child& child, const base::Json& settings);
  Downloads::World world_of_downloads();
  void note_started(Child& child);
  void greet(bool owned);
  void wait();
  void read_signals();
  void reap();
  void child_died(Child& child, int status);
  void start_what_is_due();
  void read_messages(Child& child);
  void read_helper(Child& child);
  void helper_ended(Child& child, int status);
  void take_wish(const std::string& kind, const base::Json& message);
  void tell_gate(const base::Json& message);
  void tell_download(const api::PullStatus& status);
  void say_download(const api::PullStatus& status);
  void keep_download(const api::PullStatus& status);
  void list_catalogue(uint64_t call);
  void answer_catalogue(const base::Json* listed);
  void take_models(const ModelReport& report);
  void tell_left_out(const ModelReport& report);
  void begin_stop();
  void kill_child(Child& child);
  void kill_all();
  void note_running();
  int64_t now_ms() const { return session_.clock.monotonic_ms(); }
  int wait_ms() const;
  bool done() const {
    return stopping_ && gate_.pid == 0 && engine_.pid == 0 && pictures_.pid == 0 &&
           puller_.pid == 0 && lister_.pid == 0;
  }
  template <class... Args>
  void say(base::Message message, Args&&... args) {
    std::printf("%s\n", base::say(session_.language, message, std::forward<Args>(args)...).c_str());
    std::fflush(stdout);
  }

  const Session& session_;
  ServePlan plan_;
  Fd listener_, signals_;
  base::Log log_;
  Child gate_{"internal-gate"}, engine_{"internal-engine"}, pictures_{"internal-pictures"};
  Fd picture_link_;  // the keepers' end of the engine's socket
  Child puller_{"internal-pull"}, lister_{"internal-catalogue"};  // there only while wanted
  bool stopping_ = false, said_ready_ = false, models_known_ = false;
  bool exchanging_ = false;  // the engine that runs is to be followed by one with more models
  int64_t kill_at_ms_ = 0, tell_at_ms_ = 0;
  std::optional<base::Error> failure_;
  std::vector<std::string> served_;  // ids, as the engine reported them
  std::vector<uint64_t> catalogue_calls_;
  double bandwidth_gb_per_s_ = 0;
  int64_t measured_ms_ = -measure_every_ms;
  api::PullStatus::State said_download_ = api::PullStatus::State::none;
  Downloads downloads_;
};

base::Result<void> Supervisor::take_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, signal);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return base::fail(base::ErrorKind::io, "cannot wait for signals");
  return {};
}

void Supervisor::note_started(Child& child) {
  child.started_ms = now_ms();
  log_.write(base::LogLevel::info, base::LogEvent::process_started,
             {{base::LogKey::pid, int64_t{child.pid}}});
}

base::Result<void> Supervisor::start_gate() {
  ASSIGN(FdPair control, message_pair());
  ASSIGN(Fd settings, settings_memory(gate_settings(plan_)));
  ASSIGN(gate_.pid,
         start_child(gate_.verb, {listener_.get(), control.theirs.get(), settings.get()}));
  note_started(gate_);
  gate_.messages = std::move(control.ours);
  gate_.listening = false;
  gate_.seal = {};
  catalogue_calls_.clear();  // whoever asked is gone
  if (downloads_.status().state != api::PullStatus::State::none) {
    tell_gate(to_json(downloads_.status(), "pull_status"));
  }
  return {};
}

// A process that does one thing for the page, and ends.
base::Result<void> Supervisor::start_helper(Child& child, const base::Json& settings) {
  ASSIGN(FdPair report, message_pair());
  ASSIGN(Fd memory, settings_memory(settings));
  ASSIGN(child.pid, start_child(child.verb, {memory.get(), report.theirs.get()}));
  note_started(child);
  child.messages = std::move(report.ours);
  note_running();
  return {};
}

// The gate gets its end of the engine's socket as soon as it reads, even if it is still starting.
base::Result<void> Supervisor::start_engine() {
  ASSIGN(FdPair link, stream_pair());
  ASSIGN(FdPair report, message_pair());
  ASSIGN(Fd settings, settings_memory(engine_settings(plan_)));
  ASSIGN(FdPair pictures, message_pair());
  ASSIGN(engine_.pid, start_child(engine_.verb, {link.theirs.get(), settings.get(),
                                                 report.theirs.get(), pictures.ours.get()}));
  note_started(engine_);
  picture_link_ = std::move(pictures.theirs);
  pictures_.start_at_ms = now_ms();  // as soon as the last engine's keeper has ended
  engine_.messages = std::move(report.ours);
  engine_.seal = {};
  downloads_.engine_started();
  if (!send_message(gate_.messages.get(), base::Json::object({{"kind", "engine"}}),
                    link.ours.get())) {
    kill_child(engine_);  // it would wait for nobody; both are started again
  }
  return {};
}

base::Result<void> Supervisor::start_pictures() {
  ASSIGN(FdPair report, message_pair());
  ASSIGN(pictures_.pid, start_child(pictures_.verb, {picture_link_.get(), report.theirs.get()}));
  note_started(pictures_);
  pictures_.messages = std::move(report.ours);
  pictures_.seal = {};
  return {};
}

void Supervisor::greet(bool owned) {
  using base::Message;
  say(Message::serve_starting, build_version);
  say(Message::serve_address, plan_.address());
  say(owned ? Message::serve_signin_code : Message::serve_setup_code, plan_.setup_code);
  say(Message::serve_api_key, plan_.address(), plan_.api_key, session_.places.data + "/api-key");
  if (plan_.engine.models.empty()) say(Message::serve_no_model, plan_.pull_command);
  for (const engine::ModelEntry& model : plan_.engine.models) {
    if (model.starter) say(Message::starter_note, model.id, plan_.pull_command);
  }
  say(Message::serve_stop_hint);
}

base::Result<int> Supervisor::run(bool owned) {
  TRY(take_signals());
  if (const auto kept = read_file(download_file(session_.places), kept_download_bytes_max)) {
    const auto json = base::parse_json(*kept, "the download that was kept");
    if (json) downloads_.remember(status_from(*json));
  }
  TRY(start_gate());
  TRY(start_engine());
  greet(owned);
  start_what_is_due();
  while (!done()) {
    wait();
    start_what_is_due();
  }
  ::unlink(running_file(session_.places).c_str());
  if (failure_) return base::fail(*failure_);
  return exit_done;
}

int Supervisor::wait_ms() const {
  int64_t next = INT64_MAX;
  for (const Child* child : {&gate_, &engine_, &pictures_}) {
    if (child->pid == 0 && child->start_at_ms != 0) next = std::min(next, child->start_at_ms);
  }
  for (const int64_t at : {kill_at_ms_, tell_at_ms_}) {
    if (at != 0) next = std::min(next, at);
  }
  if (next == INT64_MAX) return -1;
  return static_cast<int>(std::clamp<int64_t>(next - now_ms(), 0, 60'000));
}

void Supervisor::wait() {
  pollfd fds[] = {{signals_.get(), POLLIN, 0},         {gate_.messages.get(), POLLIN, 0},
                  {engine_.messages.get(), POLLIN, 0}, {pictures_.messages.get(), POLLIN, 0},
                  {puller_.messages.get(), POLLIN, 0}, {lister_.messages.get(), POLLIN, 0}};
  if (::poll(fds, std::size(fds), wait_ms()) < 0) return;  // interrupted: the loop looks again
  if (fds[1].revents != 0) read_messages(gate_);
  if (fds[2].revents != 0) read_messages(engine_);
  if (fds[3].revents != 0) read_messages(pictures_);
  if (fds[4].revents != 0) read_helper(puller_);
  if (fds[5].revents != 0) read_helper(lister_);
  if (fds[0].revents != 0) read_signals();
  if (kill_at_ms_ != 0 && now_ms() >= kill_at_ms_) {
    kill_at_ms_ = 0;
    kill_all();
  }
  if (tell_at_ms_ != 0 && now_ms() >= tell_at_ms_) {
    tell_at_ms_ = 0;
    tell_gate(to_json(downloads_.status(), "pull_status"));
  }
}

void Supervisor::read_signals() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    if (info.ssi_signo == SIGCHLD) continue;
    if (stopping_) {  // asked twice: now
      kill_all();
    } else {
      begin_stop();
    }
  }
  reap();
}

void Supervisor::reap() {
  int status = 0;
  for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
    for (Child* child : {&gate_, &engine_, &pictures_}) {
      if (child->pid == pid) child_died(*child, status);
    }
    for (Child* child : {&puller_, &lister_}) {
      if (child->pid == pid) helper_ended(*child, status);
    }
  }
}

void Supervisor::child_died(Child& child, int status) {
  const bool killed = WIFSIGNALED(status);
  // Let go by the gate, an engine ends by itself; or it is ended when the gate has said so.
  const bool exchanged =
      &child == &engine_ &&
      (exchanging_ || (downloads_.wants_engine() && !killed && WEXITSTATUS(status) == 0));
  log_.write(stopping_ || exchanged ? base::LogLevel::info : base::LogLevel::warning,
             base::LogEvent::process_exited,
             {{base::LogKey::pid, int64_t{child.pid}},
              {killed ? base::LogKey::signal : base::LogKey::exit_status,
               int64_t{killed ? WTERMSIG(status) : WEXITSTATUS(status)}}});
  child.pid = 0;
  child.messages.reset();
  // Its keeper would end by itself; the next engine has another.
  if (&child == &engine_) kill_child(pictures_);
  if (stopping_) {
    if (&child == &gate_) kill_child(engine_);  // it ends by itself; nobody listens to it now
    return;
  }
  if (&child == &pictures_) {
    if (engine_.pid == 0) return;  // it is started with the engine
    if (pictures_.start_at_ms == 0) {
      pictures_.start_at_ms = now_ms() + child.policy.died(child.started_ms, now_ms());
    }
    return;
  }
  if (exchanged) {
    exchanging_ = false;
    child.start_at_ms = now_ms();
    return;
  }
  const bool is_gate = &child == &gate_;
  if (&child == &engine_) downloads_.engine_died();
  child.start_at_ms = now_ms() + child.policy.died(child.started_ms, now_ms());
  if (is_gate) {
    // Its end of the engine's socket died with it, and the engine keeps nothing: a fresh pair.
    exchanging_ = false;
    kill_child(engine_);
    if (!child.listening && child.policy.deaths_in_a_row() >= gate_failures_max) {
      failure_ =
          base::Error{base::ErrorKind::internal, "the gate cannot start",
                      fmt::format("it ended {} times before it could listen", gate_failures_max),
                      "see the messages above"};
      begin_stop();
      return;
    }
  }
  said_ready_ = false;
  say(is_gate ? base::Message::serve_gate_restarted : base::Message::serve_engine_restarted);
}

void Supervisor::start_what_is_due() {
  if (stopping_) return;
  bool started = false;
  const auto due = [&](Child& child) {
    return child.pid == 0 && child.start_at_ms != 0 && now_ms() >= child.start_at_ms;
  };
  const auto try_start = [&](Child& child, base::Result<void> done) {
    child.start_at_ms = 0;
    started = true;
    if (done) return;
    print_error(session_, done.error());
    child.start_at_ms = now_ms() + RestartPolicy::pause_ms_max;
  };
  if (due(gate_)) try_start(gate_, start_gate());
  // An engine without a gate would have nobody to talk to.
  if (gate_.pid != 0 && due(engine_)) try_start(engine_, start_engine());
  if (engine_.pid != 0 && due(pictures_)) try_start(pictures_, start_pictures());
  if (started) note_running();
}

void Supervisor::helper_ended(Child& child, int status) {
  // What it said last may still lie in its socket; nobody else has the other end.
  while (child.messages) read_helper(child);
  log_.write(base::LogLevel::info, base::LogEvent::process_exited,
             {{base::LogKey::pid, int64_t{child.pid}},
              {WIFSIGNALED(status) ? base::LogKey::signal : base::LogKey::exit_status,
               int64_t{WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)}}});
  child.pid = 0;
  note_running();
  if (&child == &puller_) return downloads_.puller_ended(status);
  answer_catalogue(nullptr);
}

void Supervisor::read_helper(Child& child) {
  const auto message = receive_message(child.messages.get());
  if (!message) return child.messages.reset();  // its end comes as a signal
  if (&child == &puller_) return downloads_.take_message(message->json);
  if (text_member(message->json, "kind") == "listed") answer_catalogue(&message->json);
}

void Supervisor::read_messages(Child& child) {
  auto message = receive_message(child.messages.get());
  if (!message) return child.messages.reset();  // its death comes as a signal
  // It goes to a terminal, and what wrote it may have been taken over.
  const auto text = [&](const char* name) -> std::string {
    const base::Json* value = message->json.find(name);
    return value && value->is_string() ? base::printable(value->as_string()) : std::string();
  };
  const std::string kind = text("kind");
  if (kind == "seal" && child.seal.is_null()) {  // before it reads a model file: its own word
    const base::Json* seal = message->json.find("seal");
    auto report = seal ? SealReport::from_json(*seal) : base::Result<SealReport>(SealReport());
    if (!report) return;
    child.seal = report->to_json();
    for (const std::string& missing : report->missing) {
      std::fprintf(stderr, "%s: not confined by %s\n", child.verb, missing.c_str());
    }
    note_running();
  } else if (&child == &engine_ && kind == "models") {
    take_models(ModelReport::from_json(message->json));
  } else if (&child == &gate_ && kind == "listening") {
    gate_.listening = true;
  } else if (&child == &gate_ && kind == "code") {
    plan_.setup_code = text("code");
    say(base::Message::serve_signin_code, plan_.setup_code);
  } else if (&child == &gate_ && kind == "ready" && !said_ready_) {
    said_ready_ = true;
    log_.write(base::LogLevel::info, base::LogEvent::process_ready,
               {{base::LogKey::duration_ms, base::LogDurationMs{now_ms() - engine_.started_ms}}});
    say(base::Message::serve_ready, text("model"));
  } else if (&child == &gate_) {
    take_wish(kind, message->json);
  }
}

// What the gate asks for the owner's page. It may have been taken over: each wish is held against
// what the settings admit, and none of them can do more than start a download or list models.
void Supervisor::take_wish(const std::string& kind, const base::Json& message) {
  if (stopping_) return;
  const auto call = static_cast<uint64_t>(count_member(message, "call"));
  if (kind == "pull") {
    tell_gate(to_json(downloads_.start(call, text_member(message, "reference"))));
  } else if (kind == "pull_pause") {
    downloads_.pause();
  } else if (kind == "pull_dismiss") {
    downloads_.dismiss();
  } else if (kind == "catalogue") {
    list_catalogue(call);
  } else if (kind == "engine_released" && downloads_.wants_engine() && engine_.pid != 0) {
    exchanging_ = true;
    kill_child(engine_);
  }
}

void Supervisor::tell_gate(const base::Json& message) {
  if (gate_.messages) (void)send_message(gate_.messages.get(), message);
}

void Supervisor::tell_download(const api::PullStatus& status) {
  say_download(status);
  if (!gate_.messages || send_message(gate_.messages.get(), to_json(status, "pull_status"))) return;
  tell_at_ms_ = now_ms() + tell_again_ms;  // it is behind; later it gets what holds then
}

// The terminal hears of each download: when it begins and how it ended.
void Supervisor::say_download(const api::PullStatus& status) {
  using State = api::PullStatus::State;
  if (status.state == std::exchange(said_download_, status.state)) return;
  switch (status.state) {
    case State::planning:
      return say(base::Message::serve_pull_started, status.reference);
    case State::opening:
      return say(base::Message::serve_pull_here, status.model);
    case State::paused:
      return say(base::Message::serve_pull_paused, status.name);
    case State::failed:
      if (status.error) print_error(session_, *status.error);
      return;
    default:
      return;
  }
}

// What is under way outlives the server, so that the page can go on with it.
void Supervisor::keep_download(const api::PullStatus& status) {
  const std::string path = download_file(session_.places);
  if (status.state == api::PullStatus::State::none) {
    ::unlink(path.c_str());
    return;
  }
  // The bytes themselves are the ledger's; without this file the page only forgets to offer them.
  (void)write_file_atomically(path, to_json(status, "kept").dump() + "\n", 0600);
}

Downloads::World Supervisor::world_of_downloads() {
  return {.clock = session_.clock,
          .log = log_,
          .start_puller =
              [this](const std::string& reference) {
                return start_helper(puller_, base::Json::object({{"reference", reference}}));
              },
          .stop_puller =
              [this] {
                if (puller_.pid != 0) ::kill(puller_.pid, SIGTERM);
              },
          .tell = [this](const api::PullStatus& status) { tell_download(status); },
          .keep = [this](const api::PullStatus& status) { keep_download(status); },
          .take_up = [this](const std::string& path) -> base::Result<Downloads::TakenUp> {
            ASSIGN(const AddedModel model, add_model(session_.places, path, plan_));
            const bool served =
                std::find(served_.begin(), served_.end(), model.id) != served_.end();
            return Downloads::TakenUp{model.id, served && !model.added};
          },
          .give_up = [this](const std::string& model) { remove_model(model, plan_); },
          .want_engine =
              [this] {
                // One that is about to be started begins with the new list anyway.
                if (engine_.pid != 0) tell_gate(base::Json::object({{"kind", "release_engine"}}));
              }};
}

void Supervisor::list_catalogue(uint64_t call) {
  const auto refuse = [&](const base::Error& error) { tell_gate(catalogue_refusal(call, error)); };
  if (catalogue_calls_.size() >= catalogue_calls_max) {
    return refuse({base::ErrorKind::unavailable, "too many ask for the catalogue", "", ""});
  }
  catalogue_calls_.push_back(call);
  if (lister_.pid != 0) return;
  const bool measure = now_ms() - measured_ms_ >= measure_every_ms;
  if (measure) measured_ms_ = now_ms();
  const int threads = plan_.engine.threads > 0 ? plan_.engine.threads
                                               : static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  const auto started =
      start_helper(lister_, base::Json::object({{"models_dir", session_.places.models},
                                                {"threads", threads},
                                                {"measure", int{measure}},
                                                {"bandwidth_gb_per_s", bandwidth_gb_per_s_}}));
  if (started) return;
  catalogue_calls_.pop_back();
  refuse(started.error());
}

// Nothing: the lister ended without a list.
void Supervisor::answer_catalogue(const base::Json* listed) {
  std::optional<api::Catalogue> catalogue;
  if (listed != nullptr) {
    catalogue = catalogue_from(*listed);
    bandwidth_gb_per_s_ = std::max(bandwidth_gb_per_s_, catalogue->bandwidth_gb_per_s);
  }
  for (const uint64_t call : std::exchange(catalogue_calls_, {})) {
    tell_gate(catalogue
                  ? catalogue_answer(call, to_json(*catalogue))
                  : catalogue_refusal(call, {base::ErrorKind::unavailable,
                                             "the catalogue could not be made", "", "try again"}));
  }
}

// A server that was told which models to serve and can serve none of them is of no use.
void Supervisor::take_models(const ModelReport& report) {
  served_.clear();
  for (const ModelReport::Context& model : report.contexts) served_.push_back(model.id);
  if (stopping_) return;
  downloads_.engine_reported(report);
  if (std::exchange(models_known_, true)) return;  // the same again after a restart
  tell_left_out(report);
  if (report.served == 0 && plan_.models_named) {
    failure_ = base::Error{base::ErrorKind::invalid_input, "none of the named models can be served",
                           "the reason of each stands above",
                           "name others with --model, or correct these files"};
    begin_stop();
  } else if (report.served == 0 && !plan_.engine.models.empty()) {
    say(base::Message::serve_no_model, plan_.pull_command);
  }
}

void Supervisor::tell_left_out(const ModelReport& report) {
  for (const ModelReport::LeftOut& model : report.left_out) {
    base::Error error = model.error;
    error.what = base::say(session_.language, base::Message::serve_left_out, model.id,
                           base::translated(session_.language, error.what));
    print_error(session_, error);
  }
  for (const ModelReport::Context& model : report.contexts) {
    if (model.tokens >= plan_.context_asked) continue;
    std::fprintf(stderr, "%s\n",
                 base::say(session_.language, base::Message::context_shortened, model.id,
                           model.tokens, plan_.context_asked)
                     .c_str());
  }
}

void Supervisor::begin_stop() {
  stopping_ = true;
  log_.write(base::LogLevel::info, base::LogEvent::process_stopping);
  say(base::Message::serve_stopping);
  gate_.start_at_ms = engine_.start_at_ms = pictures_.start_at_ms = 0;
  kill_at_ms_ = now_ms() + stop_grace_ms;
  downloads_.pause();
  kill_child(lister_);
  if (gate_.pid == 0) return kill_child(engine_);
  if (!send_message(gate_.messages.get(), base::Json::object({{"kind", "stop"}}))) {
    kill_child(gate_);
  }
}

void Supervisor::kill_all() {
  for (Child* child : {&gate_, &engine_, &pictures_, &puller_, &lister_}) kill_child(*child);
}

void Supervisor::kill_child(Child& child) {
  if (child.pid != 0) ::kill(child.pid, SIGKILL);
}

void Supervisor::note_running() {
  const auto about = [](const Child& child) {
    return base::Json::object({{"pid", static_cast<int64_t>(child.pid)}, {"seal", child.seal}});
  };
  const base::Json json = base::Json::object({{"address", plan_.address()},
                                              {"supervisor", static_cast<int64_t>(::getpid())},
                                              {"gate", about(gate_)},
                                              {"engine", about(engine_)},
                                              {"pictures", about(pictures_)},
                                              {"pull", about(puller_)}});
  // Only doctor reads it; a full disk must not stop the server.
  (void)write_file_atomically(running_file(session_.places), json.dump() + "\n", 0600);
}

}  // namespace

std::string download_file(const Places& places) { return places.data + "/download.json"; }

std::string running_file(const Places& places) { return places.data + "/running.json"; }

base::Result<int> supervise(const Session& session, ServePlan plan, Fd listener, bool owned) {
  return Supervisor(session, std::move(plan), std::move(listener)).run(owned);
}

}  // namespace app
