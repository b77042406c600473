// config, completion, version, man: what the program says about itself.
#include <cstdio>

#include "app/build_info.h"
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

std::vector<std::string> options_of(const CLI::App& verb) {
  std::vector<std::string> names;
  for (const CLI::Option* option : verb.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::vector<const CLI::App*> verbs_of(const CLI::App& root) {
  return root.get_subcommands([](const CLI::App* verb) { return !verb->get_group().empty(); });
}

std::string bash_completion(const CLI::App& root) {
  std::string verbs, cases;
  for (const CLI::App* verb : verbs_of(root)) {
    verbs += (verbs.empty() ? "" : " ") + verb->get_name();
    cases += fmt::format("    {}) words=\"{}\" ;;\n", verb->get_name(), joined(options_of(*verb)));
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

std::string zsh_completion(const CLI::App& root) {
  std::string verbs, cases;
  for (const CLI::App* verb : verbs_of(root)) {
    verbs += "    " + shell_quoted(verb->get_name() + ":" + verb->get_description()) + "\n";
    cases += fmt::format("    {}) _values option {} && return; _files ;;\n", verb->get_name(),
                         joined(options_of(*verb)));
  }
  return fmt::format(
      "#compdef nautile\n_nautile() {{\n  local -a verbs\n  verbs=(\n{}  )\n"
      "  if (( CURRENT == 2 )); then\n    _describe verb verbs\n    return\n  fi\n"
      "  case $words[2] in\n{}  esac\n}}\n_nautile \"$@\"\n",
      verbs, cases);
}

std::string fish_completion(const CLI::App& root) {
  std::string text;
  for (const CLI::App* verb : verbs_of(root)) {
    text += fmt::format("complete -c nautile -n __fish_use_subcommand -f -a {} -d {}\n",
                        verb->get_name(), shell_quoted(verb->get_description()));
    for (const std::string& option : options_of(*verb)) {
      text += fmt::format("complete -c nautile -n '__fish_seen_subcommand_from {}' -l {}\n",
                          verb->get_name(), option.substr(2));
    }
  }
  return text;
}

// roff of one verb, or of the whole program, from the same declarations that --help prints.
std::string man_page(const CLI::App& root, const CLI::App* verb) {
  const std::string name = verb == nullptr ? "nautile" : "nautile-" + verb->get_name();
  const CLI::App& described = verb == nullptr ? root : *verb;
  std::string text = fmt::format(
      ".TH {} 1 \"\" \"nautile {}\" \"Nautile\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.B nautile{}\n"
      "[options]\n",
      name, build_version, name, described.get_description(),
      verb == nullptr ? " VERB" : " " + verb->get_name());
  if (verb == nullptr) {
    text += ".SH VERBS\n";
    for (const CLI::App* each : verbs_of(root)) {
      text +=
          fmt::format(".TP\n.BR nautile\\-{} (1)\n{}\n", each->get_name(), each->get_description());
    }
  }
  text += ".SH OPTIONS\n";
  for (const CLI::Option* option : described.get_options()) {
    const std::string standard = option->get_default_str();
    text += fmt::format(".TP\n.B {}\n{}{}\n", option->get_name(true), option->get_description(),
                        standard.empty() ? "" : fmt::format(" (default: {})", standard));
  }
  if (!described.get_footer().empty()) {
    text += ".SH EXAMPLES\n.nf\n" + described.get_footer().substr(sizeof "Examples:") + "\n.fi\n";
  }
  return text +
         ".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage, 3 refused input, 4 not enough "
         "memory or disk, 5 unreachable, 130 interrupted.\n";
}

base::Result<int> print_completion(const CLI::App& root, const std::string& shell) {
  if (shell == "bash") {
    std::fputs(bash_completion(root).c_str(), stdout);
  } else if (shell == "zsh") {
    std::fputs(zsh_completion(root).c_str(), stdout);
  } else if (shell == "fish") {
    std::fputs(fish_completion(root).c_str(), stdout);
  } else {
    return base::fail(base::ErrorKind::wrong_usage, "no completion for " + base::shown_name(shell),
                      "", "choose bash, zsh or fish");
  }
  return exit_done;
}

base::Result<int> print_man(const CLI::App& root, const std::string& name) {
  const CLI::App* chosen = nullptr;
  for (const CLI::App* verb : verbs_of(root)) {
    if (verb->get_name() == name) chosen = verb;
  }
  if (chosen == nullptr && !name.empty()) {
    return base::fail(base::ErrorKind::wrong_usage, "there is no command " + base::shown_name(name),
                      "", "`nautile --help` lists the commands");
  }
  std::fputs(man_page(root, chosen).c_str(), stdout);
  return exit_done;
}

}  // namespace

void add_about(CLI::App& root, Session& session) {
  auto json = std::make_shared<bool>(false);
  CLI::App* config = declare_verb(root, "config", "print the effective settings and their origin",
                                  "  nautile config\n  NAUTILE_THREADS=4 nautile config --json");
  for (const SettingSpec& spec : setting_specs()) offer_setting(config, session, spec.key);
  config->add_flag("--json", *json, "one JSON object");
  config->callback([&session, json] {
    session.run = [&session, json] { return print_config(session, *json); };
  });

  CLI::App* version = declare_verb(root, "version", "print version, commit and instruction set",
                                   "  nautile version\n  nautile version --json");
  version->add_flag("--json", *json, "one JSON object");
  version->callback([&session, json] {
    session.without_settings = true;
    session.run = [json]() -> base::Result<int> { return print_version(*json); };
  });

  auto word = std::make_shared<std::string>();
  CLI::App* completion = declare_verb(
      root, "completion", "print shell completions (bash, zsh, fish)",
      "  nautile completion bash > ~/.local/share/bash-completion/completions/nautile\n"
      "  nautile completion fish | source");
  completion->add_option("SHELL", *word, "bash, zsh or fish")->required();
  completion->callback([&session, &root, word] {
    session.without_settings = true;
    session.run = [&root, word] { return print_completion(root, *word); };
  });

  CLI::App* man = declare_verb(root, "man", "print the manual page of the program or of a verb",
                               "  nautile man | man -l -\n  nautile man serve | man -l -");
  man->add_option("VERB", *word, "a verb");
  man->callback([&session, &root, word] {
    session.without_settings = true;
    session.run = [&root, word] { return print_man(root, *word); };
  });
}

}  // namespace app
