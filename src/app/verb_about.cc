// config, completion, version, man: what the program says about itself.
#include <cstdio>

#include "app/build_info.h"
#include "app/command_line.h"
#include "app/verb.h"
#include "base/json.h"
#include "tensor/linear.h"

namespace app {
namespace {

base::Result<int> print_config(const Session& session, bool json) {
  ASSIGN(const Config config, session.config());
  base::Json object = base::Json::object();
  for (const SettingSpec& spec : setting_specs()) {
    const Setting& setting = config.all().find(spec.key)->second;
    std::string shown;
    for (const std::string& value : setting.values) shown += (shown.empty() ? "" : ", ") + value;
    if (json) {
      object.set(spec.key,
                 base::Json::object({{"value", shown}, {"origin", origin_name(setting.origin)}}));
    } else {
      std::printf("%-16s %-24s %s\n", std::string(spec.key).c_str(), shown.c_str(),
                  std::string(origin_name(setting.origin)).c_str());
    }
  }
  if (json) {
    object.set("file", session.places.config_file);
    std::printf("%s\n", object.dump().c_str());
  } else {
    std::printf("\nfile: %s\n", session.places.config_file.c_str());
  }
  return exit_done;
}

int print_version(bool json) {
  const auto isa = tensor::choose_isa("");
  const std::string isa_text(isa ? tensor::isa_name(*isa) : "none");
  if (json) {
    std::printf("%s\n", base::Json::object({{"version", build_version},
                                            {"commit", build_commit},
                                            {"compiler", build_compiler},
                                            {"flags", build_flags},
                                            {"isa", isa_text}})
                            .dump()
                            .c_str());
  } else {
    std::printf("nautile %s (%s), %s\n", build_version, build_commit, isa_text.c_str());
  }
  return exit_done;
}

// Of all options that have one.
std::vector<std::string> long_names(const VerbText& verb) {
  std::vector<std::string> names;
  for (const OptionText& option : verb.options) {
    names.insert(names.end(), option.long_names.begin(), option.long_names.end());
  }
  return names;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string bash_completion(const CommandLine& line) {
  std::string verbs, cases;
  for (const VerbText& verb : line.verbs()) {
    verbs += (verbs.empty() ? "" : " ") + verb.name;
    cases += fmt::format("    {}) words=\"{}\" ;;\n", verb.name, joined(long_names(verb)));
  }
  return fmt::format(
      "_nautile() {{\n  local cur=${{COMP_WORDS[COMP_CWORD]}} words\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n    COMPREPLY=($(compgen -W \"{}\" -- \"$cur\"))\n"
      "    return\n  fi\n  case ${{COMP_WORDS[1]}} in\n{}  esac\n"
      "  case $cur in\n    -*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;\n"
      "    *) COMPREPLY=($(compgen -f -- \"$cur\")\n"
      "                  $(compgen -W \"$(nautile list --names 2>/dev/null)\" -- \"$cur\")) ;;\n"
      "  esac\n}}\ncomplete -o filenames -F _nautile nautile\n",
      verbs, cases);
}

// In single quotes for zsh and fish, whatever the text contains.
std::string shell_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

std::string zsh_completion(const CommandLine& line) {
  std::string verbs, cases;
  for (const VerbText& verb : line.verbs()) {
    verbs += "    " + shell_quoted(verb.name + ":" + verb.summary) + "\n";
    cases += fmt::format("    {}) _values option {} && return; _files ;;\n", verb.name,
                         joined(long_names(verb)));
  }
  return fmt::format(
      "#compdef nautile\n_nautile() {{\n  local -a verbs\n  verbs=(\n{}  )\n"
      "  if (( CURRENT == 2 )); then\n    _describe verb verbs\n    return\n  fi\n"
      "  case $words[2] in\n{}  esac\n}}\n_nautile \"$@\"\n",
      verbs, cases);
}

std::string fish_completion(const CommandLine& line) {
  std::string text;
  for (const VerbText& verb : line.verbs()) {
    text += fmt::format("complete -c nautile -n __fish_use_subcommand -f -a {} -d {}\n", verb.name,
                        shell_quoted(verb.summary));
    for (const std::string& option : long_names(verb)) {
      text += fmt::format("complete -c nautile -n '__fish_seen_subcommand_from {}' -l {}\n",
                          verb.name, option.substr(2));
    }
  }
  return text;
}

// Backslashes and dashes as roff wants them; a line that begins with a dot or a quote is text too.
std::string roff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out;
}

// roff of a verb, or of the whole program, from the same declarations that --help prints.
std::string man_page(const CommandLine& line, const VerbText& described) {
  const bool whole = described.name.empty();
  const std::string name = whole ? "nautile" : "nautile-" + described.name;
  std::string text = fmt::format(
      ".TH {} 1 \"\" \"nautile {}\" \"Nautile\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.B nautile{}\n"
      "[options]",
      name, build_version, roff(name), roff(described.summary),
      whole ? " VERB" : " " + described.name);
  for (const OptionText& option : described.options) {
    if (!option.place.empty()) text += " " + option.place;
  }
  text += "\n";
  if (whole) {
    text += ".SH VERBS\n";
    for (const VerbText& each : line.verbs()) {
      text += fmt::format(".TP\n.BR nautile\\-{} (1)\n{}\n", each.name, roff(each.summary));
    }
  }
  text += ".SH OPTIONS\n";
  for (const OptionText& option : described.options) {
    std::string names;
    if (!option.names.empty()) names = "\\fB" + roff(option.names) + "\\fR";
    if (!option.value.empty()) names += " " + roff(option.value);
    if (!option.place.empty()) names += (names.empty() ? "\\fB" : ", \\fB") + option.place + "\\fR";
    text += fmt::format(
        ".TP\n{}\n{}{}\n", names, roff(option.help),
        option.standard.empty() ? "" : fmt::format(" (default: {})", roff(option.standard)));
  }
  if (!described.examples.empty()) {
    text += ".SH EXAMPLES\n.nf\n" + roff(described.examples) + "\n.fi\n";
  }
  return text +
         ".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage, 3 refused input, 4 not enough "
         "memory or disk, 5 unreachable, 130 interrupted.\n";
}

base::Result<int> print_completion(const CommandLine& line, const std::string& shell) {
  if (shell == "bash") {
    std::fputs(bash_completion(line).c_str(), stdout);
  } else if (shell == "zsh") {
    std::fputs(zsh_completion(line).c_str(), stdout);
  } else if (shell == "fish") {
    std::fputs(fish_completion(line).c_str(), stdout);
  } else {
    return base::fail(base::ErrorKind::wrong_usage, "no completion for " + base::shown_name(shell),
                      "", "choose bash, zsh or fish");
  }
  return exit_done;
}

base::Result<int> print_man(const CommandLine& line, const std::string& name) {
  VerbText chosen = line.program();
  for (const VerbText& verb : line.verbs()) {
    if (verb.name == name) chosen = verb;
  }
  if (chosen.name != name) {
    return base::fail(base::ErrorKind::wrong_usage, "there is no command " + base::shown_name(name),
                      "", "`nautile --help` lists the commands");
  }
  std::fputs(man_page(line, chosen).c_str(), stdout);
  return exit_done;
}

}  // namespace

void add_about(CommandLine& line, Session& session) {
  auto json = std::make_shared<bool>(false);
  Verb config = line.verb("config", "print the effective settings and their origin",
                          "  nautile config\n  NAUTILE_THREADS=4 nautile config --json");
  for (const SettingSpec& spec : setting_specs()) config.setting(spec.key);
  config.flag("--json", *json, "one JSON object");
  config.runs([&session, json] { return print_config(session, *json); });

  Verb version = line.verb("version", "print version, commit and instruction set",
                           "  nautile version\n  nautile version --json");
  version.flag("--json", *json, "one JSON object");
  version.runs_without_settings([json]() -> base::Result<int> { return print_version(*json); });

  auto word = std::make_shared<std::string>();
  Verb completion =
      line.verb("completion", "print shell completions (bash, zsh, fish)",
                "  nautile completion bash > ~/.local/share/bash-completion/completions/nautile\n"
                "  nautile completion fish | source");
  completion.option("SHELL", *word, "bash, zsh or fish").required();
  completion.runs_without_settings([&line, word] { return print_completion(line, *word); });

  Verb man = line.verb("man", "print the manual page of the program or of a verb",
                       "  nautile man | man -l -\n  nautile man serve | man -l -");
  man.option("VERB", *word, "a verb");
  man.runs_without_settings([&line, word] { return print_man(line, *word); });
}

}  // namespace app
