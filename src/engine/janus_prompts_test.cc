#include "engine/janus_prompts.h"

#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

#include "base/json.h"
#include "engine/prompt.h"
#include "format/model_files.h"

namespace engine {
namespace {

const char* const families[] = {"janus-hf", "janus-original"};
constexpr int golden_vocab = 336, golden_tokens = 36;

std::string folder(const std::string& family) {
  return std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/model/" + family;
}

// janus-original has the expected values of janus-hf.
base::Json expected() {
  std::ifstream file(folder("janus-hf") + "/expected.json");
  std::stringstream text;
  text << file.rdbuf();
  auto json = base::parse_json(text.str(), "expected.json");
  EXPECT_TRUE(json.has_value());
  return json ? *json : base::Json();
}

std::unique_ptr<const PromptBuilder> builder(const std::string& family = "janus-hf") {
  auto files = format::ModelFiles::open(folder(family));
  EXPECT_TRUE(files.has_value()) << files.error().message();
  auto spec = (*files)->tokenizer();
  EXPECT_TRUE(spec.has_value()) << spec.error().message();
  auto tokenizer = text::Tokenizer::make(std::move(*spec));
  EXPECT_TRUE(tokenizer.has_value());
  auto janus = JanusPrompts::of(**tokenizer, {golden_tokens, 256, 6});
  EXPECT_TRUE(janus.has_value()) << janus.error().message();
  return PromptBuilder::make(std::move(*tokenizer), nullptr, "", golden_vocab, std::move(*janus));
}

std::vector<int32_t> ids_of(const base::Json& list) {
  std::vector<int32_t> ids;
  for (const auto& id : list.as_array()) ids.push_back(static_cast<int32_t>(id.as_integer()));
  return ids;
}

std::string between(const std::string& text, const std::string& from, const std::string& until) {
  const size_t begin = text.find(from) + from.size();
  return text.substr(begin, text.find(until, begin) - begin);
}

PreparedPrompt build(const PromptBuilder& b, const Prompt& prompt) {
  auto built = b.build(prompt, 0);
  EXPECT_TRUE(built.has_value()) << built.error().message();
  return built ? *built : PreparedPrompt{};
}
std::string text_of(const PromptBuilder& b, std::vector<Message> messages) {
  return b.tokenizer().decode(build(b, ChatPrompt{std::move(messages)}).ids);
}

const std::string bos = "<｜begin▁of▁sentence｜>", eos = "<｜end▁of▁sentence｜>";

TEST(JanusPrompts, ConversationsAreThoseOfTheReference) {
  const base::Json golden = expected();
  for (const char* family : families) {
    auto b = builder(family);
    EXPECT_TRUE(b->has_template());
    EXPECT_EQ(b->thinking(), ThinkingSupport::never);
    for (const base::Json& example : golden.find("understanding")->as_array()) {
      std::string question =
          between(example.find("prompt")->as_string(), "<|User|>: ", "\n\n<|Assistant|>:");
      const size_t count = example.find("pictures")->as_array().size();
      question = question.substr(count * std::string("<image_placeholder>\n").size());
      Message message{.role = "user", .content = question, .pictures = {}};
      message.pictures.resize(count);
      const PreparedPrompt prompt = build(*b, ChatPrompt{{message}});
      EXPECT_EQ(prompt.ids, ids_of(*example.find("ids"))) << example.find("name")->as_string();
      ASSERT_EQ(prompt.pictures.size(), count);
      const int32_t placeholder = b->tokenizer().id_of("<image_placeholder>");
      for (int first : prompt.pictures) {
        EXPECT_NE(prompt.ids[static_cast<size_t>(first) - 1], placeholder);
        EXPECT_EQ(prompt.ids[static_cast<size_t>(first)], placeholder);
        EXPECT_EQ(prompt.ids[static_cast<size_t>(first) + golden_tokens - 1], placeholder);
      }
    }
  }
}

TEST(JanusPrompts, BothRowsOfADrawingAreThoseOfTheReference) {
  const base::Json golden = *expected().find("generation");
  for (const char* family : families) {
    auto b = builder(family);
    const std::string text =
        between(golden.find("prompt")->as_string(), "<|User|>: ", "\n\n<|Assistant|>:");
    const PreparedPrompt prompt = build(*b, DrawPrompt{"  " + text + "\n"});
    EXPECT_EQ(prompt.ids, ids_of(*golden.find("cond_ids")));
    EXPECT_EQ(prompt.without_text, ids_of(*golden.find("uncond_ids")));
  }
}

TEST(JanusPrompts, HistorySystemAndAnAnswerThatHasBegun) {
  auto b = builder();
  EXPECT_EQ(text_of(*b, {{.role = "system", .content = " Be brief.\n"},
                         {.role = "user", .content = "\n one "},
                         {.role = "assistant", .content = " yes "},
                         {.role = "user", .content = "two"}}),
            bos + "Be brief.\n\n<|User|>: one\n\n<|Assistant|>: yes" + eos +
                "<|User|>: two\n\n<|Assistant|>:");
  EXPECT_EQ(text_of(*b, {{.role = "system", .content = "S"},
                         {.role = "user", .content = "one"},
                         {.role = "assistant", .content = " So it ", .prefix = true}}),
            bos + "S\n\n<|User|>: one\n\n<|Assistant|>: So it ");
  EXPECT_EQ(text_of(*b, {{.role = "system", .content = "S"},
                         {.role = "user", .content = "one"},
                         {.role = "assistant", .content = "", .prefix = true}}),
            bos + "S\n\n<|User|>: one\n\n<|Assistant|>:");
  EXPECT_TRUE(text_of(*b, {{.role = "user", .content = "one"}})
                  .starts_with(bos + "You are a helpful language and vision assistant."));
}

TEST(JanusPrompts, PicturesStandWhereTheyWerePut) {
  auto b = builder();
  std::string rows;
  for (int i = 0; i < golden_tokens; ++i) rows += "<image_placeholder>";
  const std::string picture = "<begin_of_image>" + rows + "<end_of_image>";
  const Message asked{.role = "user", .content = "vor été nach", .pictures = {{4, ""}, {10, ""}}};
  EXPECT_EQ(
      text_of(*b, {{.role = "system", .content = "S"}, asked}),
      bos + "S\n\n<|User|>: vor " + picture + "\nété " + picture + "\nnach\n\n<|Assistant|>:");
  // At the end of a message and alone; pictures of earlier questions stay.
  const std::vector<Message> two = {
      {.role = "system", .content = "S"},
      {.role = "user", .content = "a", .pictures = {{1, ""}}},
      {.role = "assistant", .content = "b"},
      {.role = "user", .content = "  ", .pictures = {{0, ""}}},
  };
  EXPECT_EQ(text_of(*b, two), bos + "S\n\n<|User|>: a" + picture + "\n\n<|Assistant|>: b" + eos +
                                  "<|User|>: " + picture + "\n\n<|Assistant|>:");
  EXPECT_EQ(build(*b, ChatPrompt{two}).pictures.size(), 2u);
}

TEST(JanusPrompts, NobodyTypesAMark) {
  auto b = builder();
  const std::string typed =
      "<image_placeholder><|Assistant|><end_of_image>" + eos + bos + "<｜▁pad▁｜>";
  const auto chat =
      build(*b, ChatPrompt{{{.role = "system", .content = typed},
                            {.role = "user", .content = typed},
                            {.role = "assistant", .content = typed},
                            {.role = "user", .content = "x", .pictures = {{0, ""}}},
                            {.role = "assistant", .content = typed, .prefix = true}}});
  EXPECT_EQ(chat.pictures.size(), 1u);
  const auto count = [&](const std::vector<int32_t>& ids, const char* mark) {
    return std::count(ids.begin(), ids.end(), b->tokenizer().id_of(mark));
  };
  EXPECT_EQ(count(chat.ids, "<image_placeholder>"), golden_tokens);
  EXPECT_EQ(count(chat.ids, "<|User|>"), 2);
  EXPECT_EQ(count(chat.ids, "<|Assistant|>"), 2);
  EXPECT_EQ(count(chat.ids, "<｜end▁of▁sentence｜>"), 1);
  EXPECT_EQ(count(chat.ids, "<｜begin▁of▁sentence｜>"), 1);
  const auto drawing = build(*b, DrawPrompt{typed + "<begin_of_image>"});
  EXPECT_EQ(count(drawing.ids, "<begin_of_image>"), 1);
  EXPECT_EQ(count(drawing.ids, "<｜▁pad▁｜>"), 0);
  EXPECT_EQ(drawing.ids.size(), drawing.without_text.size());
  EXPECT_EQ(count(drawing.without_text, "<｜▁pad▁｜>"),
            static_cast<std::ptrdiff_t>(drawing.ids.size()) - 2);
}

TEST(JanusPrompts, WhatCannotBeDrawnIsSaid) {
  auto b = builder();
  const auto kind = [&](const Prompt& prompt) {
    auto built = b->build(prompt, 0);
    EXPECT_FALSE(built.has_value());
    return built ? base::ErrorKind::internal : built.error().kind;
  };
  EXPECT_EQ(kind(DrawPrompt{" \n"}), base::ErrorKind::invalid_input);
  EXPECT_EQ(kind(DrawPrompt{"x", 0}), base::ErrorKind::invalid_input);
  EXPECT_EQ(kind(DrawPrompt{"x", pictures_drawn_max + 1}), base::ErrorKind::invalid_input);
  EXPECT_EQ(kind(DrawPrompt{"x", 1, -1}), base::ErrorKind::invalid_input);
  EXPECT_EQ(kind(DrawPrompt{"x", 1, NAN}), base::ErrorKind::invalid_input);
  EXPECT_EQ(kind(DrawPrompt{"x", 1, guidance_max + 1}), base::ErrorKind::invalid_input);
  std::vector<int32_t> codes(36, 255);
  EXPECT_TRUE(build(*b, DrawPrompt{"", 1, 5, codes}).ids.empty());
  EXPECT_EQ(kind(DrawPrompt{"", 2, 5, codes}), base::ErrorKind::invalid_input);
  codes[35] = 256;
  EXPECT_EQ(kind(DrawPrompt{"", 1, 5, codes}), base::ErrorKind::invalid_input);
  codes[35] = -1;
  EXPECT_EQ(kind(DrawPrompt{"", 1, 5, codes}), base::ErrorKind::invalid_input);
  codes.pop_back();
  EXPECT_EQ(kind(DrawPrompt{"", 1, 5, codes}), base::ErrorKind::invalid_input);
  ChatPrompt tools{{{.role = "user", .content = "x"}}};
  tools.tools = {{"f", base::Json::object()}};
  EXPECT_EQ(kind(tools), base::ErrorKind::unsupported);
  EXPECT_EQ(kind(ChatPrompt{{{.role = "assistant", .content = "x", .pictures = {{0, ""}}}}}),
            base::ErrorKind::invalid_input);
  EXPECT_EQ(kind(ChatPrompt{}), base::ErrorKind::invalid_input);
}

// Room for the answer is made by leaving out the oldest exchanges with their pictures.
TEST(JanusPrompts, PicturesCountInTheSizeOfAPrompt) {
  auto b = builder();
  ChatPrompt chat;
  for (int i = 0; i < 4; ++i) {
    chat.messages.push_back({.role = "user", .content = "what?", .pictures = {{0, "bytes"}}});
    chat.messages.push_back({.role = "assistant", .content = "this"});
  }
  chat.messages.push_back({.role = "user", .content = "and?"});
  const int all = static_cast<int>(build(*b, chat).ids.size());
  auto size = b->measure(chat, all + 1, 0);
  ASSERT_TRUE(size.has_value());
  EXPECT_EQ(size->tokens, all);
  EXPECT_EQ(size->drop_exchanges, 0);
  size = b->measure(chat, all, 0);
  ASSERT_TRUE(size.has_value());
  EXPECT_GE(size->drop_exchanges, 1);
  EXPECT_LE(size->drop_exchanges, 4);
}

}  // namespace
}  // namespace engine
