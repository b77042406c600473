#include "app/command_line.h"

#include <CLI/CLI.hpp>

#include "app/build_info.h"
#include "app/usage.h"

namespace app {
namespace {

constexpr int shown_range_max = 1000;

// A range whose refusal and help are sentences. CLI11's own prints "FLOAT in [0 - 2]".
template <typename Number>
void limit(CLI::Option& option, Number least, Number most) {
  option.check(CLI::Validator(
      [least, most](std::string& word) -> std::string {
        Number number{};
        const bool inside =
            CLI::detail::lexical_cast(word, number) && number >= least && number <= most;
        return inside ? std::string() : fmt::format("{} is not from {} to {}", word, least, most);
      },
      ""));
  // A larger end is there to refuse nonsense, not to be chosen.
  if (most <= shown_range_max) {
    option.description(fmt::format("{} ({} to {})", option.get_description(), least, most));
  }
}

template <typename Value>
Option declare(CLI::App& app, const char* names, Value& value, const char* help, const char* type) {
  return Option(*app.add_option(names, value, help)->type_name(type));
}

// "--tmp" of the parser's "The following arguments were not expected: 1 --tmp".
std::string unexpected_option(const CLI::ParseError& error) {
  if (error.get_exit_code() != static_cast<int>(CLI::ExitCodes::ExtrasError)) return {};
  const std::string text = error.what();
  const size_t dashes = text.find(" --");
  if (dashes == std::string::npos) return {};
  const size_t begin = dashes + 1;
  return text.substr(begin, text.find_first_of(" =", begin) - begin);
}

constexpr std::string_view examples_head = "Examples:\n";

VerbText text_of(const CLI::App& app, std::string name) {
  VerbText text{std::move(name), app.get_description(), app.get_footer(), {}};
  if (text.examples.starts_with(examples_head)) text.examples.erase(0, examples_head.size());
  for (const CLI::Option* option : app.get_options()) {
    OptionText described;
    const std::string names = option->get_name(false, true);
    if (names.starts_with('-')) described.names = names;
    if (option->get_positional()) described.place = option->get_name(true, false);
    for (const std::string& each : option->get_lnames()) {
      described.long_names.push_back("--" + each);
    }
    if (!described.names.empty() && option->get_type_size() > 0) {
      described.value = option->get_type_name();
    }
    described.help = option->get_description();
    described.standard = option->get_default_str();
    text.options.push_back(std::move(described));
  }
  return text;
}

}  // namespace

Option& Option::required() {
  option_->required();
  return *this;
}

Option& Option::range(int64_t least, int64_t most) {
  limit(*option_, least, most);
  return *this;
}

Option& Option::range(double least, double most) {
  limit(*option_, least, most);
  return *this;
}

Option& Option::repeated() {
  option_->expected(1)->take_all();
  return *this;
}

Option& Option::with_commas() {
  option_->delimiter(',');
  return *this;
}

Option& Option::excludes(const Option& other) {
  option_->excludes(other.option_);
  return *this;
}

Option& Option::needs(const Option& other) {
  option_->needs(other.option_);
  return *this;
}

Option Verb::option(const char* names, std::string& value, const char* help) {
  return declare(*app_, names, value, help, "TEXT");
}

Option Verb::option(const char* names, std::vector<std::string>& value, const char* help) {
  CLI::Option* option = app_->add_option(names, value, help)->type_name("TEXT");
  option->default_str("");  // not "[]"
  return Option(*option);
}

Option Verb::option(const char* names, std::vector<int>& value, const char* help) {
  return declare(*app_, names, value, help, "N");
}

Option Verb::option(const char* names, int& value, const char* help) {
  return declare(*app_, names, value, help, "N");
}

Option Verb::option(const char* names, double& value, const char* help) {
  return declare(*app_, names, value, help, "X");
}

Option Verb::option(const char* names, std::optional<int>& value, const char* help) {
  return declare(*app_, names, value, help, "N");
}

Option Verb::option(const char* names, std::optional<uint64_t>& value, const char* help) {
  CLI::Option* option = app_->add_option(names, value, help)->type_name("N");
  option->check(CLI::Validator(
      [](std::string& word) {  // the parser makes 2^64 - 1 of "-1"
        return word.starts_with('-') ? word + " is less than 0" : std::string();
      },
      ""));
  return Option(*option);
}

Option Verb::option(const char* names, std::optional<double>& value, const char* help) {
  return declare(*app_, names, value, help, "X");
}

Option Verb::flag(const char* name, bool& value, const char* help) {
  return Option(*app_->add_flag(name, value, help));
}

void Verb::setting(std::string_view key) {
  const SettingSpec* spec = find_spec(key);
  CLI::Option* option = app_->add_option_function<std::vector<std::string>>(
      "--" + std::string(key),
      [session = session_, key = std::string(key)](const std::vector<std::string>& values) {
        session->flags[key] = values;
      },
      std::string(spec->help) + (spec->words.empty() ? "" : fmt::format(": {}", spec->words)));
  option->type_name(spec->kind == SettingSpec::Kind::integer ? "N"
                    : spec->kind == SettingSpec::Kind::size  ? "SIZE"
                                                             : "VALUE");
  option->default_str(std::string(spec->standard));
  option->expected(1);
  if (spec->kind == SettingSpec::Kind::list) {
    option->take_all();
  } else {
    option->take_last();
  }
}

void Verb::runs(std::function<base::Result<int>()> run) {
  app_->callback([session = session_, run = std::move(run)] { session->run = run; });
}

void Verb::runs_without_settings(std::function<base::Result<int>()> run) {
  app_->callback([session = session_, run = std::move(run)] {
    session->without_settings = true;
    session->run = run;
  });
}

CommandLine::CommandLine(Session& session)
    : session_(session),
      root_(std::make_unique<CLI::App>(
          "Your own DeepSeek: runs DeepSeek's open models on this machine.", "nautile")) {
  root_->set_version_flag("--version", std::string("nautile ") + build_version,
                          "print the version and exit");
  root_->set_help_flag("-h,--help", "print this help and exit");
  root_->require_subcommand(1);
  root_->option_defaults()->always_capture_default();  // for --help
}

CommandLine::~CommandLine() = default;

Verb CommandLine::verb(const char* name, const char* summary, const std::string& examples) {
  CLI::App* app = root_->add_subcommand(name, summary);
  app->footer(std::string(examples_head) + examples);
  return Verb(*app, session_);
}

VerbText CommandLine::program() const { return text_of(*root_, ""); }

std::vector<VerbText> CommandLine::verbs() const {
  std::vector<VerbText> texts;
  for (const CLI::App* app : root_->get_subcommands([](const CLI::App*) { return true; })) {
    texts.push_back(text_of(*app, app->get_name()));
  }
  return texts;
}

std::string CommandLine::help() const { return root_->help(); }

base::Result<std::optional<int>> CommandLine::parse(int argc, char** argv) {
  for (CLI::App* app : root_->get_subcommands([](const CLI::App*) { return true; })) {
    if (app->get_option_no_throw("--language") == nullptr) Verb(*app, session_).setting("language");
  }
  const std::string word = argc > 1 ? argv[1] : "";
  TRY(check_verb(verbs(), word));
  try {
    root_->parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return root_->exit(error);  // --help and --version end so
    const std::string unexpected = unexpected_option(error);
    VerbText chosen = program();
    for (const VerbText& each : verbs()) {
      if (each.name == word) chosen = each;
    }
    return base::fail(usage_error(chosen, error.what(), unexpected));
  }
}

}  // namespace app
