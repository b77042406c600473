// tokenize, detokenize, template: what a model's vocabulary and chat template make of a text.
#include <cstdio>

#include "app/model_store.h"
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
  const std::string out = tokenizer->decode(ids);
  std::fwrite(out.data(), 1, out.size(), stdout);
  return exit_done;
}

base::Result<int> render_template(const Session& session, const std::string& source) {
  std::string template_text, bos, eos;
  if (std::string_view(source).ends_with(".jinja")) {
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
  if (template_text.empty()) {
    return base::fail(base::ErrorKind::not_found, source + " has no chat template", "",
                      "give a .jinja file, or a model made for chat");
  }
  ASSIGN(const std::string input, read_stdin(input_bytes_max));
  ASSIGN(base::Json context, base::parse_json(input, "standard input"));
  if (!context.is_object()) {
    return base::fail(base::ErrorKind::invalid_input, "standard input is not a JSON object", "",
                      R"(give {"messages": […], "add_generation_prompt": true})");
  }
  if (context.find("bos_token") == nullptr && !bos.empty()) context.set("bos_token", bos);
  if (context.find("eos_token") == nullptr && !eos.empty()) context.set("eos_token", eos);
  ASSIGN(const auto compiled, text::ChatTemplate::compile(template_text));
  ASSIGN(const text::Rendered rendered,
         compiled->render(context, session.clock.wall_unix_ms() / 1000));
  std::fwrite(rendered.text.data(), 1, rendered.text.size(), stdout);
  return exit_done;
}

}  // namespace

void add_tokens(CLI::App& root, Session& session) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* verb = declare_verb(root, "tokenize", "UTF-8 on standard input to a JSON array of ids",
                                "  echo -n 'Hello' | nautile tokenize ./model.gguf\n"
                                "  nautile tokenize smollm2 --special --bos < prompt.txt");
  verb->add_option("MODEL", options->model, "name, file or directory")->required();
  verb->add_flag("--special", options->special, "special tokens in the text become their ids");
  verb->add_flag("--bos", options->bos, "add the begin-of-sequence token where the model has one");
  verb->callback([&session, options] {
    session.run = [&session, options] { return tokenize(session, *options); };
  });

  auto model = std::make_shared<std::string>();
  verb = declare_verb(root, "detokenize", "a JSON array of ids on standard input to bytes",
                      "  echo '[1, 2]' | nautile detokenize ./model.gguf\n"
                      "  nautile tokenize M < text | nautile detokenize M");
  verb->add_option("MODEL", *model, "name, file or directory")->required();
  verb->callback([&session, model] {
    session.run = [&session, model] { return detokenize(session, *model); };
  });

  auto source = std::make_shared<std::string>();
  verb = declare_verb(
      root, "template", "render a chat template: request JSON on standard input to the prompt",
      "  echo "
      "'{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"add_generation_prompt\":true}' |"
      " nautile template smollm2\n  nautile template chat.jinja < request.json");
  verb->add_option("MODEL_OR_FILE", *source, "a model, or a .jinja file")->required();
  verb->callback([&session, source] {
    session.run = [&session, source] { return render_template(session, *source); };
  });
}

}  // namespace app
