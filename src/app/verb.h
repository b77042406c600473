// What every verb is given, and how a verb joins the command line: one file verb_NAME.cc with one
// function add_NAME() that declares the verb and what it runs (app/command_line.h). main.cc builds
// the Session, parses, then calls run: nothing happens while the command line is still being read.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/places.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/messages.h"
#include "base/random.h"
#include "base/result.h"

namespace app {

// Exit codes of cli.md.
enum Exit {
  exit_done = 0,
  exit_failed = 1,
  exit_usage = 2,
  exit_refused = 3,
  exit_no_room = 4,
  exit_unreachable = 5,
  exit_interrupted = 130
};
int exit_code(base::ErrorKind kind);

class CommandLine;

struct Session {
  Places places;
  base::SystemClock clock;
  base::SystemRandom random;
  base::Language language = base::Language::english;
  std::map<std::string, std::vector<std::string>> flags;  // settings given on the command line
  std::function<base::Result<int>()> run;                 // set by the chosen verb
  bool without_settings = false;  // set by a verb that must work whatever the settings are

  base::Result<Config> config() const { return Config::load(places, flags); }
};

// Three parts on stderr. An error that does not say what to do gets the advice of its kind.
void print_error(const Session& session, const base::Error& error);

// A line on stdout.
void print_line(std::string_view text);
// Every verb ends with it: out_of_disk or io if anything that was printed has not arrived. A reader
// that has gone away is no error.
base::Result<void> finish_output();

// invalid_input with the place of the first wrong byte if `text` is not UTF-8.
base::Result<void> check_utf8(std::string_view text, std::string_view what);

// All of standard input, at most `bytes_max`.
base::Result<std::string> read_stdin(uint64_t bytes_max);
// A file, or standard input for "-".
base::Result<std::string> read_text_argument(const std::string& path, uint64_t bytes_max);
// JSON that a person gave; `wanted` says in an error what it should have been.
base::Result<base::Json> parse_input(std::string_view json, std::string_view what,
                                     std::string_view wanted);
// A JSON array of token ids, each a whole number in int32.
base::Result<std::vector<int32_t>> parse_ids(std::string_view json, std::string_view what);

void add_serve(CommandLine& line, Session& session);
void add_run(CommandLine& line, Session& session);
void add_image(CommandLine& line, Session& session);
void add_pull(CommandLine& line, Session& session);
void add_models(CommandLine& line, Session& session);   // list, show, rm, ps
void add_tokens(CommandLine& line, Session& session);   // tokenize, detokenize, template
void add_measure(CommandLine& line, Session& session);  // logits, perplexity
void add_embed(CommandLine& line, Session& session);
void add_quantize(CommandLine& line, Session& session);
void add_verify(CommandLine& line, Session& session);
void add_bench(CommandLine& line, Session& session);
void add_doctor(CommandLine& line, Session& session);
void add_about(CommandLine& line, Session& session);  // config, completion, version, man

}  // namespace app
