#include "text/chat_template.h"

#include <algorithm>

#include "base/bytes.h"
#include "text/jinja_eval.h"
#include "text/jinja_parser.h"

namespace text {
namespace {

using base::ErrorKind;
using base::fail;

// Keys of the context whose strings are the model's own, not a person's.
bool is_trusted(std::string_view key) {
  constexpr std::string_view trusted[] = {"bos_token", "eos_token", "unk_token", "pad_token",
                                          "sep_token", "cls_token", "mask_token"};
  return std::find(std::begin(trusted), std::end(trusted), key) != std::end(trusted);
}

class JinjaTemplate final : public ChatTemplate {
 public:
  JinjaTemplate(jinja::Program program, const TemplateLimits& limits)
      : program_(std::move(program)), limits_(limits) {}

  base::Result<Rendered> render(const base::Json& context, int64_t now_unix) const override {
    if (!context.is_object()) {
      return fail(ErrorKind::internal, "the context of a chat template is an object");
    }
    jinja::Heap heap(limits_.memory_bytes_max);
    jinja::Evaluator evaluator(program_, limits_, heap, now_unix);
    jinja::Scope* globals = heap.scope(nullptr);
    // Only what the template names is looked at.
    for (jinja::NameId id = 0; id < program_.names.size(); ++id) {
      const base::Json* value = context.find(program_.names[id]);
      if (value == nullptr) continue;
      jinja::Value made;
      if (!jinja::value_of_json(evaluator, *value, !is_trusted(program_.names[id]), made)) {
        return fail(evaluator.error());
      }
      globals->set(id, std::move(made));
    }
    jinja::StrBuilder out(heap);
    if (!evaluator.run(globals, out)) return fail(evaluator.error());
    return finished(out);
  }

 private:
  static base::Result<Rendered> finished(jinja::StrBuilder& out) {
    Rendered rendered;
    for (const auto& span : out.user()) rendered.user_text.push_back({span.begin, span.end});
    rendered.text = std::move(out.bytes());
    if (!base::is_utf8(rendered.text)) {
      return fail(ErrorKind::invalid_input, "the chat template gives text that is not UTF-8");
    }
    return rendered;
  }

  jinja::Program program_;
  TemplateLimits limits_;
};

}  // namespace

base::Result<std::unique_ptr<const ChatTemplate>> ChatTemplate::compile(
    std::string_view source, const TemplateLimits& limits) {
  if (source.size() > limits.source_bytes_max) {
    return fail(ErrorKind::limit_exceeded,
                fmt::format("the chat template has {} bytes, at most {} are read", source.size(),
                            limits.source_bytes_max));
  }
  if (!base::is_utf8(source)) {
    return fail(ErrorKind::invalid_input, "the chat template is not UTF-8");
  }
  ASSIGN(jinja::Program program, jinja::parse(source, limits.depth_max));
  return std::unique_ptr<const ChatTemplate>(
      std::make_unique<JinjaTemplate>(std::move(program), limits));
}

}  // namespace text
