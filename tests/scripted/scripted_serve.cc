// scripted_serve: the real HTTP server and the real API over a scripted engine (script.h). Prints
// one JSON line when it listens: {"url","port","setup_code","api_key","state_dir"}; later a line
// {"setup_code"} whenever a code was used up and the next one holds. Ends on SIGTERM or SIGINT.
//
// usage: scripted_serve [--port N] [--web DIR] [--state DIR] [--context TOKENS] [--no-models]
//                       [--unusable] [--opening] [--starter] [--janus]
//                       [--thinking never|optional|always] [--api-key KEY]
//                       [--pulls any|catalogue|off]
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <thread>

#include "account/credentials.h"
#include "api/service.h"
#include "base/json.h"
#include "net/server.h"
#include "scripted/disk_files.h"
#include "scripted/scripted_client.h"
#include "scripted/scripted_pulls.h"

namespace {

struct Arguments {
  int port = 0;
  std::string web, state, api_key, pulls;
  scripted::ScriptedOptions engine;
};

std::optional<Arguments> parse(int argc, char** argv) {
  Arguments out;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--no-models") {
      out.engine.models = false;
      continue;
    }
    if (name == "--opening") {
      out.engine.models = false;
      out.engine.opening = true;
      continue;
    }
    if (name == "--unusable") {
      out.engine.models = false;
      out.engine.unusable = true;
      continue;
    }
    if (name == "--janus") {
      out.engine.janus = true;
      continue;
    }
    if (name == "--starter") {
      out.engine.starter = true;
      continue;
    }
    if (i + 1 >= argc) return std::nullopt;
    const std::string value = argv[++i];
    if (name == "--port") {
      out.port = std::atoi(value.c_str());
    } else if (name == "--web") {
      out.web = value;
    } else if (name == "--state") {
      out.state = value;
    } else if (name == "--api-key") {
      out.api_key = value;
    } else if (name == "--pulls") {
      out.pulls = value;
    } else if (name == "--context") {
      out.engine.context_tokens = std::atoi(value.c_str());
    } else if (name == "--thinking") {
      using Support = engine::ThinkingSupport;
      out.engine.thinking = value == "never"    ? Support::never
                            : value == "always" ? Support::always
                                                : Support::optional;
    } else {
      return std::nullopt;
    }
  }
  return out;
}

void print_line(const base::Json& json) { std::cout << json.dump() << std::endl; }

int failed(const base::Error& error) {
  std::cerr << "scripted_serve: " << error.message() << std::endl;
  return 1;
}

base::Result<void> serve(const Arguments& arguments, const std::string& state,
                         const sigset_t& signals) {
  base::SystemClock clock;
  base::SystemRandom random;
  scripted::ScriptedClient engine(arguments.engine);
  const scripted::DiskFiles files(arguments.web);
  ASSIGN(const int listener, net::open_listener("127.0.0.1", arguments.port));
  ASSIGN(const int port, net::listener_port(listener));

  api::ApiOptions options;
  options.engine = &engine;
  options.clock = &clock;
  options.random = &random;
  options.files = &files;
  options.version = "0.1.0";
  options.port = port;
  options.state_dir = state;
  options.pull_command = "nautile serve --model DeepSeek-R1-Distill-Qwen-7B-Q4_K_M.gguf";
  scripted::ScriptedPulls pulls;
  if (!arguments.pulls.empty()) {
    using api::PullPolicy;
    options.pulls = &pulls;
    options.pull_model = "DeepSeek-R1-Distill-Qwen-7B";
    options.pull_policy = arguments.pulls == "any"         ? PullPolicy::any
                          : arguments.pulls == "catalogue" ? PullPolicy::catalogue
                                                           : PullPolicy::off;
  }
  options.setup_code = account::make_code(random);
  options.announce_code = [](std::string_view code) {
    print_line(base::Json::object({{"setup_code", code}}));
  };
  if (arguments.api_key.empty()) {
    ASSIGN(options.api_key, account::load_or_make_api_key(state, random));
  } else {
    options.api_key = arguments.api_key;
  }
  const base::Json ready = base::Json::object({{"url", "http://127.0.0.1:" + std::to_string(port)},
                                               {"port", port},
                                               {"setup_code", options.setup_code},
                                               {"api_key", options.api_key},
                                               {"state_dir", state}});
  ASSIGN(auto service, api::make_service(std::move(options)));
  ASSIGN(auto server, net::make_server(listener, net::ServerLimits{}, service->handler(),
                                       service->fault_form(), service->large_body()));
  service->attach(*server);
  pulls.attach({[&](api::PullNews news) { service->tell(std::move(news)); },
                [&](const std::string& model) { engine.add_model(model); }});
  std::thread waiter([&] {
    int signal = 0;
    sigwait(&signals, &signal);
    service->begin_stop();
    engine.lose_all();
    service->end_streams();
    server->stop();
  });
  print_line(ready);
  server->run();
  waiter.join();
  service->detach();
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const auto arguments = parse(argc, argv);
  if (!arguments) {
    std::cerr << "scripted_serve: see the head of scripted_serve.cc for its options" << std::endl;
    return 2;
  }
  // Before any thread starts, so that all of them leave the signals to the one that waits.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  std::string state = arguments->state;
  char made[] = "/tmp/nautile-scripted-XXXXXX";
  if (state.empty()) {
    const char* folder = mkdtemp(made);
    if (folder == nullptr) return 1;
    state = folder;
  }
  const auto served = serve(*arguments, state, signals);
  std::error_code ignored;
  if (arguments->state.empty()) std::filesystem::remove_all(state, ignored);
  return served ? 0 : failed(served.error());
}
