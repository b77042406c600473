// Every case of tests/golden/tokenizer and tests/golden/stream, from the vocabularies that their
// `meta` names (fetched by tools/fetch.py) through format and text to ids and back.
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <memory>
#include <sstream>
#include <string>

#include "base/json.h"
#include "format/byte_source.h"
#include "format/gguf.h"
#include "format/gguf_tokenizer.h"
#include "format/hf_tokenizer.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace {

using base::Json;
using Ids = std::vector<int32_t>;

std::string fetched(const std::string& name) {
  const char* set = std::getenv("NAUTILE_FETCH_DIR");
  const std::string folder = set ? set : std::string(NAUTILE_SOURCE_DIR) + "/build/fetched";
  return folder + "/" + name;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_TRUE(file.good()) << path << " cannot be read";
  return text.str();
}

Json read_json(const std::string& path) {
  auto json = base::parse_json(read_file(path), path);
  EXPECT_TRUE(json.has_value()) << json.error().message();
  return json ? std::move(*json) : Json();
}

Json golden(const std::string& name) {
  return read_json(std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/" + name);
}

Json added_token(int id, const char* content, bool special) {
  return Json::object(
      {{"id", id}, {"content", content}, {"special", special}, {"normalized", false}});
}

// The distill's vocabulary is Qwen3's with added tokens of its own and no normalizer.
void make_distill(Json& tokenizer) {
  Json::Array added;
  added.push_back(added_token(151643, "<｜end▁of▁sentence｜>", true));
  added.push_back(added_token(151644, "<｜User｜>", false));
  added.push_back(added_token(151645, "<｜Assistant｜>", false));
  added.push_back(added_token(151646, "<｜begin▁of▁sentence｜>", true));
  added.push_back(added_token(151647, "<|EOT|>", false));
  added.push_back(added_token(151648, "<think>", false));
  added.push_back(added_token(151649, "</think>", false));
  tokenizer.set("added_tokens", Json(std::move(added)));
  tokenizer.set("normalizer", Json());
}

base::Result<text::TokenizerSpec> load_spec(const std::string& name) {
  if (name == "deepseek-coder" || name == "deepseek-llm" || name == "qwen2" || name == "smollm2") {
    const std::string path = name == "smollm2" ? "starter/SmolLM2-135M-Instruct.Q4_1.gguf"
                                               : "vocabularies/" + name + ".gguf";
    ASSIGN(const auto source, format::open_file(fetched(path)));
    ASSIGN(const auto header, format::GgufHeader::parse(*source));
    return format::read_gguf_tokenizer(header, 0);
  }
  const bool distill = name == "deepseek-r1-qwen";  // from Qwen3's file, see make_distill
  const std::string folder = fetched("vocabularies/" + (distill ? "qwen3" : name)) + "/";
  format::HfTokenizerParts parts;
  parts.tokenizer = read_json(folder + "tokenizer.json");
  parts.tokenizer_config = read_json(folder + "tokenizer_config.json");
  if (distill && parts.tokenizer.is_object()) {
    make_distill(parts.tokenizer);
    parts.tokenizer_config = Json::object({{"bos_token", "<｜begin▁of▁sentence｜>"},
                                           {"eos_token", "<｜end▁of▁sentence｜>"},
                                           {"add_bos_token", true},
                                           {"tokenizer_class", "LlamaTokenizerFast"}});
  }
  return format::read_hf_tokenizer(std::move(parts));
}

std::unique_ptr<const text::Tokenizer> load(const std::string& name) {
  auto spec = load_spec(name);
  if (!spec) {
    ADD_FAILURE() << spec.error().message()
                  << "; tools/fetch.py vocabularies starter fetches what this test reads";
    return nullptr;
  }
  auto tokenizer = text::Tokenizer::make(std::move(*spec));
  EXPECT_TRUE(tokenizer.has_value()) << tokenizer.error().message();
  return tokenizer ? std::move(*tokenizer) : nullptr;
}

Ids ids_of(const Json& list) {
  Ids ids;
  for (const Json& id : list.as_array()) ids.push_back(static_cast<int32_t>(id.as_integer()));
  return ids;
}

std::string well_formed(const std::string& bytes) {
  text::Utf8Stream stream;
  std::string out;
  stream.push(bytes, out);
  stream.flush(out);
  return out;
}

class TokenizerGolden : public testing::TestWithParam<const char*> {};

void check_case(const text::Tokenizer& tokenizer, const Json& test) {
  const std::string& text = test.find("text")->as_string();
  SCOPED_TRACE(test.find("name")->as_string() + ": " + text.substr(0, 200));
  const auto expected = [&](const char* key) {
    const Json* list = test.find(key);
    return ids_of(list ? *list : *test.find("ids"));
  };
  EXPECT_EQ(tokenizer.encode(text, {}), expected("ids"));
  EXPECT_EQ(tokenizer.encode(text, {.parse_special = true}), expected("ids_special"));
  EXPECT_EQ(tokenizer.encode(text, {.parse_added = false}), expected("ids_plain"));
  if (test.find("ids_hf")) {
    EXPECT_EQ(tokenizer.encode(text, {.parse_shaped = true}), expected("ids_hf"));
  }
  const std::string decoded = test.find("decoded")->as_string();
  EXPECT_EQ(well_formed(tokenizer.decode(expected("ids"))), decoded);
  const Json* special = test.find("decoded_special");
  EXPECT_EQ(well_formed(tokenizer.decode(expected("ids_special"))),
            special ? special->as_string() : decoded);
  // A template that is user text from one end to the other is plain encoding.
  const text::Tokenizer::Span all[] = {{0, text.size()}};
  EXPECT_EQ(tokenizer.encode_rendered(text, {}), expected("ids_special"));
  for (const int32_t id : tokenizer.encode_rendered(text, all)) {
    EXPECT_FALSE(tokenizer.is_control(id)) << id;
  }
}

TEST_P(TokenizerGolden, EveryCase) {
  const Json file = golden(std::string("tokenizer/") + GetParam() + ".json");
  const auto tokenizer = load(GetParam());
  ASSERT_TRUE(tokenizer);
  for (const Json& test : file.find("cases")->as_array()) check_case(*tokenizer, test);
  for (const Json& test : file.find("disputed")->as_array()) {
    SCOPED_TRACE(test.find("text")->as_string());
    EXPECT_EQ(tokenizer->encode(test.find("text")->as_string(), {}), ids_of(*test.find("hf")));
  }
  const Json& meta = *file.find("meta");
  EXPECT_EQ(tokenizer->spec().eos_id, meta.find("eos_id")->as_integer());
  EXPECT_TRUE(tokenizer->is_end(tokenizer->spec().eos_id));
  Ids with_bos = tokenizer->encode("x", {});
  if (meta.find("add_bos")->as_bool()) {
    with_bos.insert(with_bos.begin(), static_cast<int32_t>(meta.find("bos_id")->as_integer()));
  }
  EXPECT_EQ(tokenizer->encode("x", {.add_bos = true}), with_bos);
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, TokenizerGolden,
                         testing::Values("deepseek-coder", "deepseek-llm", "deepseek-r1-qwen",
                                         "deepseek-v3", "llama3_1", "qwen2", "qwen3", "smollm2"));

class StreamGolden : public testing::TestWithParam<const char*> {};

TEST_P(StreamGolden, EveryCase) {
  const Json file = golden(std::string("stream/") + GetParam() + ".json");
  const auto tokenizer = load(GetParam());
  ASSERT_TRUE(tokenizer);
  for (const Json& test : file.find("cases")->as_array()) {
    SCOPED_TRACE(test.find("name")->as_string());
    const Ids ids = ids_of(*test.find("ids"));
    for (const bool show : {true, false}) {
      text::Detokenizer stream(*tokenizer, show);
      const Json* skip = test.find("pieces_skip");
      const Json& pieces = show || !skip ? *test.find("pieces") : *skip;
      for (size_t i = 0; i < ids.size(); ++i) {
        EXPECT_EQ(stream.push(ids[i]), pieces.as_array()[i].as_string()) << "id " << i;
      }
      const Json* end_skip = test.find("end_skip");
      const Json& end = show || !end_skip ? *test.find("end") : *end_skip;
      EXPECT_EQ(stream.flush(), end.as_string());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, StreamGolden, testing::Values("deepseek-v3", "smollm2"));

}  // namespace
