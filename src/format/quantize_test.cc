// The quantiser on the golden models. What it makes of a Hugging Face folder is held against the
// GGUF file of the same model that llama.cpp's converter conventions gave (tests/golden/model).
#include "format/quantize.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

#include "base/scratch_for_test.h"
#include "format/tiny_models_for_test.h"
#include "tensor/encode.h"
#include "text/pre_tokenizer.h"

namespace format {
namespace {

using tensor::Dtype;

std::string golden(const std::string& model) {
  return std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/model/" + model;
}

std::unique_ptr<ModelFiles> opened(const std::string& path) {
  auto files = ModelFiles::open(path);
  EXPECT_TRUE(files.has_value()) << path << ": " << (files ? "" : files.error().message());
  return files ? std::move(*files) : nullptr;
}

class Quantize : public base::ScratchTest {
 protected:
  base::Result<std::vector<TensorCost>> write(const ModelFiles& files, FileType type,
                                              const std::string& name, int stop_after = 1 << 30) {
    ASSIGN(const auto plan, plan_quantized(files, type, text::pre_tokenizer_name_of));
    ASSIGN(const auto out, OutputFile::create(path(name), plan.bytes, false));
    base::Pool pool(2);
    int calls = 0;
    ASSIGN(auto costs, write_quantized(files, plan, *out, pool,
                                       [&](uint64_t, uint64_t) { return ++calls < stop_after; }));
    TRY(out->finish());
    return costs;
  }
};

std::vector<float> decoded(const ModelFiles& files, const ExportTensor& tensor) {
  std::vector<float> values(tensor.rows() * tensor.columns());
  const auto done = read_export_rows(files, tensor, 0, tensor.rows(), values.data());
  EXPECT_TRUE(done.has_value()) << tensor.name;
  return values;
}

TEST(GgufExport, FoldersGiveTheTensorsOfTheConverter) {
  for (const char* model :
       {"llama-gqa", "llama3-tied", "qwen2", "qwen3-yarn", "ds-v2-lite", "ds-v3"}) {
    const auto folder = opened(golden(model)), file = opened(golden(model) + "/model.gguf");
    ASSERT_TRUE(folder && file);
    auto ours = export_gguf(*folder, text::pre_tokenizer_name_of);
    const auto theirs = export_gguf(*file, text::pre_tokenizer_name_of);
    ASSERT_TRUE(ours.has_value()) << model << ": " << ours.error().message();
    ASSERT_TRUE(theirs.has_value());
    std::map<std::string, const ExportTensor*> by_name;
    for (const ExportTensor& tensor : ours->tensors) by_name[tensor.name] = &tensor;
    int compared = 0;
    for (const ExportTensor& tensor : theirs->tensors) {
      const auto found = by_name.find(tensor.name);
      if (tensor.name.find("attn_kv_b") != std::string::npos) continue;  // beside k_b and v_b
      ASSERT_NE(found, by_name.end()) << model << " " << tensor.name;
      EXPECT_EQ(found->second->ne, tensor.ne) << model << " " << tensor.name;
      const auto a = decoded(*folder, *found->second), b = decoded(*file, tensor);
      ASSERT_EQ(a.size(), b.size());
      for (size_t i = 0; i < a.size(); ++i) {
        ASSERT_NEAR(a[i], b[i], 1e-6f * std::max(1.0f, std::fabs(b[i])))
            << model << " " << tensor.name << " at " << i;
      }
      ++compared;
    }
    EXPECT_GT(compared, 10) << model;
  }
}

// Of the numbers that the decoder computes with.
void expect_same(const ModelConfig& a, const ModelConfig& b, const std::string& model) {
  EXPECT_EQ(a.architecture, b.architecture) << model;
  EXPECT_EQ(a.hidden, b.hidden) << model;
  EXPECT_EQ(a.layers, b.layers) << model;
  EXPECT_EQ(a.heads, b.heads) << model;
  EXPECT_EQ(a.kv_heads, b.kv_heads) << model;
  EXPECT_EQ(a.head_dim, b.head_dim) << model;
  EXPECT_EQ(a.ffn, b.ffn) << model;
  EXPECT_EQ(a.vocab, b.vocab) << model;
  EXPECT_EQ(a.mtp_layers, b.mtp_layers) << model;
  EXPECT_EQ(a.tied_head, b.tied_head) << model;
  EXPECT_EQ(a.parameters, b.parameters) << model;
  EXPECT_NEAR(a.rms_eps, b.rms_eps, a.rms_eps * 1e-6) << model;
  EXPECT_NEAR(a.rope_base, b.rope_base, a.rope_base * 1e-6) << model;
  EXPECT_NEAR(a.rope_scaling.attention_factor, b.rope_scaling.attention_factor, 1e-6) << model;
  ASSERT_EQ(a.mla.has_value(), b.mla.has_value()) << model;
  if (a.mla) {
    EXPECT_EQ(a.mla->q_lora_rank, b.mla->q_lora_rank) << model;
    EXPECT_EQ(a.mla->qk_nope_dim, b.mla->qk_nope_dim) << model;
    EXPECT_NEAR(a.mla->softmax_scale, b.mla->softmax_scale, 1e-8) << model;
  }
  ASSERT_EQ(a.moe.has_value(), b.moe.has_value()) << model;
  if (a.moe) {
    EXPECT_EQ(a.moe->experts, b.moe->experts) << model;
    EXPECT_EQ(a.moe->experts_used, b.moe->experts_used) << model;
    EXPECT_EQ(a.moe->groups, b.moe->groups) << model;
    EXPECT_EQ(a.moe->groups_used, b.moe->groups_used) << model;
    EXPECT_EQ(a.moe->group_score, b.moe->group_score) << model;
    EXPECT_EQ(a.moe->scoring, b.moe->scoring) << model;
    EXPECT_EQ(a.moe->normalise, b.moe->normalise) << model;
    EXPECT_EQ(a.moe->correction_bias, b.moe->correction_bias) << model;
    EXPECT_NEAR(a.moe->routed_scale, b.moe->routed_scale, 1e-6) << model;
  }
}

TEST_F(Quantize, EveryGoldenFolderInEveryTypeIsReadBackWithItsNumbers) {
  for (const char* model :
       {"llama-gqa", "llama3-tied", "qwen2", "qwen2-tied", "qwen3-yarn", "ds-v2-group",
        "ds-v2-lite", "ds-v3", "ds-v3-fp8", "kimi-like", "janus-hf", "janus-original"}) {
    const auto source = opened(golden(model));
    ASSERT_TRUE(source);
    const auto wanted = source->config();
    const auto words = source->tokenizer();
    ASSERT_TRUE(wanted.has_value()) << model << ": " << wanted.error().message();
    ASSERT_TRUE(words.has_value()) << model << ": " << words.error().message();
    for (const FileTypeInfo& type : file_types()) {
      const std::string name = std::string(model) + "." + std::string(type.name) + ".gguf";
      const auto costs = write(*source, type.type, name);
      ASSERT_TRUE(costs.has_value()) << name << ": " << costs.error().message();
      const auto back = opened(path(name));
      ASSERT_TRUE(back);
      const auto config = back->config();
      ASSERT_TRUE(config.has_value()) << name << ": " << config.error().message();
      expect_same(*wanted, *config, name);
      EXPECT_EQ(config->quantization, type.name);
      const auto spec = back->tokenizer();
      ASSERT_TRUE(spec.has_value()) << name << ": " << spec.error().message();
      EXPECT_EQ(spec->merges, words->merges) << name;
      EXPECT_EQ(spec->bos_id, words->bos_id) << name;
      EXPECT_EQ(spec->eos_id, words->eos_id) << name;
      EXPECT_EQ(spec->add_bos, words->add_bos) << name;
      EXPECT_EQ(spec->chat_template, words->chat_template) << name;
      EXPECT_TRUE(std::equal(words->tokens.begin(), words->tokens.end(), spec->tokens.begin()));
      EXPECT_EQ(spec->tokens.size(), static_cast<size_t>(config->vocab)) << name;
      for (const int32_t end : words->end_ids) {
        EXPECT_NE(std::find(spec->end_ids.begin(), spec->end_ids.end(), end), spec->end_ids.end())
            << name << " " << end;
      }
    }
  }
}

TEST_F(Quantize, AGgufKeepsKeysThatNobodyKnows) {
  TinyGguf tiny = TinyGguf::deepseek2(true);
  tiny.set("somebody.private", std::string("kept"));
  tiny.set("general.file_type", uint32_t{1});
  const auto source = tiny.open();
  ASSERT_TRUE(source.has_value());
  const auto costs = write(**source, FileType::q8_0, "tiny.gguf");
  ASSERT_TRUE(costs.has_value()) << costs.error().message();
  const auto file = open_file(path("tiny.gguf"));
  ASSERT_TRUE(file.has_value());
  const auto header = GgufHeader::parse(**file);
  ASSERT_TRUE(header.has_value()) << header.error().message();
  EXPECT_EQ(*header->text("somebody.private"), "kept");
  EXPECT_EQ(*header->integer("general.file_type"), 7);
  EXPECT_EQ(*header->integer("deepseek2.expert_count"), 4);
  for (const GgufTensor& tensor : header->tensors()) {
    if (tensor.ne.size() == 1 || tensor.name.find("ffn_gate_inp") != std::string::npos) {
      EXPECT_EQ(tensor.dtype, Dtype::f32) << tensor.name;
    } else {
      EXPECT_EQ(tensor.dtype, Dtype::f16) << tensor.name;  // no row of 32
    }
  }
}

TEST_F(Quantize, TheSameTypeIsCopied) {
  const auto source = opened(golden("llama-gqa"));
  ASSERT_TRUE(write(*source, FileType::q8_0, "once.gguf").has_value());
  const auto once = opened(path("once.gguf"));
  ASSERT_TRUE(write(*once, FileType::q8_0, "twice.gguf").has_value());
  const auto bytes = [&](const std::string& name) {
    std::ifstream in(path(name), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  EXPECT_EQ(bytes("once.gguf"), bytes("twice.gguf"));
}

TEST_F(Quantize, StoppedItLeavesNothing) {
  const auto source = opened(golden("llama-gqa"));
  const auto costs = write(*source, FileType::q4_0, "stopped.gguf", 3);
  ASSERT_FALSE(costs.has_value());
  EXPECT_EQ(costs.error().kind, base::ErrorKind::interrupted);
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(Quantize, NothingIsOverwrittenUnasked) {
  { std::ofstream(path("there.gguf")) << "mine"; }
  const auto refused = OutputFile::create(path("there.gguf"), 10, false);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, base::ErrorKind::wrong_usage);
  const auto replaced = OutputFile::create(path("there.gguf"), 10, true);
  ASSERT_TRUE(replaced.has_value()) << replaced.error().message();
  const auto second = OutputFile::create(path("there.gguf"), 10, true);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().kind, base::ErrorKind::unavailable);
  const auto too_large = OutputFile::create(path("large.gguf"), uint64_t{1} << 60, false);
  ASSERT_FALSE(too_large.has_value());
  EXPECT_EQ(too_large.error().kind, base::ErrorKind::out_of_disk);
}

TEST_F(Quantize, WeightsThatAreNoNumbersAreRefused) {
  std::string bytes = TinyGguf::deepseek2(false).bytes();
  const float none = std::nanf("");
  std::memcpy(bytes.data() + bytes.size() - sizeof none, &none, sizeof none);
  std::vector<std::unique_ptr<ByteSource>> shards;
  shards.push_back(
      memory_source({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "tiny.gguf"));
  const auto source = open_gguf(std::move(shards));
  ASSERT_TRUE(source.has_value());
  const auto costs = write(**source, FileType::q8_0, "nan.gguf");
  ASSERT_FALSE(costs.has_value());
  EXPECT_EQ(costs.error().kind, base::ErrorKind::invalid_input);
}

// As llama.cpp decides for a Llama of 32 layers with four queries a value.
TEST(QuantizeMix, TypesOfTheMixes) {
  const MixModel model{"llama", 32, 32, 8, 0, true};
  const uint64_t wide[] = {4096, 4096}, odd[] = {576, 576}, narrow[] = {40, 8};
  const auto type = [&](FileType file, const char* name) {
    return choose_type(file, model, name, wide);
  };
  EXPECT_EQ(type(FileType::q4_k_m, "blk.0.attn_v.weight"), Dtype::q6_k);
  EXPECT_EQ(type(FileType::q4_k_m, "blk.4.attn_v.weight"), Dtype::q4_k);
  EXPECT_EQ(type(FileType::q4_k_m, "blk.6.ffn_down.weight"), Dtype::q6_k);
  EXPECT_EQ(type(FileType::q4_k_m, "blk.31.ffn_down.weight"), Dtype::q6_k);
  EXPECT_EQ(type(FileType::q4_k_m, "output.weight"), Dtype::q6_k);
  EXPECT_EQ(type(FileType::q4_k_m, "token_embd.weight"), Dtype::q4_k);
  EXPECT_EQ(type(FileType::q3_k_m, "blk.1.attn_v.weight"), Dtype::q5_k);
  EXPECT_EQ(type(FileType::q3_k_m, "blk.2.attn_v.weight"), Dtype::q4_k);
  EXPECT_EQ(type(FileType::q3_k_m, "blk.1.ffn_down.weight"), Dtype::q5_k);
  EXPECT_EQ(type(FileType::q3_k_m, "blk.2.ffn_down.weight"), Dtype::q4_k);
  EXPECT_EQ(type(FileType::q3_k_m, "blk.2.attn_output.weight"), Dtype::q4_k);
  EXPECT_EQ(type(FileType::q2_k, "blk.2.attn_v.weight"), Dtype::q4_k);
  EXPECT_EQ(type(FileType::q2_k, "blk.2.ffn_down.weight"), Dtype::q3_k);
  EXPECT_EQ(type(FileType::q8_0, "output.weight"), Dtype::q8_0);
  EXPECT_EQ(choose_type(FileType::q4_k_m, model, "blk.4.attn_q.weight", odd), Dtype::q5_0);
  EXPECT_EQ(choose_type(FileType::q2_k, model, "blk.4.attn_q.weight", odd), Dtype::q4_0);
  EXPECT_EQ(choose_type(FileType::q5_k_m, model, "blk.4.attn_q.weight", odd), Dtype::q5_1);
  EXPECT_EQ(choose_type(FileType::q4_k_m, model, "output.weight", odd), Dtype::q8_0);
  EXPECT_EQ(choose_type(FileType::q4_0, model, "blk.4.attn_q.weight", narrow), Dtype::f16);
  EXPECT_FALSE(is_quantised("blk.0.ffn_gate_inp.weight", wide));
  EXPECT_FALSE(is_quantised("blk.0.attn_norm.weight", wide));
  EXPECT_FALSE(is_quantised("blk.0.exp_probs_b.bias", wide));
}

}  // namespace
}  // namespace format
