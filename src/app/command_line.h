// The command line as the verbs declare it, and what it says of itself. The parser, CLI11, stays
// behind command_line.cc: its headers cost every file that sees them ten seconds of compiling.
// Nothing here is for more than one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/verb.h"
#include "base/result.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace app {

// An option or a positional argument that a verb has declared. The chosen words follow it.
class Option {
 public:
  explicit Option(CLI::Option& option) : option_(&option) {}
  Option& required();
  // Both ends belong to it; help names them.
  Option& range(int least, int most) { return range(int64_t{least}, int64_t{most}); }
  Option& range(int64_t least, int64_t most);
  Option& range(double least, double most);
  // For vectors: one value each time it is given, and all are kept.
  Option& repeated();
  // For vectors: one word holds several values with commas between them.
  Option& with_commas();
  Option& excludes(const Option& other);
  Option& needs(const Option& other);

 private:
  CLI::Option* option_;
};

// A verb that is being declared. What it refers to must outlive the parsing.
class Verb {
 public:
  Verb(CLI::App& app, Session& session) : app_(&app), session_(&session) {}

  // `names`: "--text", "-o,--output", or "MODEL" for a positional argument. The value is what holds
  // until the option is given, and help shows it, where there is one.
  Option option(const char* names, std::string& value, const char* help);
  Option option(const char* names, std::vector<std::string>& value, const char* help);
  Option option(const char* names, std::vector<int>& value, const char* help);
  Option option(const char* names, int& value, const char* help);
  Option option(const char* names, double& value, const char* help);
  Option option(const char* names, std::optional<int>& value, const char* help);
  Option option(const char* names, std::optional<uint64_t>& value, const char* help);
  Option option(const char* names, std::optional<double>& value, const char* help);
  Option flag(const char* name, bool& value, const char* help);

  // Offers `--KEY` for a setting; its help names the accepted words and the default.
  void setting(std::string_view key);

  // What it does once the line is read.
  void runs(std::function<base::Result<int>()> run);
  // The same for a verb that must work whatever the settings are.
  void runs_without_settings(std::function<base::Result<int>()> run);

 private:
  CLI::App* app_;
  Session* session_;
};

// What help, manual pages and completions are made of.
struct OptionText {
  std::string names;                    // "-o,--output"; empty: it is given at its place alone
  std::string place;                    // "MODEL"; empty: by name alone
  std::vector<std::string> long_names;  // "--output"
  std::string value;                    // what follows the name: "N" for a number; empty: nothing
  std::string help;
  std::string standard;  // empty: none
};
struct VerbText {
  std::string name;  // empty: the program itself
  std::string summary;
  std::string examples;  // lines, each indented by two
  std::vector<OptionText> options;
};

class CommandLine {
 public:
  explicit CommandLine(Session& session);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // Declares a verb with its two examples; `--help` shows both.
  Verb verb(const char* name, const char* summary, const std::string& examples);

  VerbText program() const;
  std::vector<VerbText> verbs() const;
  std::string help() const;

  // Reads the line: what the chosen verb declared is filled, and session.run is set. The exit code
  // if nothing is to be run, because help or the version was asked for and has been printed. Fails
  // with wrong_usage, which names the nearest verb or option.
  base::Result<std::optional<int>> parse(int argc, char** argv);

 private:
  Session& session_;
  std::unique_ptr<CLI::App> root_;
};

}  // namespace app
