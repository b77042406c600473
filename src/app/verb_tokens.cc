// tokenize, detokenize, template: what a model's vocabulary and chat template make of a text.
#include <cstdio>

#include "app/command_line.h"
#include "app/model_store.h"
#include "app/one_shot.h"
#include "app/verb.h"
#include "base/json.h"
#include "format/model_files.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace app {
namespace {

constexpr uint64_t input_bytes_max = 256ull << 20;

base::Result<std::unique_ptr<const text::Tokenizer>> open_tokenizer(const Session& session,
                                                                    const std::string& model) {
  ASSIGN(const StoredModel stored, find_model(session.places, model));
  ASSIGN(const auto files, format::ModelFiles::open(stored.path));
  ASSIGN(text::TokenizerSpec spec, files->tokenizer());
  return text::Tokenizer::make(std::move(spec));
}

struct TokenizeOptions {
  std::string model;
  bool special = false, bos = false;
};

base::Result<int> tokenize(const Session& session, const TokenizeOptions& options) {
  ASSIGN(const auto tokenizer, open_tokenizer(session, options.model));
  ASSIGN(const std::string input, read_stdin(input_bytes_max));
  TRY(check_utf8(input, "standard input"));
  std::string out = "[";
  for (const int32_t id : tokenizer->encode(input, {options.special, options.bos})) {
    if (out.size() > 1) out += ", ";
    out += std::to_string(id);
  }
  out += "]\n";
  std::fwrite(out.data(), 1, out.size(), stdout);
  return exit_done;
}

base::Result<int> detokenize(const Session& session, const std::string& model) {
  ASSIGN(const auto tokenizer, open_tokenizer(session, model));
  ASSIGN(const std::string input, read_stdin(input_bytes_max));
  ASSIGN(const std::vector<int32_t> ids, parse_ids(input, "standard input"));
  TRY(check_ids(ids, tokenizer->size()));
  const std::string out = tokenizer->decode(ids);
  std::fwrite(out.data(), 1, out.size(), stdout);
  return exit_done;
}

base::Result<base::Json> read_request(bool of_model) {
  constexpr std::string_view wanted =
      R"({"messages": [{"role": "user", "content": "…"}], "add_generation_prompt": true})";
  ASSIGN(const std::string input, read_stdin(input_bytes_max));
  ASSIGN(base::Json context, parse_input(input, "standard input", wanted));
  const auto refused = [&](const char* what) {
    return base::fail(base::ErrorKind::invalid_input, what, "", fmt::format("give {}", wanted));
  };
  if (!context.is_object()) return refused("standard input is not a JSON object");
  // A template of one's own may need other keys; a model's is for a conversation.
  const base::Json* messages = context.find("messages");
  if (of_model && (messages == nullptr || !messages->is_array())) {
    return refused("standard input has no list of messages");
  }
  return context;
}

// Errors in a template: of the file that was given, or of the model.
base::Error with_advice(base::Error error, bool of_model) {
  if (!error.next.empty()) return error;
  error.next = of_model ? "correct the request; if it is right, the model's template is at fault: "
                          "give a .jinja file in its place"
                        : "correct the template or the request";
  return error;
}

base::Result<int> render_template(const Session& session, const std::string& source) {
  std::string template_text, bos, eos;
  const bool of_model = !std::string_view(source).ends_with(".jinja");
  if (!of_model) {
    ASSIGN(template_text, read_file(source, text::TemplateLimits{}.source_bytes_max));
  } else {
    ASSIGN(const StoredModel stored, find_model(session.places, source));
    ASSIGN(const auto files, format::ModelFiles::open(stored.path));
    ASSIGN(const text::TokenizerSpec spec, files->tokenizer());
    template_text = spec.chat_template;
    const auto token = [&](int32_t id) {
      return id >= 0 && static_cast<size_t>(id) < spec.tokens.size()
                 ? spec.tokens[static_cast<size_t>(id)]
                 : std::string();
    };
    bos = token(spec.bos_id);
    eos = token(spec.eos_id);
  }
  if (template_text.empty() && of_model) {
    return base::fail(base::ErrorKind::not_found, source + " has no chat template", "",
                      "give a .jinja file, or a model made for chat");
  }
  ASSIGN(base::Json context, read_request(of_model));
  if (context.find("bos_token") == nullptr && !bos.empty()) context.set("bos_token", bos);
  if (context.find("eos_token") == nullptr && !eos.empty()) context.set("eos_token", eos);
  const auto compiled = text::ChatTemplate::compile(template_text);
  if (!compiled) return base::fail(with_advice(compiled.error(), of_model));
  const auto rendered = (*compiled)->render(context, session.clock.wall_unix_ms() / 1000);
  if (!rendered) return base::fail(with_advice(rendered.error(), of_model));
  std::fwrite(rendered->text.data(), 1, rendered->text.size(), stdout);
  return exit_done;
}

}  // namespace

void add_tokens(CommandLine& line, Session& session) {
  auto options = std::make_shared<TokenizeOptions>();
  Verb verb = line.verb("tokenize", "UTF-8 on standard input to a JSON array of ids",
                        "  echo -n 'Hello' | nautile tokenize ./model.gguf\n"
                        "  nautile tokenize smollm2 --special --bos < prompt.txt");
  verb.option("MODEL", options->model, "name, file or directory").required();
  verb.flag("--special", options->special, "special tokens in the text become their ids");
  verb.flag("--bos", options->bos, "add the begin-of-sequence token where the model has one");
  verb.runs([&session, options] { return tokenize(session, *options); });

  auto model = std::make_shared<std::string>();
  verb = line.verb("detokenize", "a JSON array of ids on standard input to bytes",
                   "  echo '[1, 2]' | nautile detokenize ./model.gguf\n"
                   "  nautile tokenize M < text | nautile detokenize M");
  verb.option("MODEL", *model, "name, file or directory").required();
  verb.runs([&session, model] { return detokenize(session, *model); });

  auto source = std::make_shared<std::string>();
  verb = line.verb(
      "template", "render a chat template: request JSON on standard input to the prompt",
      "  echo "
      "'{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"add_generation_prompt\":true}' |"
      " nautile template smollm2\n  nautile template chat.jinja < request.json");
  verb.option("MODEL_OR_FILE", *source, "a model, or a .jinja file").required();
  verb.runs([&session, source] { return render_template(session, *source); });
}

}  // namespace app
