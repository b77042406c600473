// DeepSeek-shaped models with one fault each, made here from a good one: every one of them is a
// typed error in three parts, found without a crash, without work and memory by a number of the
// file.
#include <fstream>
#include <gtest/gtest.h>

#include "base/sanitized.h"
#include "format/model_fuzz.h"
#include "format/tiny_models_for_test.h"

namespace format {
namespace {

constexpr uint64_t memory_bytes_max = 16ull << 20;

uint64_t resident(std::string_view field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field)) return std::stoull(line.substr(field.size() + 1)) << 10;
  }
  return 0;
}

// Opens the model and does what a program does with it: all of it must be refused somewhere.
base::Result<void> use(base::Result<std::unique_ptr<ModelFiles>> files) {
  if (!files) return base::fail(std::move(files).error());
  ASSIGN(const ModelConfig config, (*files)->config());
  consume(config);
  std::vector<uint8_t> bytes;
  for (const TensorInfo& tensor : (*files)->tensors()) {
    bytes.resize(tensor.bytes);
    TRY((*files)->read(tensor, 0, bytes));
  }
  return {};
}

void expect_refused(const std::string& fault, const std::string& named, const auto& model) {
  std::ofstream("/proc/self/clear_refs") << "5";  // VmHWM counts from here
  const uint64_t calm = resident("VmRSS:");
  const auto result = use(model.open());
  if (!base::sanitized) {
    EXPECT_LT(resident("VmHWM:"), calm + memory_bytes_max) << fault;
  }
  ASSERT_FALSE(result.has_value()) << fault;
  const base::Error& error = result.error();
  EXPECT_TRUE(error.kind == base::ErrorKind::invalid_input ||
              error.kind == base::ErrorKind::unsupported ||
              error.kind == base::ErrorKind::limit_exceeded)
      << fault << ": " << error.message();
  EXPECT_FALSE(error.what.empty() || error.why.empty() || error.next.empty())
      << fault << ": " << error.message();
  EXPECT_NE(error.message().find(named), std::string::npos) << fault << ": " << error.message();
  const bool file = error.what.find("tiny.gguf") != std::string::npos ||
                    error.what.find("tiny.safetensors") != std::string::npos ||
                    error.what.find("config.json") != std::string::npos;
  EXPECT_TRUE(file) << fault << ": " << error.message();
}

TEST(HostileGguf, GoodOnesAreAccepted) {
  for (const bool newer : {false, true}) {
    const auto result = use(TinyGguf::deepseek2(newer).open());
    EXPECT_TRUE(result.has_value()) << result.error().message();
  }
}

TEST(HostileGguf, NumbersThatCannotBe) {
  struct Case {
    const char* key;
    TinyGguf::Value value;
    const char* named;  // what the message must say
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const Case cases[] = {{"expert_count", 0xffffffffu, "expert_count"},
                        {"expert_count", int32_t{-4}, "expert_count"},
                        {"expert_count", 8u, "ffn_gate_inp"},
                        {"expert_count", 0u, "mlp.gate_proj"},
                        {"expert_count", std::string("four"), "expert_count"},
                        {"expert_used_count", 0u, "expert_used_count"},
                        {"expert_used_count", 5u, "5 experts"},
                        {"expert_used_count", 3u, "3 experts"},  // one group of two is kept
                        {"expert_shared_count", 0x80000000u, "expert_shared_count"},
                        {"expert_shared_count", 2u, "shexp"},
                        {"expert_shared_count", 0u, "shared_experts"},
                        {"expert_group_count", 3u, "3 groups"},
                        {"expert_group_count", 4u, "1 groups of 1"},
                        {"expert_group_count", 0x7fffffffu, "expert_group_count"},
                        {"expert_group_used_count", 9u, "9 groups"},
                        {"expert_gating_func", 3u, "expert_gating_func"},
                        {"expert_gating_func", int32_t{-1}, "expert_gating_func"},
                        {"expert_feed_forward_length", 0u, "expert_feed_forward_length"},
                        {"expert_feed_forward_length", 0xffffffffu, "expert_feed_forward_length"},
                        {"expert_weights_scale", nan, "scale"},
                        {"expert_weights_scale", -2.5f, "scale"},
                        {"expert_weights_norm", 1u, "expert_weights_norm"},
                        {"leading_dense_block_count", 3u, "3 layers"},
                        {"leading_dense_block_count", int32_t{-1}, "leading_dense_block_count"},
                        {"leading_dense_block_count", 0u, "layers.0"},
                        {"attention.kv_lora_rank", 0u, "kv_lora_rank"},
                        {"attention.kv_lora_rank", 0x80000000u, "kv_lora_rank"},
                        {"attention.kv_lora_rank", int32_t{-8}, "kv_lora_rank"},
                        {"attention.q_lora_rank", 0u, "q_lora_rank"},
                        {"attention.q_lora_rank", 7u, "attn_q_a"},
                        {"attention.q_lora_rank", 0x7fffffffu, "q_lora_rank"},
                        {"rope.dimension_count", 8u, "dimension_count"},
                        {"rope.dimension_count", 3u, "pairs"},
                        {"rope.dimension_count", 48u, "dimension_count"},
                        {"nextn_predict_layers", 0x80000000u, "nextn_predict_layers"},
                        {"nextn_predict_layers", 17u, "nextn_predict_layers"},
                        {"nextn_predict_layers", int32_t{-1}, "nextn_predict_layers"},
                        {"block_count", 3u, "layers.2"},
                        {"block_count", 1u, "layer that does not exist"}};
  for (const Case& c : cases) {
    TinyGguf model = TinyGguf::deepseek2(false);
    model.set("deepseek2." + std::string(c.key), c.value);
    expect_refused(c.key, c.named, model);
  }
  for (const float bad : {nan, infinity, -infinity, 1e30f}) {
    TinyGguf model = TinyGguf::deepseek2(true);
    model.set("deepseek2.rope.scaling.type", "yarn");
    model.set("deepseek2.rope.scaling.factor", 40.0f);
    model.set("deepseek2.rope.scaling.original_context_length", uint32_t{32});
    EXPECT_TRUE(use(model.open()).has_value());
    model.set("deepseek2.rope.scaling.yarn_log_multiplier", bad);
    expect_refused("yarn_log_multiplier", "softmax scale", model);
  }
}

TEST(HostileGguf, HeadsOfTheNewerGeneration) {
  const std::pair<const char*, uint32_t> cases[] = {
      {"attention.key_length", 11},      {"attention.head_count_kv", 3},
      {"attention.key_length_mla", 4},   {"attention.key_length_mla", 0xffffffffu},
      {"attention.value_length_mla", 0}, {"attention.value_length_mla", 5}};
  for (const auto& [key, value] : cases) {
    TinyGguf model = TinyGguf::deepseek2(true);
    model.set("deepseek2." + std::string(key), value);
    expect_refused(key, "", model);
  }
  TinyGguf without = TinyGguf::deepseek2(true);
  without.drop_key("deepseek2.attention.value_length_mla");
  expect_refused("no value_length_mla", "value_length_mla", without);
}

TEST(HostileGguf, MissingHalvesAndWrongStacks) {
  for (const char* part :
       {"attn_k_b.weight", "attn_v_b.weight", "attn_q_b.weight", "attn_q_a_norm.weight",
        "attn_kv_a_norm.weight", "attn_kv_a_mqa.weight", "attn_output.weight"}) {
    TinyGguf model = TinyGguf::deepseek2(true);
    model.drop("blk.0." + std::string(part));
    expect_refused(part, "", model);
  }
  for (const char* part : {"ffn_up_exps.weight", "ffn_down_exps.weight", "ffn_gate_inp.weight",
                           "ffn_down_shexp.weight"}) {
    TinyGguf model = TinyGguf::deepseek2(true);
    model.drop("blk.1." + std::string(part));
    expect_refused(part, "is missing", model);
  }
  const std::pair<const char*, std::vector<uint64_t>> shapes[] = {
      {"blk.1.ffn_up_exps.weight", {8, 4, 3}},   {"blk.1.ffn_up_exps.weight", {8, 16}},
      {"blk.1.ffn_down_exps.weight", {8, 4, 4}}, {"blk.1.ffn_gate_inp.weight", {4, 8}},
      {"blk.1.exp_probs_b.bias", {5}},           {"blk.0.attn_k_b.weight", {8, 4, 2}},
      {"blk.0.attn_k_b.weight", {4, 8, 2, 1}},   {"blk.0.attn_v_b.weight", {8, 4, 1}},
      {"blk.0.attn_kv_a_mqa.weight", {8, 8}},    {"blk.0.attn_q_b.weight", {6, 15}},
      {"blk.0.attn_k_b.weight", {4, 15}}};
  for (const auto& [name, ne] : shapes) {
    TinyGguf model = TinyGguf::deepseek2(true);
    model.shape(name, ne);
    expect_refused(name, "has shape", model);
  }
  for (const std::vector<uint64_t>& ne :
       {std::vector<uint64_t>{8, 7, 4}, {8, 8}, {8, 8, 5}, {1, 2, 70000}}) {
    TinyGguf model = TinyGguf::deepseek2(true);
    model.drop("blk.1.ffn_up_exps.weight");
    model.rename("blk.1.ffn_gate_exps.weight", "blk.1.ffn_gate_up_exps.weight");
    model.shape("blk.1.ffn_gate_up_exps.weight", ne);
    expect_refused("gate_up", "gate_up", model);
  }
  TinyGguf both = TinyGguf::deepseek2(true);
  both.tensors.emplace_back("blk.1.ffn_gate_up_exps.weight", std::vector<uint64_t>{8, 8, 4});
  expect_refused("gate_up beside gate", "twice", both);
  TinyGguf two_q = TinyGguf::deepseek2(true);
  two_q.tensors.emplace_back("blk.0.attn_q.weight", std::vector<uint64_t>{8, 16});
  expect_refused("attn_q beside attn_q_a", "both", two_q);
}

TEST(HostileHf, GoodOnesAreAccepted) {
  for (const bool fp8 : {false, true}) {
    const auto result = use(TinyHf::deepseek_v3(fp8).open());
    EXPECT_TRUE(result.has_value()) << result.error().message();
  }
}

TEST(HostileHf, NumbersThatCannotBe) {
  struct Case {
    const char* key;
    const char* json;
    const char* named;
  };
  const Case cases[] = {
      {"n_routed_experts", "4294967296", "n_routed_experts"},
      {"n_routed_experts", "-1", "n_routed_experts"},
      {"n_routed_experts", "5", "groups"},
      {"n_routed_experts", "8", "mlp.gate.weight"},
      {"n_routed_experts", "null", "mlp."},
      {"n_routed_experts", "\"4\"", "n_routed_experts"},
      {"num_experts_per_tok", "0", "num_experts_per_tok"},
      {"num_experts_per_tok", "9", "9 experts"},
      {"num_experts_per_tok", "1.5", "num_experts_per_tok"},
      {"n_shared_experts", "65", "n_shared_experts"},
      {"n_shared_experts", "2", "shared_experts"},
      {"n_group", "3", "3 groups"},
      {"n_group", "0", "n_group"},
      {"n_group", "-2", "n_group"},
      {"topk_group", "5", "5 groups"},
      {"topk_method", "\"banana\"", "topk_method"},
      {"topk_method", "7", "topk_method"},
      {"scoring_func", "\"banana\"", "scoring_func"},
      {"first_k_dense_replace", "3", "3 layers"},
      {"first_k_dense_replace", "-1", "first_k_dense_replace"},
      {"moe_layer_freq", "0", "moe_layer_freq"},
      {"moe_layer_freq", "-1", "moe_layer_freq"},
      {"moe_layer_freq", "2", "mlp."},
      {"moe_intermediate_size", "0", "moe_intermediate_size"},
      {"moe_intermediate_size", "2147483648", "moe_intermediate_size"},
      {"routed_scaling_factor", "-1", "scale"},
      {"routed_scaling_factor", "1e300", "scale"},
      {"routed_scaling_factor", "\"2.5\"", "routed_scaling_factor"},
      {"norm_topk_prob", "1", "norm_topk_prob"},
      {"q_lora_rank", "-6", "q_lora_rank"},
      {"q_lora_rank", "2147483648", "q_lora_rank"},
      {"q_lora_rank", "null", "q_proj"},
      {"kv_lora_rank", "0", "kv_lora_rank"},
      {"kv_lora_rank", "null", "kv_lora_rank"},
      {"kv_lora_rank", "16", "kv_a_proj"},
      {"qk_rope_head_dim", "3", "pairs"},
      {"qk_rope_head_dim", "0", "qk_rope_head_dim"},
      {"qk_nope_head_dim", "1e9", "qk_nope_head_dim"},
      {"v_head_dim", "0", "v_head_dim"},
      {"num_nextn_predict_layers", "1000000000", "num_nextn_predict_layers"},
      {"num_nextn_predict_layers", "-1", "num_nextn_predict_layers"},
      {"rope_interleave", "false", "rope_interleave"},
      {"quantization_config", "{\"quant_method\":\"gptq\"}", "quantization_config"}};
  for (const Case& c : cases) {
    TinyHf model = TinyHf::deepseek_v3(false);
    model.config_set(c.key, c.json);
    expect_refused(std::string(c.key) + " " + c.json, c.named, model);
  }
  for (const char* mscale : {"1e300", "-1e300", "\"1\"", "[1]"}) {
    TinyHf model = TinyHf::deepseek_v3(false);
    base::Json rope = *model.config.find("rope_scaling");
    rope.set("mscale_all_dim", *base::parse_json(mscale, "tiny"));
    model.config.set("rope_scaling", rope);
    expect_refused("mscale_all_dim", "", model);
  }
}

TEST(HostileHf, MissingHalvesAndWrongExperts) {
  for (const char* part : {"self_attn.q_b_proj.weight", "self_attn.q_a_layernorm.weight",
                           "self_attn.kv_b_proj.weight", "mlp.gate.e_score_correction_bias",
                           "mlp.experts.0.up_proj.weight", "mlp.experts.2.down_proj.weight",
                           "mlp.experts.3.down_proj.weight", "mlp.shared_experts.up_proj.weight"}) {
    TinyHf model = TinyHf::deepseek_v3(false);
    model.drop("model.layers.1." + std::string(part));
    expect_refused(part, "", model);
  }
  TinyHf wide = TinyHf::deepseek_v3(false);
  wide.at("model.layers.1.mlp.experts.1.up_proj.weight").shape = {5, 8};
  expect_refused("one expert is larger", "experts.1.up_proj", wide);
  TinyHf other = TinyHf::deepseek_v3(false);
  other.at("model.layers.1.mlp.experts.1.up_proj.weight").dtype = "F32";
  expect_refused("one expert has another type", "experts.1.up_proj", other);
  TinyHf far = TinyHf::deepseek_v3(false);
  far.tensors.push_back({"model.layers.1.mlp.experts.999999.up_proj.weight", "BF16", {4, 8}, ""});
  expect_refused("expert 999999", "experts", far);
  TinyHf more = TinyHf::deepseek_v3(false);
  more.tensors.push_back({"model.layers.1.mlp.experts.4.up_proj.weight", "BF16", {4, 8}, ""});
  expect_refused("a fifth expert of one projection", "[5, 4, 8]", more);
  TinyHf twice = TinyHf::deepseek_v3(false);
  twice.tensors.push_back({"layers.1.ffn.experts.2.w3.weight", "BF16", {4, 8}, ""});
  expect_refused("an expert under both names", "twice", twice);
  TinyHf indexer = TinyHf::deepseek_v3(false);
  indexer.tensors.push_back({"model.layers.0.self_attn.indexer.wk.weight", "BF16", {4, 8}, ""});
  expect_refused("V3.2 under the name of V3", "indexer", indexer);
  TinyHf mtp = TinyHf::deepseek_v3(false);
  mtp.config_set("num_nextn_predict_layers", "1");
  mtp.tensors.push_back({"model.layers.2.eh_proj.weight", "BF16", {8, 16}, ""});
  expect_refused("an MTP layer of one tensor", "enorm", mtp);
}

TEST(HostileHf, Fp8WithoutItsScales) {
  const std::string name = "model.layers.1.mlp.experts.2.up_proj.weight";
  const std::string shared = "model.layers.1.mlp.shared_experts.up_proj.weight";
  for (const std::string& weight : {name, shared}) {
    TinyHf without = TinyHf::deepseek_v3(true);
    without.drop(weight + "_scale_inv");
    expect_refused("no scales", "", without);
    TinyHf alone = TinyHf::deepseek_v3(true);
    alone.drop(weight);
    expect_refused("no weight", "scales of no weight", alone);
    TinyHf wide = TinyHf::deepseek_v3(true);
    wide.at(weight + "_scale_inv").shape = {1, 4};
    expect_refused("too many scales", "[1, 3] was expected", wide);
    TinyHf flat = TinyHf::deepseek_v3(true);
    flat.at(weight + "_scale_inv").shape = {3};
    expect_refused("scales in one dimension", "[1, 3] was expected", flat);
    TinyHf integer = TinyHf::deepseek_v3(true);
    integer.at(weight + "_scale_inv").dtype = "U8";
    expect_refused("integers for scales", "U8", integer);
    TinyHf plain = TinyHf::deepseek_v3(true);
    plain.at(weight).dtype = "BF16";
    expect_refused("scales of BF16", "BF16", plain);
    TinyHf five = TinyHf::deepseek_v3(true);
    five.at(weight).dtype = "F8_E5M2";
    expect_refused("scales of E5M2", "F8_E5M2", five);
  }
  for (const char* size :
       {"[0,3]", "[4]", "[4,3,2]", "[-4,3]", "[4,99999999999]", "\"4\"", "[4.5,3]"}) {
    TinyHf model = TinyHf::deepseek_v3(true);
    model.config_set("quantization_config",
                     R"({"quant_method":"fp8","weight_block_size":)" + std::string(size) + "}");
    expect_refused(size, "weight_block_size", model);
  }
  TinyHf format = TinyHf::deepseek_v3(true);
  format.config_set("quantization_config", R"({"quant_method":"fp8","fmt":"e5m2"})");
  expect_refused("fmt e5m2", "fmt", format);
  TinyHf blocks = TinyHf::deepseek_v3(true);
  blocks.config_set("quantization_config", R"({"quant_method":"fp8"})");
  expect_refused("blocks of another size than the scales", "was expected", blocks);
}

}  // namespace
}  // namespace format
