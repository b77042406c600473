// The tiny models of tests/golden/model from both containers, and single rules of the readers.
#include "format/model_files.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <map>

#include "format/decoder_check.h"
#include "format/hf_config.h"
#include "format/hf_tokenizer.h"
#include "format/model_names.h"
#include "format/opened.h"

namespace format {
namespace {

namespace fs = std::filesystem;
using base::Json;

const std::string goldens = std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/model/";

std::unique_ptr<ModelFiles> open(const std::string& path) {
  auto model = ModelFiles::open(path);
  EXPECT_TRUE(model.has_value()) << path << ": " << model.error().message();
  return model ? std::move(*model) : nullptr;
}

std::vector<uint8_t> bytes_of(const ModelFiles& model, const TensorInfo& tensor) {
  std::vector<uint8_t> bytes(tensor.bytes);
  EXPECT_TRUE(model.read(tensor, 0, bytes).has_value());
  return bytes;
}

// The same model in both containers: the same numbers, names and shapes.
class Twins : public testing::TestWithParam<const char*> {};

TEST_P(Twins, StateTheSameModel) {
  const auto hf = open(goldens + GetParam());
  const auto gguf = open(goldens + GetParam() + "/model.gguf");
  ASSERT_TRUE(hf && gguf);
  const auto a = hf->config(), b = gguf->config();
  ASSERT_TRUE(a.has_value()) << a.error().message();
  ASSERT_TRUE(b.has_value()) << b.error().message();
  EXPECT_EQ(a->architecture, b->architecture);
  EXPECT_EQ(a->hidden, b->hidden);
  EXPECT_EQ(a->layers, b->layers);
  EXPECT_EQ(a->heads, b->heads);
  EXPECT_EQ(a->kv_heads, b->kv_heads);
  EXPECT_EQ(a->head_dim, b->head_dim);
  EXPECT_EQ(a->ffn, b->ffn);
  EXPECT_EQ(a->vocab, b->vocab);
  EXPECT_EQ(a->context_tokens_max, b->context_tokens_max);
  EXPECT_EQ(a->parameters, b->parameters);
  EXPECT_EQ(a->qkv_bias, b->qkv_bias);
  EXPECT_EQ(a->qk_norm, b->qk_norm);
  EXPECT_EQ(a->tied_head, b->tied_head);
  EXPECT_FLOAT_EQ(static_cast<float>(a->rms_eps), static_cast<float>(b->rms_eps));
  EXPECT_EQ(a->rope_base, b->rope_base);
  EXPECT_NEAR(a->rope_scaling.attention_factor, b->rope_scaling.attention_factor, 1e-7);
  EXPECT_EQ(a->quantization, "BF16");
  EXPECT_EQ(b->quantization, "BF16");
  EXPECT_EQ(a->sampling_defaults, b->sampling_defaults);
  EXPECT_EQ(a->sampling_defaults.find("top_p")->as_number(), 0.95);
  for (const TensorInfo& tensor : hf->tensors()) {
    const TensorInfo* twin = gguf->find(tensor.name);
    ASSERT_NE(twin, nullptr) << tensor.name;
    EXPECT_EQ(tensor.shape, twin->shape) << tensor.name;
  }
  // Not permuted and stored as it is in both.
  const std::string embedding = "model.embed_tokens.weight";
  EXPECT_EQ(bytes_of(*hf, *hf->find(embedding)), bytes_of(*gguf, *gguf->find(embedding)));
}

TEST_P(Twins, StateTheSameTokenizer) {
  const auto hf = open(goldens + GetParam());
  const auto gguf = open(goldens + GetParam() + "/model.gguf");
  ASSERT_TRUE(hf && gguf);
  const auto a = hf->tokenizer(), b = gguf->tokenizer();
  ASSERT_TRUE(a.has_value()) << a.error().message();
  ASSERT_TRUE(b.has_value()) << b.error().message();
  // The converter fills up to the rows of the embedding with [PADn].
  ASSERT_LE(a->tokens.size(), b->tokens.size());
  for (size_t id = 0; id < a->tokens.size(); ++id) EXPECT_EQ(a->tokens[id], b->tokens[id]);
  EXPECT_EQ(a->merges, b->merges);
  EXPECT_EQ(a->bos_id, b->bos_id);
  EXPECT_EQ(a->eos_id, b->eos_id);
  EXPECT_EQ(a->add_bos, b->add_bos);
  EXPECT_EQ(a->add_eos, b->add_eos);
  // The GGUF of qwen2 has a filler named <|endoftext|> among its control tokens.
  for (const int32_t id : a->end_ids) {
    EXPECT_NE(std::find(b->end_ids.begin(), b->end_ids.end(), id), b->end_ids.end()) << id;
  }
  EXPECT_FALSE(a->pre_tokenizer.empty());
  EXPECT_FALSE(b->pre_tokenizer_name.empty());
  EXPECT_TRUE(b->pre_tokenizer_guess.empty());
}

INSTANTIATE_TEST_SUITE_P(Goldens, Twins,
                         testing::Values("llama-gqa", "llama3-tied", "qwen2", "qwen3-yarn"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(ModelFiles, RopeOfEachGolden) {
  const auto llama = open(goldens + "llama-gqa")->config();
  const auto llama_gguf = open(goldens + "llama-gqa/model.gguf")->config();
  EXPECT_EQ(llama->rope_layout, RopeLayout::half_split);
  EXPECT_EQ(llama_gguf->rope_layout, RopeLayout::adjacent_pairs);

  const auto llama3 = open(goldens + "llama3-tied")->config();
  EXPECT_EQ(llama3->rope_scaling.kind, RopeScaling::Kind::llama3);
  EXPECT_EQ(llama3->rope_scaling.factor, 8);
  EXPECT_EQ(llama3->rope_scaling.original_context, 256);
  const auto llama3_gguf = open(goldens + "llama3-tied/model.gguf")->config();
  EXPECT_EQ(llama3_gguf->rope_scaling.kind, RopeScaling::Kind::none);
  EXPECT_EQ(llama3_gguf->rope_divisors.size(), 8u);
  EXPECT_EQ(llama3_gguf->rope_divisors.back(), 8.0f);

  for (const std::string path : {"qwen3-yarn", "qwen3-yarn/model.gguf"}) {
    const auto yarn = open(goldens + path)->config();
    EXPECT_EQ(yarn->rope_scaling.kind, RopeScaling::Kind::yarn);
    EXPECT_EQ(yarn->rope_scaling.original_context, 256);
    EXPECT_NEAR(yarn->rope_scaling.attention_factor, 1.0, 1e-7);
  }
  const auto tied = open(goldens + "qwen2-tied")->config();
  EXPECT_TRUE(tied->tied_head);
  EXPECT_EQ(tied->quantization, "F32");
}

TEST(ModelFiles, NamesAreMappedOnlyInTheirOneSpelling) {
  EXPECT_EQ(normal_name("blk.12.attn_q.weight"), "model.layers.12.self_attn.q_proj.weight");
  EXPECT_EQ(normal_name("blk.0.attn_q_norm.weight"), "model.layers.0.self_attn.q_norm.weight");
  EXPECT_EQ(normal_name("output.weight"), "lm_head.weight");
  EXPECT_EQ(normal_name("blk.012.attn_q.weight"), "blk.012.attn_q.weight");
  EXPECT_EQ(normal_name("blk..attn_q.weight"), "blk..attn_q.weight");
  EXPECT_EQ(normal_name("blk.1.weight"), "blk.1.weight");
}

TEST(ModelFiles, ReadingPastATensorIsAnError) {
  const auto model = open(goldens + "llama-gqa");
  const TensorInfo& tensor = model->tensors().front();
  std::vector<uint8_t> bytes(8);
  EXPECT_TRUE(model->read(tensor, tensor.bytes - 8, bytes).has_value());
  EXPECT_FALSE(model->read(tensor, tensor.bytes - 7, bytes).has_value());
  EXPECT_FALSE(model->read(tensor, UINT64_MAX, bytes).has_value());
}

// --- a GGUF writer, enough for split sets and single faults ---

class Gguf {
 public:
  Gguf& text(const std::string& key, const std::string& value) {
    head(key, 8);
    string(kv_, value);
    return *this;
  }
  Gguf& u16(const std::string& key, uint16_t value) {
    head(key, 2);
    put(kv_, value);
    return *this;
  }
  Gguf& i32(const std::string& key, int32_t value) {
    head(key, 5);
    put(kv_, value);
    return *this;
  }
  Gguf& tensor(const std::string& name, std::vector<uint64_t> ne) {
    uint64_t elements = 1;
    string(infos_, name);
    put(infos_, static_cast<uint32_t>(ne.size()));
    for (const uint64_t n : ne) {
      put(infos_, n);
      elements *= n;
    }
    put(infos_, uint32_t{0});
    put(infos_, data_bytes_);
    data_bytes_ += (elements * 4 + 31) / 32 * 32;
    ++tensors_;
    return *this;
  }
  std::string bytes() const {
    std::string out = "GGUF";
    put(out, uint32_t{3});
    put(out, tensors_);
    put(out, keys_);
    out += kv_ + infos_;
    out.resize((out.size() + 31) / 32 * 32);
    for (uint64_t i = 0; i < data_bytes_; ++i) out += static_cast<char>(i);
    return out;
  }

 private:
  template <class T>
  static void put(std::string& out, T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  static void string(std::string& out, const std::string& text) {
    put(out, static_cast<uint64_t>(text.size()));
    out += text;
  }
  void head(const std::string& key, uint32_t type) {
    string(kv_, key);
    put(kv_, type);
    ++keys_;
  }
  std::string kv_, infos_;
  uint64_t tensors_ = 0, keys_ = 0, data_bytes_ = 0;
};

class SplitSet : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "nautile_split_" +
                 testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }
  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(directory_ + "/" + name, std::ios::binary) << bytes;
    return directory_ + "/" + name;
  }
  static Gguf shard(uint16_t number, uint16_t count) {
    Gguf gguf;
    gguf.u16("split.no", number).u16("split.count", count);
    if (number == 0) gguf.text("general.architecture", "llama").i32("split.tensors.count", 3);
    return gguf;
  }
  std::string directory_;
};

TEST_F(SplitSet, ReadsAllShards) {
  const std::string first = write("m-00001-of-00003.gguf", shard(0, 3).bytes());
  write("m-00002-of-00003.gguf", shard(1, 3).tensor("a", {4}).tensor("b", {8, 2}).bytes());
  write("m-00003-of-00003.gguf", shard(2, 3).tensor("c", {4}).bytes());
  const auto model = open(first);
  ASSERT_TRUE(model);
  ASSERT_EQ(model->tensors().size(), 3u);
  EXPECT_EQ(model->find("b")->shape, (std::vector<uint64_t>{2, 8}));
  EXPECT_EQ(bytes_of(*model, *model->find("b"))[0], 32);
  EXPECT_EQ(model->find("c")->file, 2);
}

TEST_F(SplitSet, FaultsAreNamed) {
  const auto error_of = [&](const std::string& path) {
    const auto model = ModelFiles::open(path);
    return model ? std::string("opened") : model.error().message();
  };
  const std::string first = write("m-00001-of-00002.gguf", shard(0, 2).bytes());
  EXPECT_NE(error_of(first).find("m-00002-of-00002.gguf"), std::string::npos);
  const std::string second = write("m-00002-of-00002.gguf", shard(0, 2).tensor("a", {4}).bytes());
  EXPECT_NE(error_of(first).find("split.no"), std::string::npos);
  EXPECT_NE(error_of(second).find("is shard 2 of 2"), std::string::npos);
  write("m-00002-of-00002.gguf", shard(1, 2).tensor("a", {4}).bytes());
  EXPECT_NE(error_of(first).find("split.tensors.count"), std::string::npos);
  write("m-00001-of-00002.gguf", shard(0, 2).tensor("a", {4}).bytes());
  EXPECT_NE(error_of(first).find("\"a\" stands there twice"), std::string::npos);
}

TEST_F(SplitSet, LinksLeadOnlyInsideTheDirectoryOrTheCache) {
  const std::string snapshot = directory_ + "/models--o--n/snapshots/rev";
  fs::create_directories(snapshot);
  fs::create_directories(directory_ + "/models--o--n/blobs");
  for (const char* name : {"config.json", "model.safetensors"}) {
    fs::copy_file(goldens + "qwen2-tied/" + name, directory_ + "/models--o--n/blobs/" + name);
    fs::create_symlink(std::string("../../blobs/") + name, snapshot + "/" + name);
  }
  EXPECT_TRUE(open(snapshot)->config().has_value());
  fs::remove(snapshot + "/config.json");
  fs::create_symlink(goldens + "qwen2-tied/config.json", snapshot + "/config.json");
  const auto refused = ModelFiles::open(snapshot);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message().find("config.json"), std::string::npos);
}

Json tokenizer_json(const std::string& changes) {
  const std::string text =
      R"({"added_tokens":[{"id":3,"content":"<|x|>","special":false}],
          "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},
          "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]})" +
      changes + "}";
  auto json = base::parse_json(text, "test");
  EXPECT_TRUE(json.has_value()) << json.error().message();
  return json ? *json : Json();
}

TEST(HfTokenizer, ControlGoesByShapeAndClassDecidesAboutBos) {
  HfTokenizerParts parts;
  parts.tokenizer = tokenizer_json("");
  parts.tokenizer_config = *base::parse_json(
      R"({"tokenizer_class":"LlamaTokenizerFast","bos_token":{"content":"<|x|>"},
          "add_bos_token":true,"chat_template":[{"name":"tool_use","template":"t"},
          {"name":"default","template":"d"}]})",
      "test");
  const auto spec = read_hf_tokenizer(std::move(parts));
  ASSERT_TRUE(spec.has_value()) << spec.error().message();
  EXPECT_EQ(spec->kinds[3], text::TokenKind::control);
  EXPECT_EQ(spec->bos_id, 3);
  EXPECT_TRUE(spec->add_bos);
  EXPECT_EQ(spec->chat_template, "d");
  ASSERT_EQ(spec->pre_tokenizer.size(), 1u);
  EXPECT_EQ(spec->pre_tokenizer[0].kind, text::PreTokenizerStep::Kind::byte_level_gpt2);
}

TEST(HfTokenizer, UnsupportedPartsAreNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {R"(,"normalizer":{"type":"Lowercase"})", "Lowercase"},
      {R"(,"post_processor":{"type":"BertProcessing"})", "BertProcessing"},
      {R"(,"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"q"}},
          {"Sequence":{"id":"A"}}],"special_tokens":{}})",
       "\"q\""}};
  for (const auto& [change, named] : cases) {
    HfTokenizerParts parts;
    parts.tokenizer = tokenizer_json(change);
    const auto spec = read_hf_tokenizer(std::move(parts));
    ASSERT_FALSE(spec.has_value()) << change;
    EXPECT_NE(spec.error().message().find(named), std::string::npos) << spec.error().message();
  }
}

TEST(HfConfig, NewAndOldSpellingsOfRope) {
  const std::string sizes =
      R"("architectures":["LlamaForCausalLM"],"hidden_size":8,"intermediate_size":16,
         "num_hidden_layers":1,"num_attention_heads":2,"vocab_size":10,"rms_norm_eps":1e-5,
         "max_position_embeddings":64)";
  const auto config_with = [&](const std::string& more) {
    return read_hf_config(*base::parse_json("{" + sizes + more + "}", "test"), Json());
  };
  EXPECT_EQ(config_with("")->rope_base, 10000);
  EXPECT_EQ(
      config_with(R"(,"rope_parameters":{"rope_theta":5e5,"rope_type":"default"})")->rope_base,
      500000);
  EXPECT_EQ(config_with(R"(,"rope_scaling":{"type":"linear","factor":4})")->rope_scaling.kind,
            RopeScaling::Kind::linear);
  const auto yarn = config_with(R"(,"rope_scaling":{"rope_type":"yarn","factor":4})");
  EXPECT_NEAR(yarn->rope_scaling.attention_factor, 0.1 * std::log(4.0) + 1, 1e-12);
  EXPECT_EQ(yarn->rope_scaling.original_context, 64);
  EXPECT_EQ(config_with(R"(,"rope_scaling":{"rope_type":"yarn","factor":4,"attention_factor":1.5})")
                ->rope_scaling.attention_factor,
            1.5);
  EXPECT_FALSE(config_with(R"(,"rope_scaling":{"rope_type":"dynamic","factor":4})").has_value());
  EXPECT_FALSE(config_with(R"(,"attention_bias":true)").has_value());
  EXPECT_FALSE(config_with(R"(,"num_key_value_heads":3)").has_value());
}

}  // namespace
}  // namespace format
