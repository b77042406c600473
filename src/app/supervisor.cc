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
#include "app/restart_policy.h"
#include "app/seal.h"
#include "base/log.h"
#include "base/messages.h"

namespace app {
namespace {

constexpr int64_t stop_grace_ms = 5'000;
// A gate that dies so often without ever listening will not listen the next time either.
constexpr int gate_failures_max = 5;

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
        log_(session.clock, STDERR_FILENO, plan_.log_level) {}

  base::Result<int> run(bool owned);

 private:
  base::Result<void> take_signals();
  base::Result<void> start_gate();
  base::Result<void> start_engine();
  base::Result<void> start_pictures();
  void note_started(Child& child);
  void greet(bool owned);
  void wait();
  void read_signals();
  void reap();
  void child_died(Child& child, int status);
  void start_what_is_due();
  void read_messages(Child& child);
  void take_models(const ModelReport& report);
  void begin_stop();
  void kill_child(Child& child);
  void kill_all();
  void note_running();
  int64_t now_ms() const { return session_.clock.monotonic_ms(); }
  int wait_ms() const;
  bool done() const {
    return stopping_ && gate_.pid == 0 && engine_.pid == 0 && pictures_.pid == 0;
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
  bool stopping_ = false, said_ready_ = false, models_known_ = false;
  int64_t kill_at_ms_ = 0;
  std::optional<base::Error> failure_;
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
  if (kill_at_ms_ != 0) next = std::min(next, kill_at_ms_);
  if (next == INT64_MAX) return -1;
  return static_cast<int>(std::clamp<int64_t>(next - now_ms(), 0, 60'000));
}

void Supervisor::wait() {
  pollfd fds[] = {{signals_.get(), POLLIN, 0},
                  {gate_.messages.get(), POLLIN, 0},
                  {engine_.messages.get(), POLLIN, 0},
                  {pictures_.messages.get(), POLLIN, 0}};
  if (::poll(fds, 4, wait_ms()) < 0) return;  // interrupted: the loop looks again
  if (fds[1].revents != 0) read_messages(gate_);
  if (fds[2].revents != 0) read_messages(engine_);
  if (fds[3].revents != 0) read_messages(pictures_);
  if (fds[0].revents != 0) read_signals();
  if (kill_at_ms_ != 0 && now_ms() >= kill_at_ms_) {
    kill_at_ms_ = 0;
    kill_all();
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
  }
}

void Supervisor::child_died(Child& child, int status) {
  const bool killed = WIFSIGNALED(status);
  log_.write(stopping_ ? base::LogLevel::info : base::LogLevel::warning,
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
  const bool is_gate = &child == &gate_;
  child.start_at_ms = now_ms() + child.policy.died(child.started_ms, now_ms());
  if (is_gate) {
    // Its end of the engine's socket died with it, and the engine keeps nothing: a fresh pair.
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
  }
}

// A server that was told which models to serve and can serve none of them is of no use.
void Supervisor::take_models(const ModelReport& report) {
  if (models_known_ || stopping_) return;  // the same again after a restart
  models_known_ = true;
  const bool useless = report.served == 0 && plan_.models_named;
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
  if (useless) {
    failure_ = base::Error{base::ErrorKind::invalid_input, "none of the named models can be served",
                           "the reason of each stands above",
                           "name others with --model, or correct these files"};
    begin_stop();
  } else if (report.served == 0 && !plan_.engine.models.empty()) {
    say(base::Message::serve_no_model, plan_.pull_command);
  }
}

void Supervisor::begin_stop() {
  stopping_ = true;
  log_.write(base::LogLevel::info, base::LogEvent::process_stopping);
  say(base::Message::serve_stopping);
  gate_.start_at_ms = engine_.start_at_ms = pictures_.start_at_ms = 0;
  kill_at_ms_ = now_ms() + stop_grace_ms;
  if (gate_.pid == 0) return kill_child(engine_);
  if (!send_message(gate_.messages.get(), base::Json::object({{"kind", "stop"}}))) {
    kill_child(gate_);
  }
}

void Supervisor::kill_all() {
  for (Child* child : {&gate_, &engine_, &pictures_}) kill_child(*child);
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
                                              {"pictures", about(pictures_)}});
  // Only doctor reads it; a full disk must not stop the server.
  (void)write_file_atomically(running_file(session_.places), json.dump() + "\n", 0600);
}

}  // namespace

std::string running_file(const Places& places) { return places.data + "/running.json"; }

base::Result<int> supervise(const Session& session, ServePlan plan, Fd listener, bool owned) {
  return Supervisor(session, std::move(plan), std::move(listener)).run(owned);
}

}  // namespace app
