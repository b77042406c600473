#include "engine/prompt.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "engine/picture_checks.h"

namespace engine {
namespace {

// What an answer needs at least when the oldest exchanges are left out to make room.
constexpr int answer_room_tokens_max = 1024;

// A conversation with which templates are tried out.
ChatPrompt small_probe() { return {{{.role = "user", .content = "?"}}}; }

base::Error no_tool_calls() {
  return {base::ErrorKind::unsupported, "this model knows no form for tool calls",
          "its chat template shows none that is read here",
          "leave the tools out, or choose another model"};
}

void append_user_text(text::Rendered& rendered, const std::string& typed) {
  if (typed.empty()) return;
  size_t begin = rendered.text.size();
  rendered.text += typed;
  rendered.user_text.push_back({begin, rendered.text.size()});
}

// The messages without the `dropped` oldest exchanges; system messages stay.
std::vector<Message> without_oldest(const std::vector<Message>& messages, int dropped) {
  std::vector<Message> kept;
  int users = 0;
  for (const Message& m : messages) {
    users += m.role == "user";
    if (m.role == "system" || users > dropped) kept.push_back(m);
  }
  return kept;
}

}  // namespace

std::unique_ptr<const PromptBuilder> PromptBuilder::make(
    std::shared_ptr<const text::Tokenizer> tokenizer,
    std::shared_ptr<const text::ChatTemplate> chat_template, std::string_view template_source,
    int vocab, std::optional<JanusPrompts> janus) {
  auto builder = std::unique_ptr<PromptBuilder>(new PromptBuilder());
  builder->tokenizer_ = std::move(tokenizer);
  builder->vocab_ = vocab;
  const text::Tokenizer& t = *builder->tokenizer_;
  builder->markers_ = text::ThinkMarkers::of(t);
  if (janus) {
    builder->janus_ = std::move(janus);
    return builder;
  }
  builder->chat_template_ = std::move(chat_template);
  // DeepSeek's turn marks together with <think>: R1 and its distills, whatever they are built on.
  // V3.1 and later have them too, but they are hybrids: their switch is called `thinking`.
  builder->r1_family_ = builder->markers_.close_id >= 0 && t.id_of("<｜User｜>") >= 0 &&
                        !builder->switched_by("thinking");
  builder->thinking_ = builder->detect_thinking(template_source);
  if (builder->chat_template_) {
    builder->tools_ = ToolPrompts::of(t, template_source, [&](base::Json context) {
      return builder->render_with(*builder->chat_template_, std::move(context),
                                  Thinking::by_default, nullptr, 0);
    });
  }
  return builder;
}

bool PromptBuilder::switched_by(std::string_view argument) const {
  if (!chat_template_) return false;
  auto with = [&](bool value) {
    ChatPrompt probe = small_probe();
    probe.template_arguments = base::Json::object();
    probe.template_arguments.set(argument, value);
    return render(probe, Thinking::by_default, 0);
  };
  auto on = with(true), off = with(false);
  return on && off && on->text != off->text;
}

ThinkingSupport PromptBuilder::detect_thinking(std::string_view template_source) const {
  if (!chat_template_) return ThinkingSupport::never;
  // A fixed time: a template that prints the date must not look like one that thinks.
  auto on = render(small_probe(), Thinking::on, 0);
  auto off = render(small_probe(), Thinking::off, 0);
  if (on && off && on->text != off->text) return ThinkingSupport::optional;
  bool mentions = template_source.find(markers_.close) != std::string_view::npos;
  return mentions ? ThinkingSupport::always : ThinkingSupport::never;
}

base::Result<text::Rendered> PromptBuilder::render(const ChatPrompt& prompt, Thinking thinking,
                                                   int64_t now_unix) const {
  const auto context = [&](const std::vector<Message>& messages, base::Json tools) {
    return base::Json::object(
        {{"messages", tools_.messages(messages)}, {"tools", std::move(tools)}});
  };
  const auto by_file = [&](const std::vector<Message>& messages, base::Json tools) {
    return render_with(*chat_template_, context(messages, std::move(tools)), thinking,
                       prompt.template_arguments, now_unix);
  };
  const text::ChatTemplate* own = tools_.own_template();
  base::Json tools = tools_.definitions(prompt);
  if (own == nullptr || !ToolPrompts::involved(prompt)) {
    return by_file(prompt.messages, std::move(tools));
  }
  ASSIGN(text::Rendered rendered, render_with(*own, context(prompt.messages, std::move(tools)),
                                              thinking, prompt.template_arguments, now_unix));
  // After results the answer follows directly; otherwise it is opened as the file opens it.
  if (prompt.messages.empty() || prompt.messages.back().role != "tool") {
    ASSIGN(const text::Rendered opened, by_file(small_probe().messages, nullptr));
    if (!opened.user_text.empty()) rendered.text += opened.text.substr(opened.user_text.back().end);
  }
  return rendered;
}

base::Result<text::Rendered> PromptBuilder::render_with(const text::ChatTemplate& with,
                                                        base::Json context, Thinking thinking,
                                                        const base::Json& arguments,
                                                        int64_t now_unix) const {
  const text::TokenizerSpec& spec = tokenizer_->spec();
  auto literal = [&](int32_t id) {
    return id >= 0 ? std::string(tokenizer_->bytes(id)) : std::string();
  };
  context.set("documents", nullptr);
  context.set("add_generation_prompt", true);
  context.set("bos_token", literal(spec.bos_id));
  context.set("eos_token", literal(spec.eos_id));
  if (thinking != Thinking::by_default) {
    // Two names are in use: Qwen's and DeepSeek's.
    context.set("enable_thinking", thinking == Thinking::on);
    context.set("thinking", thinking == Thinking::on);
  }
  if (arguments.is_object()) {
    for (const auto& [key, value] : arguments.as_object()) {
      if (key == "messages" || key == "tools" || key == "add_generation_prompt") {
        return base::fail(base::ErrorKind::invalid_input,
                          "a template argument may not be called " + base::shown_name(key));
      }
      context.set(key, value);
    }
  }
  return with.render(context, now_unix);
}

bool PromptBuilder::ends_in_reasoning(const text::Rendered& rendered) const {
  if (thinking_ == ThinkingSupport::never) return false;
  // Only what the template wrote after the last text of a person: they may type "<think>" too.
  size_t from = rendered.user_text.empty() ? 0 : rendered.user_text.back().end;
  std::string_view tail = std::string_view(rendered.text).substr(from);
  size_t open = tail.rfind(markers_.open);
  size_t close = tail.rfind(markers_.close);
  return open != std::string_view::npos && (close == std::string_view::npos || close < open);
}

void PromptBuilder::open_or_close_thinking(text::Rendered& rendered, Thinking thinking) const {
  if (thinking_ != ThinkingSupport::always) return;
  bool open = ends_in_reasoning(rendered);
  if (thinking == Thinking::off) {
    // These models have no switch; an empty thought is the known way around it.
    rendered.text += open ? "\n</think>\n\n" : "<think>\n\n</think>\n\n";
  } else if (!open && r1_family_) {
    // DeepSeek's advice: every answer is made to begin with it. (First templates lacked it.)
    rendered.text += "<think>\n";
  }
}

bool PromptBuilder::continue_answer(text::Rendered& rendered, const Message& begun) const {
  if (ends_in_reasoning(rendered)) {
    append_user_text(rendered, begun.reasoning_content);
    if (begun.content.empty()) return true;
    rendered.text += "\n</think>\n\n";
  }
  append_user_text(rendered, begun.content);
  return false;
}

base::Result<PreparedPrompt> PromptBuilder::build_janus(const ChatPrompt& prompt) const {
  if (prompt.messages.empty()) {
    return base::fail(base::ErrorKind::invalid_input, "there are no messages");
  }
  if (ToolPrompts::involved(prompt)) return base::fail(no_tool_calls());
  TRY(check_pictures(prompt));
  ASSIGN(JanusPrompts::Chat chat, janus_->chat(*tokenizer_, prompt.messages));
  PreparedPrompt prepared;
  prepared.ids = std::move(chat.ids);
  prepared.pictures = std::move(chat.pictures);
  return prepared;
}

base::Result<PreparedPrompt> PromptBuilder::build_drawing(const DrawPrompt& prompt) const {
  auto bad = [](std::string what) {
    return base::fail(base::ErrorKind::invalid_input, std::move(what));
  };
  if (!janus_) {
    return base::fail(base::ErrorKind::unsupported, "this model cannot draw", "",
                      "choose a model that draws, such as Janus-Pro");
  }
  if (prompt.pictures < 1 || prompt.pictures > pictures_drawn_max) {
    return bad(fmt::format("between 1 and {} pictures can be drawn at a time", pictures_drawn_max));
  }
  if (!std::isfinite(prompt.guidance) || prompt.guidance < 0 || prompt.guidance > guidance_max) {
    return bad(fmt::format("guidance must be between 0 and {}", guidance_max));
  }
  PreparedPrompt prepared;
  const PictureShape& shape = janus_->shape();
  if (!prompt.codes.empty()) {
    const auto needed = static_cast<size_t>(shape.grid) * static_cast<size_t>(shape.grid);
    if (prompt.codes.size() != needed) {
      return bad(fmt::format("a picture has {} codes, not {}", needed, prompt.codes.size()));
    }
    for (int32_t code : prompt.codes) {
      if (code < 0 || code >= shape.codes) {
        return bad(
            fmt::format("{} is no code of a picture: they are 0 to {}", code, shape.codes - 1));
      }
    }
    if (prompt.pictures != 1) return bad("codes are those of one picture");
    return prepared;
  }
  if (std::all_of(prompt.text.begin(), prompt.text.end(),
                  [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); })) {
    return bad("the prompt is empty");
  }
  ASSIGN(JanusPrompts::Drawing drawing, janus_->drawing(*tokenizer_, prompt.text));
  prepared.ids = std::move(drawing.with_text);
  prepared.without_text = std::move(drawing.without_text);
  return prepared;
}

base::Result<PreparedPrompt> PromptBuilder::build_chat(const ChatPrompt& prompt,
                                                       int64_t now_unix) const {
  if (janus_) return build_janus(prompt);
  if (has_pictures(prompt)) {
    return base::fail(base::ErrorKind::unsupported, "this model cannot see pictures", "",
                      "leave them out, or choose a model that sees, such as Janus-Pro");
  }
  if (!chat_template_) {
    return base::fail(base::ErrorKind::unsupported, "this model has no chat template",
                      "its file carries none", "use /v1/completions, or another model");
  }
  if (prompt.messages.empty()) {
    return base::fail(base::ErrorKind::invalid_input, "there are no messages");
  }
  const bool with_tools = ToolPrompts::involved(prompt);
  if (with_tools && !tools_.supported()) {
    return base::fail(no_tool_calls());
  }
  ChatPrompt closed = prompt;
  std::optional<Message> begun;
  if (closed.messages.back().prefix && closed.messages.back().role == "assistant") {
    begun = std::move(closed.messages.back());
    closed.messages.pop_back();
  }
  Thinking thinking = prompt.thinking;
  // The template of a distill may close the thinking unless it is asked for; R1 always thinks.
  Thinking asked =
      thinking == Thinking::by_default && r1_family_ && thinking_ == ThinkingSupport::optional
          ? Thinking::on
          : thinking;
  ASSIGN(text::Rendered rendered, render(closed, asked, now_unix));
  const bool after_results = !closed.messages.empty() && closed.messages.back().role == "tool";
  if (!after_results) open_or_close_thinking(rendered, thinking);
  PreparedPrompt prepared;
  // Also where none may be called: a call that is written all the same is no content.
  if (with_tools || (tools_.supported() && !prompt.tools.empty())) {
    prepared.tools = tools_.use(prompt);
    prepared.opening = tools_.opening(prompt, *tokenizer_);
  }
  if (thinking_ != ThinkingSupport::never) {
    bool inside = begun ? continue_answer(rendered, *begun) : ends_in_reasoning(rendered);
    prepared.start = inside ? ThinkingStart::inside : ThinkingStart::outside;
    // An answer that has begun does not open its thinking any more.
    if (begun && !begun->content.empty()) prepared.start = ThinkingStart::never;
  } else if (begun) {
    append_user_text(rendered, begun->content);
  }
  std::vector<text::Tokenizer::Span> spans;
  for (const auto& span : rendered.user_text) spans.push_back({span.begin, span.end});
  prepared.ids = tokenizer_->encode_rendered(rendered.text, spans);
  const text::TokenizerSpec& spec = tokenizer_->spec();
  bool lacks_bos = prepared.ids.empty() || prepared.ids.front() != spec.bos_id;
  if (spec.add_bos && spec.bos_id >= 0 && lacks_bos) {
    prepared.ids.insert(prepared.ids.begin(), spec.bos_id);
  }
  return prepared;
}

base::Result<PreparedPrompt> PromptBuilder::build(const Prompt& prompt, int64_t now_unix) const {
  PreparedPrompt prepared;
  if (const auto* chat = std::get_if<ChatPrompt>(&prompt)) {
    ASSIGN(prepared, build_chat(*chat, now_unix));
  } else if (const auto* draw = std::get_if<DrawPrompt>(&prompt)) {
    ASSIGN(prepared, build_drawing(*draw));
    if (!draw->codes.empty()) return prepared;
    TRY(check_ids(prepared.without_text));
  } else if (const auto* plain = std::get_if<TextPrompt>(&prompt)) {
    prepared.ids =
        tokenizer_->encode(plain->text, {.parse_special = true, .add_bos = plain->add_bos});
    // An empty prompt asks for text from the model's own beginning.
    if (prepared.ids.empty() && tokenizer_->spec().bos_id >= 0) {
      prepared.ids.push_back(tokenizer_->spec().bos_id);
    }
  } else {
    prepared.ids = std::get<IdsPrompt>(prompt).ids;
  }
  if (prepared.ids.empty()) {
    return base::fail(base::ErrorKind::invalid_input, "the prompt is empty");
  }
  TRY(check_ids(prepared.ids));
  return prepared;
}

base::Result<void> PromptBuilder::check_ids(const std::vector<int32_t>& ids) const {
  for (int32_t id : ids) {
    if (id < 0 || id >= vocab_) {
      return base::fail(base::ErrorKind::invalid_input,
                        fmt::format("token {} is not in the vocabulary", id),
                        fmt::format("it has the ids 0 to {}", vocab_ - 1));
    }
  }
  return {};
}

base::Result<PromptSize> PromptBuilder::measure(const ChatPrompt& prompt, int context_tokens,
                                                int64_t now_unix) const {
  ASSIGN(PreparedPrompt whole, build(prompt, now_unix));
  PromptSize size;
  size.tokens = static_cast<int>(whole.ids.size());
  size.context_tokens = context_tokens;
  if (size.tokens < context_tokens) return size;
  int room = std::min(answer_room_tokens_max, context_tokens / 4);
  ChatPrompt shorter = prompt;
  auto fits = [&](int dropped) {
    shorter.messages = without_oldest(prompt.messages, dropped);
    auto built = build(shorter, now_unix);
    return built && static_cast<int>(built->ids.size()) + room <= context_tokens;
  };
  auto users = static_cast<int>(std::count_if(prompt.messages.begin(), prompt.messages.end(),
                                              [](const Message& m) { return m.role == "user"; }));
  size.drop_exchanges = -1;
  if (users < 2 || !fits(users - 1)) return size;
  int low = 0;           // does not fit
  int high = users - 1;  // fits
  while (high - low > 1) {
    int middle = low + (high - low) / 2;
    (fits(middle) ? high : low) = middle;
  }
  size.drop_exchanges = high;
  return size;
}

}  // namespace engine
