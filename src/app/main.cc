// The composition root: finds the places, declares every verb, parses, runs the chosen one, and
// turns an Error into three parts on stderr and an exit code.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

#include "app/command_line.h"
#include "app/internal_verbs.h"
#include "app/verb.h"

namespace {

base::Language language_of(const app::Config& config) {
  const std::string& word = config.text("language");
  return word == "fr"   ? base::Language::french
         : word == "en" ? base::Language::english
                        : base::language_of_environment();
}

int run_program(app::Session& session, int argc, char** argv) {
  auto places = app::find_places();
  if (!places) {
    app::print_error(session, places.error());
    return app::exit_code(places.error().kind);
  }
  session.places = *places;
  // Without the flags, which are not read yet, for errors on the way to them.
  if (const auto config = session.config()) session.language = language_of(*config);

  app::CommandLine line(session);
  app::add_serve(line, session);
  app::add_run(line, session);
  app::add_image(line, session);
  app::add_pull(line, session);
  app::add_models(line, session);
  app::add_tokens(line, session);
  app::add_measure(line, session);
  app::add_embed(line, session);
  app::add_quantize(line, session);
  app::add_verify(line, session);
  app::add_bench(line, session);
  app::add_doctor(line, session);
  app::add_about(line, session);
  if (argc == 1) {
    std::fputs(line.help().c_str(), stdout);
    return app::exit_usage;
  }
  const auto ended = line.parse(argc, argv);
  if (!ended) {
    app::print_error(session, ended.error());
    return app::exit_usage;
  }
  if (*ended) return **ended;
  const auto config = session.config();
  if (!config && !session.without_settings) {
    app::print_error(session, config.error());
    return app::exit_code(config.error().kind);
  }
  if (config) session.language = language_of(*config);
  const base::Result<int> done = session.run();
  if (!done) {
    app::print_error(session, done.error());
    return app::exit_code(done.error().kind);
  }
  return *done;
}

int run_and_finish(int argc, char** argv) {
  if (const auto done = app::run_internal_verb(argc, argv)) return *done;
  app::Session session;
  session.language = base::language_of_environment();
  const int code = run_program(session, argc, argv);
  if (const auto written = app::finish_output(); !written) {
    app::print_error(session, written.error());
    return app::exit_code(written.error().kind);
  }
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  // A reader that goes away (| head) is an ordinary end, seen as EPIPE.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return run_and_finish(argc, argv);
  } catch (const std::exception& unforeseen) {  // memory is exhausted, or a fault of ours
    std::fprintf(stderr, "nautile: it cannot go on: %s\n", unforeseen.what());
    return dynamic_cast<const std::bad_alloc*>(&unforeseen) != nullptr
               ? app::exit_code(base::ErrorKind::out_of_memory)
               : app::exit_failed;
  }
}
