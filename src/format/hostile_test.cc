// Every line of tests/golden/hostile/manifest.json of the kinds gguf, safetensors, hf and
// tokenizer, as its README defines "handled": a typed error that names the file, or a model that
// opens; in the time and the memory that a line may take. (Generating with the good ones is tested
// through the program.)
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/hostile_for_test.h"
#include "base/json.h"
#include "base/sanitized.h"
#include "format/byte_source.h"
#include "format/model_files.h"
#include "format/model_fuzz.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace format {
namespace {

using base::cpu_seconds;
using base::expand_hostile_cases;
using base::file_text;
using base::Json;
using base::memory_now;
using base::reset_peak_memory;
using base::sanitized;

constexpr double seconds_max = sanitized ? 5 : 1;
constexpr uint64_t memory_bytes_max = 64ull << 20;
constexpr size_t message_bytes_max = 4096;

std::string text_of(const Json& line, std::string_view key) {
  const Json* value = line.find(key);
  return value == nullptr || !value->is_string() ? "" : value->as_string();
}

// Compiles the tokenizer and encodes the text of the line.
base::Result<void> use_tokenizer(text::TokenizerSpec spec, const Json& line) {
  consume(spec);
  const auto size = static_cast<int32_t>(spec.tokens.size());
  ASSIGN(const auto tokenizer, text::Tokenizer::make(std::move(spec)));
  std::string text;
  const Json* times = line.find("times");
  for (int64_t i = 0; i < (times == nullptr ? 1 : times->as_integer()); ++i) {
    text += text_of(line, "text");
  }
  const auto ids = tokenizer->encode(text, {.parse_special = true});
  for (const int32_t id : ids) {
    EXPECT_GE(id, 0) << text_of(line, "file");
    EXPECT_LT(id, size) << text_of(line, "file");
  }
  if (const Json* expected = line.find("expected_ids")) {
    std::vector<int32_t> wanted;
    for (const Json& id : expected->as_array()) {
      wanted.push_back(static_cast<int32_t>(id.as_integer()));
    }
    EXPECT_EQ(ids, wanted) << text_of(line, "file");
  }
  return {};
}

// Compiles the chat template and renders a first chat.
base::Result<void> use_template(const std::string& source) {
  if (source.empty()) return {};
  ASSIGN(const auto compiled, text::ChatTemplate::compile(source));
  ASSIGN(const Json context,
         base::parse_json(R"({"messages":[{"role":"user","content":"Hello"}],"tools":null,
                              "add_generation_prompt":true,"bos_token":"","eos_token":""})",
                          "context"));
  ASSIGN(const text::Rendered rendered, compiled->render(context, 1'795'622'530));
  EXPECT_TRUE(base::is_utf8(rendered.text));
  EXPECT_EQ(rendered.text.find("class"), std::string::npos) << "nothing of Python's is there";
  return {};
}

// What a program does with a model before it serves it.
base::Result<void> use(const std::string& path, const std::string& kind, const Json& line) {
  ASSIGN(const auto model, ModelFiles::open(path));
  if (kind != "tokenizer") {
    for (const TensorInfo& tensor : model->tensors()) {
      std::vector<uint8_t> bytes(std::min<uint64_t>(tensor.bytes, 1 << 20));
      TRY(model->read(tensor, 0, bytes));
    }
    consume_bytes(model->metadata().dump());
  }
  if (kind == "gguf" || kind == "hf") {
    ASSIGN(const ModelConfig config, model->config());
    consume(config);
  }
  if (kind != "safetensors") {
    ASSIGN(text::TokenizerSpec spec, model->tokenizer());
    const std::string chat_template = spec.chat_template;
    TRY(use_tokenizer(std::move(spec), line));
    TRY(use_template(chat_template));
  }
  return {};
}

void expect_clear(const base::Error& error, const std::string& name) {
  EXPECT_TRUE(
      error.kind == base::ErrorKind::invalid_input || error.kind == base::ErrorKind::unsupported ||
      error.kind == base::ErrorKind::limit_exceeded || error.kind == base::ErrorKind::not_found)
      << name << ": " << error.message();
  const std::string message = error.message();
  EXPECT_TRUE(base::is_utf8(message)) << name;
  EXPECT_LT(message.size(), message_bytes_max) << name;
  for (const char c : message) EXPECT_FALSE(static_cast<unsigned char>(c) < 0x20) << name;
  const std::string base = std::filesystem::path(name).filename();
  const bool named = message.find(base) != std::string::npos ||
                     message.find(".json") != std::string::npos ||
                     message.find(".safetensors") != std::string::npos ||
                     message.find("pytorch_model.bin") != std::string::npos ||
                     message.find("chat template") != std::string::npos;
  EXPECT_TRUE(named) << name << ": " << message;
}

TEST(Hostile, EveryLineIsHandled) {
  const std::string cases = expand_hostile_cases("hostile", "gguf safetensors hf tokenizer");
  ASSERT_FALSE(cases.empty()) << "expand.py failed";
  const auto manifest = base::parse_json(
      file_text(std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/hostile/manifest.json"),
      "manifest.json");
  ASSERT_TRUE(manifest.has_value());
  int tried = 0;
  for (const Json& line : manifest->as_array()) {
    const std::string kind = text_of(line, "kind"), file = text_of(line, "file");
    if (kind != "gguf" && kind != "safetensors" && kind != "hf" && kind != "tokenizer") continue;
    if (line.find("heavy") != nullptr) continue;  // built only on demand
    ++tried;
    const Json* seconds = line.find("max_seconds");
    const Json* bytes = line.find("bytes");
    reset_peak_memory();
    const uint64_t calm = memory_now("VmRSS:");
    const double begin = cpu_seconds();
    const auto result = use(cases + "/" + file, kind, line);
    const double took = cpu_seconds() - begin;
    const uint64_t peak = memory_now("VmHWM:");
    const double limit_s = seconds == nullptr ? seconds_max : seconds->as_number();
    EXPECT_LT(took, sanitized ? std::max(limit_s, seconds_max) : limit_s) << file;
    if (!sanitized) {
      const uint64_t own = bytes == nullptr ? 0 : static_cast<uint64_t>(bytes->as_integer());
      EXPECT_LT(peak, calm + memory_bytes_max + own) << file;
    }
    const std::string expect = text_of(line, "expect");
    if (std::getenv("NAUTILE_HOSTILE_PRINT") != nullptr) {
      printf("%-48s %-13s %s\n", file.c_str(), expect.c_str(),
             result ? "ok" : result.error().message().c_str());
    }
    if (!result) expect_clear(result.error(), file);
    if (expect == "ok") {
      EXPECT_TRUE(result.has_value()) << file << ": " << result.error().message();
    } else if (expect == "reject") {
      EXPECT_FALSE(result.has_value()) << file << ": " << text_of(line, "what");
    }
  }
  EXPECT_GT(tried, 300);
}

}  // namespace
}  // namespace format
