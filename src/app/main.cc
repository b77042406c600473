// The composition root: finds the places, declares every verb, parses, runs the chosen one, and
// turns an Error into three parts on stderr and an exit code.
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "app/build_info.h"
#include "app/internal_verbs.h"
#include "app/verb.h"

namespace {

int run_program(int argc, char** argv) {
  app::Session session;
  session.language = base::language_of_environment();
  auto places = app::find_places();
  if (!places) {
    app::print_error(session, places.error());
    return app::exit_code(places.error().kind);
  }
  session.places = *places;

  CLI::App root("Your own DeepSeek: runs DeepSeek's open models on this machine.", "nautile");
  root.set_version_flag("--version", std::string("nautile ") + app::build_version);
  root.require_subcommand(1);
  app::add_serve(root, session);
  app::add_run(root, session);
  app::add_pull(root, session);
  app::add_models(root, session);
  app::add_tokens(root, session);
  app::add_measure(root, session);
  app::add_bench(root, session);
  app::add_doctor(root, session);
  app::add_about(root, session);
  if (argc == 1) {
    std::fputs(root.help().c_str(), stdout);
    return app::exit_usage;
  }
  if (const auto known = app::check_verb(root, argv[1]); !known) {
    app::print_error(session, known.error());
    return app::exit_usage;
  }
  try {
    root.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return root.exit(error) == 0 ? app::exit_done : app::exit_usage;
  }
  const base::Result<int> done = session.run();
  if (!done) {
    app::print_error(session, done.error());
    return app::exit_code(done.error().kind);
  }
  return *done;
}

}  // namespace

int main(int argc, char** argv) {
  // A reader that goes away (| head) is an ordinary end, seen as EPIPE.
  std::signal(SIGPIPE, SIG_IGN);
  if (const auto done = app::run_internal_verb(argc, argv)) return *done;
  return run_program(argc, argv);
}
