// The DeepSeek families from every container: the tiny models of tests/golden/model, FP8 against
// numpy (tests/golden/fp8), and tensors that are not stored as they are delivered.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/json.h"
#include "format/deepseek_check.h"
#include "format/gathered.h"
#include "format/hf_config.h"
#include "format/hf_deepseek.h"
#include "format/hf_tensors.h"
#include "format/model_names.h"
#include "format/tiny_models_for_test.h"

namespace format {
namespace {

namespace fs = std::filesystem;
using base::Json;
using Scoring = MoeConfig::Scoring;
using GroupScore = MoeConfig::GroupScore;

const std::string golden = std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/";
const std::string models = golden + "model/";

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Json read_json(const std::string& path) {
  auto json = base::parse_json(read_file(path), path);
  EXPECT_TRUE(json.has_value()) << path;
  return json ? *json : Json::object();
}

std::unique_ptr<ModelFiles> open(const std::string& path) {
  auto model = ModelFiles::open(path);
  EXPECT_TRUE(model.has_value()) << path << ": " << model.error().message();
  return model ? std::move(*model) : nullptr;
}

ModelConfig config_of(const ModelFiles& files) {
  auto config = files.config();
  EXPECT_TRUE(config.has_value()) << config.error().message();
  return config ? *config : ModelConfig();
}

std::vector<uint8_t> bytes_of(const ModelFiles& files, const TensorInfo& tensor) {
  std::vector<uint8_t> bytes(tensor.bytes);
  const auto done = files.read(tensor, 0, bytes);
  EXPECT_TRUE(done.has_value()) << tensor.name;
  return bytes;
}

std::vector<float> values_of(const ModelFiles& files, const std::string& name) {
  const TensorInfo* tensor = files.find(name);
  EXPECT_NE(tensor, nullptr) << name;
  if (tensor == nullptr) return {};
  uint64_t elements = 1;
  for (const uint64_t n : tensor->shape) elements *= n;
  EXPECT_EQ(tensor->bytes, tensor::row_bytes(tensor->dtype, elements)) << name;
  std::vector<float> out(elements);
  const auto bytes = bytes_of(files, *tensor);
  tensor::decode_row(tensor->dtype, bytes.data(), out.data(), static_cast<int64_t>(elements));
  return out;
}

uint64_t numbers_in(const ModelFiles& files, const std::function<bool(const std::string&)>& take) {
  uint64_t total = 0;
  for (const TensorInfo& tensor : files.tensors()) {
    if (!take(tensor.name)) continue;
    uint64_t elements = 1;
    for (const uint64_t n : tensor.shape) elements *= n;
    total += elements;
  }
  return total;
}

// --- the numbers of each golden, against its config.json and what its oracle states ---

class Goldens : public testing::TestWithParam<std::pair<const char*, const char*>> {
 protected:
  std::string folder() const { return models + GetParam().first; }
  std::string path() const { return folder() + GetParam().second; }
};

TEST_P(Goldens, NumbersAreThoseOfTheConfig) {
  const auto files = open(path());
  ASSERT_TRUE(files);
  const ModelConfig c = config_of(*files);
  const Json json = read_json(folder() + "/config.json");
  const auto stated = [&](const char* key) {
    const Json* value = json.find(key);
    return value == nullptr || value->is_null() ? int64_t{0} : value->as_integer();
  };
  EXPECT_EQ(c.architecture, "deepseek2");
  EXPECT_EQ(c.hidden, stated("hidden_size"));
  EXPECT_EQ(c.layers, stated("num_hidden_layers"));
  EXPECT_EQ(c.heads, stated("num_attention_heads"));
  EXPECT_EQ(c.kv_heads, c.heads);
  EXPECT_EQ(c.ffn, stated("intermediate_size"));
  EXPECT_EQ(c.vocab, stated("vocab_size"));
  EXPECT_EQ(c.context_tokens_max, stated("max_position_embeddings"));
  EXPECT_EQ(c.rope_base, json.find("rope_theta")->as_number());
  EXPECT_NEAR(c.rms_eps, 1e-6, 1e-13);
  EXPECT_EQ(c.rope_layout, RopeLayout::adjacent_pairs);
  EXPECT_FALSE(c.tied_head);
  EXPECT_FALSE(c.qkv_bias);
  ASSERT_TRUE(c.mla.has_value());
  EXPECT_EQ(c.mla->q_lora_rank, stated("q_lora_rank"));
  EXPECT_EQ(c.mla->kv_lora_rank, stated("kv_lora_rank"));
  EXPECT_EQ(c.mla->qk_nope_dim, stated("qk_nope_head_dim"));
  EXPECT_EQ(c.mla->qk_rope_dim, stated("qk_rope_head_dim"));
  EXPECT_EQ(c.mla->v_dim, stated("v_head_dim"));
  EXPECT_EQ(c.head_dim, c.mla->qk_nope_dim + c.mla->qk_rope_dim);
  EXPECT_EQ(c.mla->latent_norm_eps, 1e-6);
  ASSERT_TRUE(c.moe.has_value());
  EXPECT_EQ(c.moe->experts, stated("n_routed_experts"));
  EXPECT_EQ(c.moe->experts_used, stated("num_experts_per_tok"));
  EXPECT_EQ(c.moe->shared_experts, stated("n_shared_experts"));
  EXPECT_EQ(c.moe->expert_ffn, stated("moe_intermediate_size"));
  EXPECT_EQ(c.moe->shared_ffn, c.moe->shared_experts * c.moe->expert_ffn);
  EXPECT_EQ(c.moe->dense_layers_first, stated("first_k_dense_replace"));
  EXPECT_EQ(c.moe->layer_freq, stated("moe_layer_freq"));
  EXPECT_EQ(c.moe->groups, stated("n_group"));
  EXPECT_EQ(c.moe->groups_used, stated("topk_group"));
  EXPECT_EQ(c.moe->normalise, json.find("norm_topk_prob")->as_bool());
  EXPECT_EQ(c.moe->routed_scale, json.find("routed_scaling_factor")->as_number());
  const bool sigmoid = json.find("scoring_func")->as_string() == "sigmoid";
  EXPECT_EQ(c.moe->scoring, sigmoid ? Scoring::sigmoid : Scoring::softmax);
  const bool two = json.find("topk_method")->as_string() == "noaux_tc";
  EXPECT_EQ(c.moe->group_score, two ? GroupScore::best_two : GroupScore::best);
  EXPECT_EQ(c.moe->correction_bias, two);
  EXPECT_EQ(c.sampling_defaults.find("temperature")->as_number(), 0.6);
  EXPECT_EQ(c.sampling_defaults.find("top_p")->as_number(), 0.95);
}

TEST_P(Goldens, RopeIsThatOfTheOracle) {
  const auto files = open(path());
  ASSERT_TRUE(files);
  const ModelConfig c = config_of(*files);
  ASSERT_TRUE(c.mla.has_value());
  const Json expected = *read_json(folder() + "/expected.json").find("rope");
  EXPECT_NEAR(c.mla->softmax_scale, expected.find("softmax_scale")->as_number(), 1e-9);
  EXPECT_NEAR(c.rope_scaling.attention_factor, expected.find("multiplier_on_cos_sin")->as_number(),
              1e-12);
  EXPECT_EQ(c.mla->qk_rope_dim, expected.find("rotary_dims")->as_integer());
  EXPECT_EQ(c.rope_scaling.kind, RopeScaling::Kind::yarn);
  const Json scaling = *read_json(folder() + "/config.json").find("rope_scaling");
  EXPECT_EQ(c.rope_scaling.factor, scaling.find("factor")->as_number());
  EXPECT_EQ(c.rope_scaling.beta_fast, scaling.find("beta_fast")->as_number());
  EXPECT_EQ(c.rope_scaling.beta_slow, scaling.find("beta_slow")->as_number());
  EXPECT_EQ(c.rope_scaling.original_context,
            scaling.find("original_max_position_embeddings")->as_integer());
}

// Counted here without knowing what the tensors are for.
TEST_P(Goldens, ParametersAreAllNumbersOfTheMainModel) {
  const auto files = open(path());
  ASSERT_TRUE(files);
  const ModelConfig c = config_of(*files);
  const std::string mtp = "model.layers." + std::to_string(c.layers) + ".";
  const uint64_t all =
      numbers_in(*files, [&](const std::string& name) { return !name.starts_with(mtp); });
  const uint64_t experts = numbers_in(*files, [&](const std::string& name) {
    return !name.starts_with(mtp) && name.find(".mlp.experts.") != std::string::npos;
  });
  EXPECT_EQ(c.parameters, all);
  const auto count = static_cast<uint64_t>(c.moe->experts);
  EXPECT_EQ(c.parameters_active,
            all - experts + experts / count * static_cast<uint64_t>(c.moe->experts_used));
}

INSTANTIATE_TEST_SUITE_P(Files, Goldens,
                         testing::Values(std::pair{"ds-v2-lite", ""},
                                         std::pair{"ds-v2-lite", "/model.gguf"},
                                         std::pair{"ds-v2-lite", "/model-legacy.gguf"},
                                         std::pair{"ds-v2-group", ""}, std::pair{"ds-v3", ""},
                                         std::pair{"ds-v3", "/model.gguf"},
                                         std::pair{"ds-v3-fp8", ""}, std::pair{"kimi-like", ""}),
                         [](const auto& info) {
                           std::string name = std::string(info.param.first) + info.param.second;
                           for (char& c : name)
                             c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
                           return name;
                         });

TEST(DeepSeek, NamesAndTypesForPeople) {
  const ModelConfig lite = config_of(*open(models + "ds-v2-lite/model.gguf"));
  EXPECT_EQ(lite.name, "Tiny Ds v2 Lite");
  EXPECT_EQ(lite.quantization, "BF16");
  EXPECT_TRUE(lite.mla->kv_b_split);
  EXPECT_FALSE(config_of(*open(models + "ds-v2-lite/model-legacy.gguf")).mla->kv_b_split);
  const ModelConfig fp8 = config_of(*open(models + "ds-v3-fp8"));
  EXPECT_EQ(fp8.name, "ds-v3-fp8");
  EXPECT_EQ(fp8.quantization, "FP8");
  EXPECT_FALSE(fp8.mla->kv_b_split);
}

TEST(DeepSeek, MtpLayersAreThoseThatTheFileHas) {
  EXPECT_EQ(config_of(*open(models + "ds-v3")).mtp_layers, 1);
  EXPECT_EQ(config_of(*open(models + "ds-v3-fp8")).mtp_layers, 1);
  EXPECT_EQ(config_of(*open(models + "ds-v3/model.gguf")).mtp_layers, 0);
  EXPECT_EQ(config_of(*open(models + "kimi-like")).mtp_layers, 0);
  const auto whole = open(models + "ds-v3"), shared = open(models + "ds-v3-fp8");
  EXPECT_EQ(whole->find("model.layers.3.eh_proj.weight")->shape, (std::vector<uint64_t>{136, 272}));
  EXPECT_NE(whole->find("model.layers.3.shared_head.head.weight"), nullptr);
  EXPECT_EQ(shared->find("model.layers.3.shared_head.head.weight"), nullptr);
  EXPECT_EQ(whole->find("model.layers.3.mlp.experts.down_proj.weight")->shape,
            (std::vector<uint64_t>{12, 136, 12}));
}

// --- the same weights in every container ---

// k_b as rows of kv_b: [H, C, N] -> of head h, row n, column c.
std::vector<float> kv_b_of_pair(const ModelFiles& files, const ModelConfig& c, int layer) {
  const std::string at = "model.layers." + std::to_string(layer) + ".self_attn.";
  const auto k = values_of(files, at + "k_b_proj.weight");
  const auto v = values_of(files, at + "v_b_proj.weight");
  const size_t rank = static_cast<size_t>(c.mla->kv_lora_rank);
  const size_t nope = static_cast<size_t>(c.mla->qk_nope_dim);
  const size_t dim = static_cast<size_t>(c.mla->v_dim);
  std::vector<float> out;
  for (size_t h = 0; h < static_cast<size_t>(c.heads); ++h) {
    for (size_t n = 0; n < nope; ++n) {
      for (size_t r = 0; r < rank; ++r) out.push_back(k[(h * rank + r) * nope + n]);
    }
    out.insert(out.end(), v.begin() + static_cast<std::ptrdiff_t>(h * dim * rank),
               v.begin() + static_cast<std::ptrdiff_t>((h + 1) * dim * rank));
  }
  return out;
}

class DeepSeekTwins : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(DeepSeekTwins, HoldTheSameWeights) {
  const auto hf = open(models + GetParam().first);
  const auto gguf = open(models + GetParam().first + "/" + GetParam().second);
  ASSERT_TRUE(hf && gguf);
  const ModelConfig c = config_of(*gguf);
  EXPECT_EQ(c.parameters, config_of(*hf).parameters);
  int compared = 0;
  for (const TensorInfo& tensor : hf->tensors()) {
    if (tensor.name.starts_with("model.layers." + std::to_string(c.layers))) continue;
    ++compared;
    const auto values = values_of(*hf, tensor.name);
    if (tensor.name.find(".kv_b_proj.") != std::string::npos && c.mla->kv_b_split) {
      const int layer = tensor.name[strlen("model.layers.")] - '0';
      EXPECT_EQ(values, kv_b_of_pair(*gguf, c, layer)) << tensor.name;
      continue;
    }
    const TensorInfo* twin = gguf->find(tensor.name);
    ASSERT_NE(twin, nullptr) << tensor.name;
    EXPECT_EQ(tensor.shape, twin->shape) << tensor.name;
    EXPECT_EQ(values, values_of(*gguf, tensor.name)) << tensor.name;
  }
  EXPECT_GT(compared, 40);
}

INSTANTIATE_TEST_SUITE_P(Files, DeepSeekTwins,
                         testing::Values(std::pair{"ds-v2-lite", "model.gguf"},
                                         std::pair{"ds-v2-lite", "model-legacy.gguf"},
                                         std::pair{"ds-v3", "model.gguf"}),
                         [](const auto& info) { return "n" + std::to_string(info.index); });

// --- tensors that are gathered ---

TEST(Gathered, AnyRangeOfAnyTensorIsThatOfTheWhole) {
  for (const std::string folder :
       {"model/ds-v3-fp8", "fp8/blocks-2x3", "fp8/blocks-128", "model/ds-v2-group"}) {
    const auto files = open(golden + folder);
    ASSERT_TRUE(files);
    int gathered = 0;
    for (const TensorInfo& tensor : files->tensors()) {
      if (tensor.file >= 0) continue;
      if (++gathered > 12) break;
      const auto whole = bytes_of(*files, tensor);
      uint64_t step = 1;
      for (uint64_t from = 0; from < whole.size(); from += step, step = step * 2 + 1) {
        for (const uint64_t length : {uint64_t{1}, uint64_t{4}, uint64_t{333}, uint64_t{5000}}) {
          std::vector<uint8_t> some(std::min<uint64_t>(length, whole.size() - from));
          ASSERT_TRUE(files->read(tensor, from, some).has_value());
          EXPECT_EQ(memcmp(some.data(), whole.data() + from, some.size()), 0)
              << tensor.name << " from " << from << ": " << length;
        }
      }
      std::vector<uint8_t> past(2);
      EXPECT_FALSE(files->read(tensor, whole.size() - 1, past).has_value());
    }
    EXPECT_GT(gathered, 2) << folder;
  }
}

TEST(Gathered, FusedGateAndUpAreTwoTensors) {
  TinyGguf fused = TinyGguf::deepseek2(true);
  const auto plain = fused.open();
  ASSERT_TRUE(plain.has_value());
  fused.drop("blk.1.ffn_up_exps.weight");
  fused.rename("blk.1.ffn_gate_exps.weight", "blk.1.ffn_gate_up_exps.weight");
  fused.shape("blk.1.ffn_gate_up_exps.weight", {8, 8, 4});
  const auto files = fused.open();
  ASSERT_TRUE(files.has_value()) << files.error().message();
  const ModelConfig config = config_of(**files);
  EXPECT_EQ(config.parameters, config_of(**plain).parameters);
  // The elements of the file count up: of each expert 32 of gate, then 32 of up.
  for (const std::string half : {"gate", "up"}) {
    const auto values = values_of(**files, "model.layers.1.mlp.experts." + half + "_proj.weight");
    ASSERT_EQ(values.size(), 128u);
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_EQ(values[i], static_cast<float>(i / 32 * 64 + (half == "up" ? 32 : 0) + i % 32));
    }
  }
}

// --- FP8 ---

TEST(Fp8, WeightsAreWhatNumpySays) {
  for (const std::string folder : {"blocks-128", "blocks-2x3", "ue8m0"}) {
    const auto files = open(golden + "fp8/" + folder);
    const auto expected = open(golden + "fp8/" + folder + "/expected.safetensors");
    ASSERT_TRUE(files && expected);
    ASSERT_EQ(files->tensors().size(), expected->tensors().size());
    for (const TensorInfo& tensor : files->tensors()) {
      // Whole blocks of 128 stay as they are, a quarter of the size.
      const bool whole = tensor.shape == std::vector<uint64_t>{128, 128};
      EXPECT_EQ(tensor.dtype, whole ? tensor::Dtype::f8_scaled : tensor::Dtype::f32);
      EXPECT_EQ(tensor.stored, tensor::Dtype::f8_e4m3);
      const TensorInfo* twin = expected->find(tensor.name);
      ASSERT_NE(twin, nullptr) << tensor.name;
      EXPECT_EQ(tensor.shape, twin->shape);
      EXPECT_EQ(values_of(*files, tensor.name), values_of(*expected, tensor.name))
          << folder << tensor.name;
    }
  }
}

TEST(Fp8, EveryTensorOfTheGoldenIsWhatNumpySays) {
  const auto files = open(models + "ds-v3-fp8");
  ASSERT_TRUE(files);
  const Json tensors = *read_json(golden + "fp8/ds-v3-fp8.json").find("tensors");
  size_t converted = 0;
  for (const TensorInfo& tensor : files->tensors()) {
    if (tensor.stored == tensor::Dtype::f8_e4m3) ++converted;
  }
  EXPECT_EQ(converted, tensors.as_object().size());
  for (const auto& [name, expected] : tensors.as_object()) {
    const TensorInfo* tensor = files->find(name);
    ASSERT_NE(tensor, nullptr) << name;
    std::vector<uint64_t> shape;
    for (const Json& n : expected.find("shape")->as_array()) {
      shape.push_back(static_cast<uint64_t>(n.as_integer()));
    }
    EXPECT_EQ(tensor->shape, shape) << name;
    uint64_t hash = 0xcbf29ce484222325;
    for (const uint8_t byte : bytes_of(*files, *tensor)) hash = (hash ^ byte) * 0x100000001b3;
    EXPECT_EQ(fmt::format("{:016x}", hash), expected.find("fnv1a64")->as_string()) << name;
  }
}

// Reading the stacked up_proj of layer 1 fails with a place in its words; the first `whole` of the
// four experts can still be read.
void expect_no_number(const TinyHf& model, const std::string& place, size_t whole) {
  const auto files = model.open();
  ASSERT_TRUE(files.has_value()) << files.error().message();
  const TensorInfo* tensor = (*files)->find("model.layers.1.mlp.experts.up_proj.weight");
  ASSERT_NE(tensor, nullptr);
  std::vector<uint8_t> bytes(tensor->bytes);
  const auto done = (*files)->read(*tensor, 0, bytes);
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().kind, base::ErrorKind::invalid_input);
  EXPECT_NE(done.error().what.find(place), std::string::npos) << done.error().message();
  EXPECT_FALSE(done.error().why.empty() || done.error().next.empty());
  bytes.resize(bytes.size() / 4 * whole);
  EXPECT_TRUE((*files)->read(*tensor, 0, bytes).has_value());
}

TEST(Fp8, AScaleThatIsNoNumberIsAnErrorWhenItIsRead) {
  for (const uint32_t bits : {0x7fc00000u, 0x7f800000u, 0xff800000u}) {
    TinyHf model = TinyHf::deepseek_v3(true);
    TinyHf::Tensor& scale = model.at("model.layers.1.mlp.experts.2.up_proj.weight_scale_inv");
    scale.data.assign(4 * 3, '\0');
    std::memcpy(scale.data.data() + 8, &bits, 4);
    expect_no_number(model, "[0, 2]", 1);
  }
}

TEST(Fp8, AWeightThatIsNoNumberIsAnErrorWhenItIsRead) {
  for (const char code : {'\x7f', '\xff'}) {
    TinyHf model = TinyHf::deepseek_v3(true);
    TinyHf::Tensor& weight = model.at("model.layers.1.mlp.experts.2.up_proj.weight");
    weight.data.assign(weight.shape[0] * weight.shape[1], '\x11');
    weight.data[11] = code;
    expect_no_number(model, "[1, 3]", 2);
  }
}

TEST(Fp8, AWeightThatIsNoNumberIsNotDeliveredAsABlockEither) {
  const fs::path directory = fs::temp_directory_path() / fmt::format("fp8-nan-{}", getpid());
  fs::remove_all(directory);
  fs::copy(golden + "fp8/blocks-128", directory);
  std::fstream file(directory / "model.safetensors",
                    std::ios::in | std::ios::out | std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof(header));
  const Json about = *base::parse_json(bytes.substr(8, header), "header");
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  const auto at = about.find(name)->find("data_offsets")->as_array()[0].as_integer();
  file.seekp(static_cast<std::streamoff>(8 + header + static_cast<uint64_t>(at) + 128 * 3 + 5));
  file.put('\xff');
  file.close();
  const auto files = open(directory);
  ASSERT_TRUE(files);
  const TensorInfo* tensor = files->find(name);
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->dtype, tensor::Dtype::f8_scaled);
  std::vector<uint8_t> read(tensor->bytes);
  const auto done = files->read(*tensor, 0, read);
  fs::remove_all(directory);
  ASSERT_FALSE(done.has_value());
  EXPECT_NE(done.error().what.find("[3, 5]"), std::string::npos) << done.error().message();
}

// Weights, their scales and the experts of a layer may lie in different shards.
TEST(Fp8, ShardsAreOneModel) {
  const TinyHf whole = TinyHf::deepseek_v3(true);
  const fs::path directory = fs::temp_directory_path() / fmt::format("tiny-shards-{}", getpid());
  fs::create_directories(directory);
  TinyHf shards[2];
  Json map = Json::object();
  for (size_t i = 0; i < whole.tensors.size(); ++i) {
    TinyHf::Tensor tensor = whole.tensors[i];
    const bool scales = tensor.name.ends_with("_scale_inv");
    const uint64_t numbers = tensor.shape[0] * (tensor.shape.size() == 2 ? tensor.shape[1] : 1);
    for (uint64_t k = 0; scales && k < numbers; ++k) {
      const float value = 0.25f + static_cast<float>(i + k);
      tensor.data.append(reinterpret_cast<const char*>(&value), sizeof(value));
    }
    if (tensor.dtype == "F8_E4M3") tensor.data.assign(numbers, static_cast<char>(0x30 + i % 64));
    shards[i % 2].tensors.push_back(tensor);
    map.set(tensor.name, fmt::format("part-{}.safetensors", i % 2));
  }
  for (const int i : {0, 1}) {
    std::ofstream(directory / fmt::format("part-{}.safetensors", i)) << shards[i].bytes();
  }
  Json index = Json::object();
  index.set("weight_map", std::move(map));
  std::ofstream(directory / "model.safetensors.index.json") << index.dump();
  std::ofstream(directory / "config.json") << whole.config.dump();

  TinyHf single = whole;
  single.tensors = shards[0].tensors;
  single.tensors.insert(single.tensors.end(), shards[1].tensors.begin(), shards[1].tensors.end());
  const auto one = single.open();
  const auto two = open(directory.string());
  fs::remove_all(directory);
  ASSERT_TRUE(one.has_value()) << one.error().message();
  ASSERT_TRUE(two);
  EXPECT_EQ(config_of(*two).parameters, config_of(**one).parameters);
  EXPECT_EQ(config_of(*two).name, fmt::format("tiny-shards-{}", getpid()));
  ASSERT_EQ(two->tensors().size(), (*one)->tensors().size());
  for (const TensorInfo& tensor : two->tensors()) {
    const TensorInfo* twin = (*one)->find(tensor.name);
    ASSERT_NE(twin, nullptr) << tensor.name;
    EXPECT_EQ(tensor.shape, twin->shape);
    EXPECT_EQ(bytes_of(*two, tensor), bytes_of(**one, *twin)) << tensor.name;
  }
}

// --- names ---

TEST(Names, OfGguf) {
  const std::pair<const char*, const char*> names[] = {
      {"blk.2.attn_kv_a_mqa.weight", "model.layers.2.self_attn.kv_a_proj_with_mqa.weight"},
      {"blk.2.ffn_gate_inp.weight", "model.layers.2.mlp.gate.weight"},
      {"blk.2.exp_probs_b.bias", "model.layers.2.mlp.gate.e_score_correction_bias"},
      {"blk.2.exp_probs_b", "model.layers.2.mlp.gate.e_score_correction_bias"},
      {"blk.61.nextn.eh_proj.weight", "model.layers.61.eh_proj.weight"},
      {"blk.61.nextn.shared_head_head.weight", "model.layers.61.shared_head.head.weight"},
      {"blk.61.nextn.shared_head_norm.weight", "model.layers.61.shared_head.norm.weight"},
      {"blk.2.ffn_down_shexp.weight", "model.layers.2.mlp.shared_experts.down_proj.weight"},
      {"blk.2.exp_probs_b.weight", "blk.2.exp_probs_b.weight"}};
  for (const auto& [from, to] : names) EXPECT_EQ(normal_name(from), to);
}

TEST(Names, OfDeepSeek) {
  const std::pair<const char*, const char*> names[] = {
      {"embed.weight", "model.embed_tokens.weight"},
      {"head.weight", "lm_head.weight"},
      {"norm.weight", "model.norm.weight"},
      {"layers.0.attn.wq_a.weight", "model.layers.0.self_attn.q_a_proj.weight"},
      {"layers.0.attn.wq_a.scale", "model.layers.0.self_attn.q_a_proj.weight_scale_inv"},
      {"layers.12.attn.kv_norm.weight", "model.layers.12.self_attn.kv_a_layernorm.weight"},
      {"layers.3.ffn.gate.bias", "model.layers.3.mlp.gate.e_score_correction_bias"},
      {"layers.3.ffn.gate.weight", "model.layers.3.mlp.gate.weight"},
      {"layers.3.ffn.w2.weight", "model.layers.3.mlp.down_proj.weight"},
      {"layers.3.ffn.experts.17.w1.weight", "model.layers.3.mlp.experts.17.gate_proj.weight"},
      {"layers.3.ffn.experts.17.w3.scale",
       "model.layers.3.mlp.experts.17.up_proj.weight_scale_inv"},
      {"layers.3.ffn.experts.017.w1.weight", "layers.3.ffn.experts.017.w1.weight"},
      {"layers.3.ffn.experts.1.w4.weight", "layers.3.ffn.experts.1.w4.weight"},
      {"model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.q_proj.weight"}};
  for (const auto& [from, to] : names) EXPECT_EQ(name_of_deepseek(from), to);
  const auto expert = expert_name("model.layers.3.mlp.experts.17.up_proj.weight");
  ASSERT_TRUE(expert.has_value());
  EXPECT_EQ(expert->stacked, "model.layers.3.mlp.experts.up_proj.weight");
  EXPECT_EQ(expert->expert, 17u);
  EXPECT_FALSE(expert_name("model.layers.3.mlp.experts.up_proj.weight").has_value());
  EXPECT_FALSE(expert_name("model.layers.3.mlp.experts.07.up_proj.weight").has_value());
}

// A checkpoint of DeepSeek's own code: its names and its config.json.
TEST(DeepSeek, OwnCheckpointIsReadToo) {
  TinyHf model = TinyHf::deepseek_v3(true);
  const std::pair<const char*, const char*> parts[] = {{"model.embed_tokens", "embed"},
                                                       {"model.norm", "norm"},
                                                       {"lm_head", "head"},
                                                       {"model.layers", "layers"},
                                                       {"self_attn", "attn"},
                                                       {"mlp", "ffn"},
                                                       {"weight_scale_inv", "scale"},
                                                       {"e_score_correction_bias", "bias"},
                                                       {"post_attention_layernorm", "ffn_norm"},
                                                       {"input_layernorm", "attn_norm"},
                                                       {"q_a_proj", "wq_a"},
                                                       {"q_a_layernorm", "q_norm"},
                                                       {"q_b_proj", "wq_b"},
                                                       {"kv_a_proj_with_mqa", "wkv_a"},
                                                       {"kv_a_layernorm", "kv_norm"},
                                                       {"kv_b_proj", "wkv_b"},
                                                       {"o_proj", "wo"},
                                                       {"gate_proj", "w1"},
                                                       {"down_proj", "w2"},
                                                       {"up_proj", "w3"}};
  const auto before = config_of(**model.open());
  for (TinyHf::Tensor& tensor : model.tensors) {
    for (const auto& [from, to] : parts) {
      const size_t place = tensor.name.find(from);
      if (place != std::string::npos) tensor.name.replace(place, strlen(from), to);
    }
  }
  model.config = *base::parse_json(
      R"({"vocab_size":16,"dim":8,"inter_dim":12,"moe_inter_dim":4,"n_layers":2,"n_dense_layers":1,
          "n_heads":2,"n_routed_experts":4,"n_shared_experts":1,"n_activated_experts":2,
          "n_expert_groups":2,"n_limited_groups":1,"route_scale":2.5,"score_func":"sigmoid",
          "q_lora_rank":6,"kv_lora_rank":8,"qk_nope_head_dim":4,"qk_rope_head_dim":4,
          "v_head_dim":4,"dtype":"fp8","original_seq_len":32})",
      "config.json");
  // It states no blocks: they are 128 by 128, so that each of these matrices has one scale.
  for (TinyHf::Tensor& tensor : model.tensors) {
    if (tensor.name.ends_with(".scale")) tensor.shape = {1, 1};
  }
  const auto files = model.open();
  ASSERT_TRUE(files.has_value()) << files.error().message();
  const ModelConfig after = config_of(**files);
  EXPECT_EQ(after.architecture, "deepseek2");
  EXPECT_EQ(after.parameters, before.parameters);
  EXPECT_EQ(after.mla->softmax_scale, before.mla->softmax_scale);
  EXPECT_EQ(after.moe->groups, 2);
  EXPECT_TRUE(after.moe->correction_bias);
  EXPECT_TRUE(after.moe->normalise);
  EXPECT_EQ(after.quantization, "FP8");
  EXPECT_EQ(after.context_tokens_max, 163840);
}

// --- other forms of GGUF ---

TEST(Gguf, FoldedKvBAndBothForms) {
  TinyGguf model = TinyGguf::deepseek2(true);
  for (const int i : {0, 1}) {
    const std::string at = "blk." + std::to_string(i) + ".";
    model.shape(at + "attn_k_b.weight", {4, 16});
    model.shape(at + "attn_v_b.weight", {8, 8});
    model.tensors.emplace_back(at + "attn_kv_b.weight", std::vector<uint64_t>{8, 16});
  }
  // ik_llama.cpp keeps the older keys beside the pair.
  for (const char* key : {"key_length_mla", "value_length_mla"}) {
    model.drop_key("deepseek2.attention." + std::string(key));
  }
  model.set("deepseek2.attention.head_count_kv", uint32_t{2});
  model.set("deepseek2.attention.key_length", uint32_t{8});
  model.set("deepseek2.attention.value_length", uint32_t{4});
  const auto files = model.open();
  ASSERT_TRUE(files.has_value()) << files.error().message();
  const ModelConfig config = config_of(**files);
  EXPECT_TRUE(config.mla->kv_b_split);
  EXPECT_EQ((*files)->find("model.layers.0.self_attn.k_b_proj.weight")->shape,
            (std::vector<uint64_t>{2, 8, 4}));
  EXPECT_EQ((*files)->find("model.layers.0.self_attn.v_b_proj.weight")->shape,
            (std::vector<uint64_t>{2, 4, 8}));
  EXPECT_EQ(config.parameters, config_of(**TinyGguf::deepseek2(true).open()).parameters);
}

TEST(Gguf, WhatOldFilesDoNotState) {
  TinyGguf model = TinyGguf::deepseek2(false);
  for (const char* key : {"expert_gating_func", "expert_group_count", "expert_group_used_count",
                          "expert_weights_scale", "expert_weights_norm"}) {
    model.drop_key("deepseek2." + std::string(key));
  }
  const ModelConfig v3 = config_of(**model.open());
  EXPECT_EQ(v3.moe->scoring, Scoring::sigmoid);  // it has exp_probs_b
  EXPECT_EQ(v3.moe->groups, 1);
  EXPECT_EQ(v3.moe->routed_scale, 1);
  EXPECT_FALSE(v3.moe->normalise);
  model.drop("blk.1.exp_probs_b.bias");
  const ModelConfig v2 = config_of(**model.open());
  EXPECT_EQ(v2.moe->scoring, Scoring::softmax);
  EXPECT_EQ(v2.moe->group_score, GroupScore::best);
  EXPECT_FALSE(v2.moe->correction_bias);

  MoeConfig giant;
  giant.experts = 256;
  giant.scoring = Scoring::sigmoid;
  assume_groups(giant);
  EXPECT_EQ(giant.groups, 8);
  EXPECT_EQ(giant.groups_used, 4);
}

TEST(Gguf, MtpBlocksAreCountedOrNot) {
  for (const bool counted : {true, false}) {
    TinyGguf model = TinyGguf::deepseek2(true);
    model.add_layer(2, true, true);
    for (const char* part : {"enorm", "hnorm", "shared_head_norm"}) {
      model.tensors.emplace_back("blk.2.nextn." + std::string(part) + ".weight",
                                 std::vector<uint64_t>{8});
    }
    model.tensors.emplace_back("blk.2.nextn.eh_proj.weight", std::vector<uint64_t>{16, 8});
    model.set("deepseek2.nextn_predict_layers", uint32_t{1});
    model.set("deepseek2.block_count", uint32_t{counted ? 3u : 2u});
    const auto files = model.open();
    ASSERT_TRUE(files.has_value()) << files.error().message();
    const ModelConfig config = config_of(**files);
    EXPECT_EQ(config.layers, 2);
    EXPECT_EQ(config.mtp_layers, 1);
    EXPECT_EQ(config.parameters, config_of(**TinyGguf::deepseek2(true).open()).parameters);
    EXPECT_NE((*files)->find("model.layers.2.eh_proj.weight"), nullptr);
  }
  TinyGguf without = TinyGguf::deepseek2(true);
  without.set("deepseek2.nextn_predict_layers", uint32_t{1});
  without.set("deepseek2.block_count", uint32_t{3});
  const ModelConfig config = config_of(**without.open());
  EXPECT_EQ(config.layers, 2);
  EXPECT_EQ(config.mtp_layers, 0);
}

// v1: experts with plain attention, whose rows the converter permutes.
TEST(Gguf, FirstGenerationHasPlainAttention) {
  TinyGguf model = TinyGguf::deepseek2(true);
  TinyGguf v1;
  v1.set("general.architecture", "deepseek");
  for (const auto& [key, value] : model.keys) {
    if (key.find("lora") == std::string::npos && key.find("_length") == std::string::npos &&
        key.starts_with("deepseek2.")) {
      v1.set("deepseek." + key.substr(std::string("deepseek2.").size()), value);
    }
  }
  const std::pair<const char*, uint32_t> numbers[] = {
      {"context_length", 64},         {"embedding_length", 8},
      {"feed_forward_length", 12},    {"expert_feed_forward_length", 4},
      {"attention.head_count_kv", 2}, {"expert_gating_func", 1},
      {"expert_group_count", 1},      {"expert_group_used_count", 1}};
  for (const auto& [key, value] : numbers) {
    v1.set("deepseek." + std::string(key), uint32_t{value});
  }
  for (auto& [name, ne] : model.tensors) {
    if (name.find(".attn_") != std::string::npos && !name.ends_with("attn_norm.weight")) continue;
    if (name.find("exp_probs") != std::string::npos) continue;
    v1.tensors.emplace_back(name, ne);
  }
  for (const int i : {0, 1}) {
    for (const char* part : {"attn_q", "attn_k", "attn_v", "attn_output"}) {
      v1.tensors.emplace_back("blk." + std::to_string(i) + "." + part + ".weight",
                              std::vector<uint64_t>{8, 8});
    }
  }
  const auto files = v1.open();
  ASSERT_TRUE(files.has_value()) << files.error().message();
  const ModelConfig config = config_of(**files);
  EXPECT_EQ(config.architecture, "deepseek");
  EXPECT_FALSE(config.mla.has_value());
  ASSERT_TRUE(config.moe.has_value());
  EXPECT_EQ(config.moe->scoring, Scoring::softmax);
  EXPECT_EQ(config.rope_layout, RopeLayout::adjacent_pairs);
  EXPECT_EQ(config.head_dim, 4);

  // DeepSeek Coder's scaling, in the new and the old spelling.
  v1.set("deepseek.rope.scaling.type", "linear");
  v1.set("deepseek.rope.scaling.factor", 4.0f);
  const ModelConfig linear = config_of(**v1.open());
  EXPECT_EQ(linear.rope_scaling.kind, RopeScaling::Kind::linear);
  EXPECT_EQ(linear.rope_scaling.factor, 4);
  v1.drop_key("deepseek.rope.scaling.type");
  v1.set("deepseek.rope.scale_linear", 4.0f);
  EXPECT_EQ(config_of(**v1.open()).rope_scaling.kind, RopeScaling::Kind::linear);
}

// v1 in Hugging Face layout: rows are not permuted, and experts have V1's defaults.
TEST(HfDeepSeek, FirstGeneration) {
  TinyHf model = TinyHf::deepseek_v3(false);
  model.config = *base::parse_json(
      R"({"architectures":["DeepseekForCausalLM"],"model_type":"deepseek","hidden_size":8,
          "intermediate_size":12,"moe_intermediate_size":4,"num_hidden_layers":2,
          "first_k_dense_replace":1,"num_attention_heads":2,"num_key_value_heads":2,
          "n_routed_experts":4,"n_shared_experts":1,"num_experts_per_tok":2,"moe_layer_freq":1,
          "norm_topk_prob":false,"scoring_func":"softmax","vocab_size":16,"hidden_act":"silu",
          "max_position_embeddings":64,"rope_theta":10000,"rms_norm_eps":1e-6})",
      "tiny");
  std::erase_if(model.tensors, [](const TinyHf::Tensor& tensor) {
    return tensor.name.find("self_attn") != std::string::npos ||
           tensor.name.find("correction") != std::string::npos;
  });
  for (const int i : {0, 1}) {
    for (const char* part : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
      model.tensors.push_back(
          {fmt::format("model.layers.{}.self_attn.{}.weight", i, part), "BF16", {8, 8}, ""});
    }
  }
  const auto files = model.open();
  ASSERT_TRUE(files.has_value()) << files.error().message();
  const ModelConfig config = config_of(**files);
  EXPECT_EQ(config.architecture, "deepseek");
  EXPECT_FALSE(config.mla.has_value());
  ASSERT_TRUE(config.moe.has_value());
  EXPECT_EQ(config.rope_layout, RopeLayout::half_split);
  EXPECT_EQ(config.moe->routed_scale, 1);
  EXPECT_EQ(config.moe->groups, 1);
  EXPECT_FALSE(config.moe->correction_bias);
}

// --- config.json alone ---

TEST(HfDeepSeek, ClassDefaultsAndNewSpellings) {
  TinyHf model = TinyHf::deepseek_v3(false);
  // What transformers 5 writes: no method, no scoring, rope in rope_parameters, head_dim = rope.
  Json json = Json::object();
  for (const auto& [key, value] : model.config.as_object()) {
    if (key == "topk_method" || key == "scoring_func" || key == "norm_topk_prob" ||
        key == "routed_scaling_factor" || key == "rope_theta" || key == "rope_scaling" ||
        key == "moe_layer_freq" || key == "num_nextn_predict_layers") {
      continue;
    }
    json.set(key, value);
  }
  json.set("head_dim", 4);
  json.set("rope_interleave", true);
  json.set("rope_parameters",
           *base::parse_json(R"({"rope_theta":10000.0,"rope_type":"yarn","factor":40,
                                 "original_max_position_embeddings":32,"mscale":1.0,
                                 "mscale_all_dim":1.0})",
                             "rope"));
  const auto old_form = read_hf_config(model.config, Json()), new_form = read_hf_config(json, {});
  ASSERT_TRUE(old_form.has_value()) << old_form.error().message();
  ASSERT_TRUE(new_form.has_value()) << new_form.error().message();
  EXPECT_EQ(new_form->moe->scoring, Scoring::sigmoid);
  EXPECT_TRUE(new_form->moe->correction_bias);
  EXPECT_TRUE(new_form->moe->normalise);
  EXPECT_EQ(new_form->moe->routed_scale, 2.5);
  EXPECT_EQ(new_form->mla->softmax_scale, old_form->mla->softmax_scale);
  EXPECT_NEAR(new_form->mla->softmax_scale, 1.8738542 / std::sqrt(8.0), 1e-7);
  EXPECT_EQ(new_form->head_dim, 8);
  EXPECT_TRUE(new_form->moe->is_moe(1));
  EXPECT_FALSE(new_form->moe->is_moe(0));

  json.set("model_type", "kimi_k2");
  EXPECT_TRUE(read_hf_config(json, {}).has_value());
}

TEST(HfDeepSeek, NewerFamiliesAreRefusedWithAdvice) {
  for (const char* name : {"DeepseekV32ForCausalLM", "DeepseekV4ForCausalLM"}) {
    TinyHf model = TinyHf::deepseek_v3(false);
    model.config_set("architectures", "[\"" + std::string(name) + "\"]");
    const auto config = (*model.open())->config();
    ASSERT_FALSE(config.has_value()) << name;
    EXPECT_EQ(config.error().kind, base::ErrorKind::unsupported);
    EXPECT_NE(config.error().next.find("V3.1"), std::string::npos) << config.error().message();
  }
  TinyGguf gguf = TinyGguf::deepseek2(true);
  gguf.set("general.architecture", "deepseek32");
  const auto config = (*gguf.open())->config();
  ASSERT_FALSE(config.has_value());
  EXPECT_EQ(config.error().kind, base::ErrorKind::unsupported);
  EXPECT_NE(config.error().why.find("sparse"), std::string::npos) << config.error().message();
}

}  // namespace
}  // namespace format
