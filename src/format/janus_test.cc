// Janus in both namings of the hub: the goldens have the same weights under different names, so
// that all that is read of the one must be what is read of the other; and models with one fault
// each, which are refused with the name of what is wrong.
#include <algorithm>
#include <gtest/gtest.h>

#include "format/hf_janus.h"
#include "format/janus_names.h"
#include "format/model_fuzz.h"
#include "format/tiny_janus_for_test.h"

namespace format {
namespace {

std::unique_ptr<ModelFiles> golden(const std::string& name) {
  auto files = ModelFiles::open(std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/model/" + name);
  EXPECT_TRUE(files.has_value()) << (files ? "" : files.error().message());
  return files ? std::move(*files) : nullptr;
}

std::vector<uint8_t> bytes_of(const ModelFiles& files, const TensorInfo& tensor) {
  std::vector<uint8_t> bytes(tensor.bytes);
  EXPECT_TRUE(files.read(tensor, 0, bytes).has_value()) << tensor.name;
  return bytes;
}

void expect_golden_numbers(const ModelConfig& config) {
  EXPECT_EQ(config.architecture, "janus");
  EXPECT_EQ(config.hidden, 52);
  EXPECT_EQ(config.layers, 2);
  EXPECT_EQ(config.heads, 2);
  EXPECT_EQ(config.head_dim, 26);
  EXPECT_EQ(config.vocab, 336);
  EXPECT_EQ(config.context_tokens_max, 1024);
  EXPECT_EQ(config.rope_layout, RopeLayout::half_split);
  EXPECT_FALSE(config.tied_head);
  EXPECT_EQ(config.quantization, "BF16");
  ASSERT_TRUE(config.janus.has_value());
  const JanusVision& v = config.janus->vision;
  EXPECT_EQ(std::tuple(v.side, v.patch, v.width, v.layers, v.heads, v.ffn, v.aligner_layers),
            std::tuple(96, 16, 36, 2, 3, 144, 2));
  EXPECT_EQ(std::tuple(v.eps, v.min_side, v.background, v.mean, v.std),
            std::tuple(1e-6, 14, 127, 0.5, 0.5));
  const JanusDrawing& d = config.janus->drawing;
  EXPECT_EQ(std::tuple(d.codes, d.code_width, d.head_width, d.aligner_layers, d.grid, d.channels,
                       d.latent, d.res_blocks, d.side()),
            std::tuple(256, 8, 52, 2, 6, 32, 32, 2, 96));
  EXPECT_EQ(d.multipliers, (std::vector{1, 1, 2, 1, 1}));
}

TEST(Janus, BothNamingsAreOneModel) {
  const auto port = golden("janus-hf"), original = golden("janus-original");
  const auto a = port->config(), b = original->config();
  ASSERT_TRUE(a.has_value()) << a.error().message();
  ASSERT_TRUE(b.has_value()) << b.error().message();
  expect_golden_numbers(*a);
  expect_golden_numbers(*b);
  EXPECT_EQ(a->parameters, b->parameters);
  EXPECT_EQ(a->parameters_active, b->parameters_active);
  EXPECT_GT(a->parameters, 2 * a->parameters_active);
  ASSERT_EQ(port->tensors().size(), original->tensors().size());
  for (const TensorInfo& tensor : port->tensors()) {
    const TensorInfo* other = original->find(tensor.name);
    ASSERT_NE(other, nullptr) << tensor.name;
    EXPECT_EQ(tensor.shape, other->shape) << tensor.name;
    EXPECT_EQ(tensor.dtype, other->dtype) << tensor.name;
    EXPECT_EQ(bytes_of(*port, tensor), bytes_of(*original, *other)) << tensor.name;
  }
  EXPECT_EQ(port->find("vision.layers.1.qkv.weight")->shape, (std::vector<uint64_t>{108, 36}));
  EXPECT_EQ(port->find("vision.positions")->shape, (std::vector<uint64_t>{36, 36}));
  EXPECT_EQ(original->find("vision.attn_pool.latent"), nullptr);
}

TEST(Janus, TokenizerHasThePicturesTokensAndTheEnd) {
  for (const char* name : {"janus-hf", "janus-original"}) {
    const auto spec = golden(name)->tokenizer();
    ASSERT_TRUE(spec.has_value()) << spec.error().message();
    EXPECT_EQ(spec->bos_id, 320);
    EXPECT_EQ(spec->eos_id, 321);
    EXPECT_EQ(spec->pad_id, 322);
    EXPECT_EQ(spec->tokens.at(323), "<image_placeholder>");
    EXPECT_TRUE(spec->add_bos);
  }
}

TEST(Janus, NamesThatAreReadByNobodyAreDropped) {
  for (const char* name :
       {"vision_model.vision_tower.attn_pool.q.weight", "gen_vision_model.quant_conv.bias",
        "gen_vision_model.encoder.mid.0.conv1.weight", "gen_vision_model.quantize.codebook_used",
        "model.vqmodel.encoder.conv_in.weight", "model.vqmodel.quant_conv.weight"}) {
    const auto found = janus_name(name);
    ASSERT_TRUE(found.has_value()) << name;
    EXPECT_EQ(found->name, "") << name;
  }
  EXPECT_FALSE(janus_name("transformer.h.0.weight").has_value());
  EXPECT_FALSE(janus_name("aligner.layers.1.weight").has_value());  // the activation has none
  EXPECT_FALSE(janus_name("aligner.layers.02.weight").has_value());
}

TEST(Janus, SevenBillionStateOnlyThreeNumbersOfTheLanguageModel) {
  const auto config = base::parse_json(
      R"({"language_config":{"max_position_embeddings":16384,"model_type":"llama",
          "num_hidden_layers":30,"torch_dtype":"bfloat16","vocab_size":102400}})",
      "config.json");
  const auto json = janus_language_config(*config);
  ASSERT_TRUE(json.has_value());
  const std::pair<const char*, int64_t> wanted[] = {
      {"hidden_size", 4096},     {"intermediate_size", 11008},
      {"num_hidden_layers", 30}, {"num_attention_heads", 32},
      {"vocab_size", 102400},    {"max_position_embeddings", 16384}};
  for (const auto& [key, value] : wanted) EXPECT_EQ(json->find(key)->as_integer(), value) << key;
  EXPECT_EQ(json->find("rms_norm_eps")->as_number(), 1e-6);
}

TEST(Janus, PreprocessorSaysHowTheCanvasIsFilled) {
  const auto read = [](const std::string& json) {
    JanusVision vision;
    vision.side = 96;
    const auto done = read_janus_preprocessor(*base::parse_json(json, "p"), vision);
    EXPECT_TRUE(done.has_value()) << json << done.error().message();
    return vision;
  };
  EXPECT_EQ(read(R"({"background_color":[10,10,10],"min_size":20})").background, 10);
  EXPECT_EQ(read(R"({"min_size":20})").min_side, 20);
  EXPECT_EQ(read(R"({"image_mean":[0.25,0.25,0.25]})").background, 63);
  EXPECT_EQ(read(R"({"do_normalize":false})").mean, 0);
  EXPECT_EQ(read("{}").background, 127);
  for (const char* json :
       {R"({"image_size":384})", R"({"size":{"height":96,"width":64}})", R"({"resample":2})",
        R"({"image_mean":[0.48,0.45,0.41]})", R"({"image_std":[0,0,0]})", R"({"min_size":97})",
        R"({"background_color":[1,2]})", R"({"do_pad":false})", R"({"rescale_factor":1})",
        R"({"image_mean":["a",0,0]})"}) {
    JanusVision vision;
    vision.side = 96;
    const auto done = read_janus_preprocessor(*base::parse_json(json, "p"), vision);
    ASSERT_FALSE(done.has_value()) << json;
    EXPECT_NE(done.error().what.find("preprocessor_config.json"), std::string::npos) << json;
    EXPECT_FALSE(done.error().why.empty() || done.error().next.empty()) << json;
  }
}

// ---- hostile ------------------------------------------------------------------------------------

base::Result<void> use(const TinyJanus& model) {
  ASSIGN(const auto files, model.open());
  ASSIGN(const ModelConfig config, files->config());
  consume(config);
  read_everything(*files);
  return {};
}

void expect_refused(const TinyJanus& model, const std::string& fault, const std::string& named) {
  const auto result = use(model);
  ASSERT_FALSE(result.has_value()) << fault;
  const base::Error& error = result.error();
  EXPECT_TRUE(error.kind == base::ErrorKind::invalid_input ||
              error.kind == base::ErrorKind::unsupported)
      << fault << ": " << error.message();
  EXPECT_FALSE(error.what.empty() || error.why.empty() || error.next.empty())
      << fault << ": " << error.message();
  EXPECT_NE(error.message().find(named), std::string::npos) << fault << ": " << error.message();
}

TEST(HostileJanus, GoodOnesAreAccepted) {
  for (const TinyJanus& model : {TinyJanus::original(), TinyJanus::port()}) {
    const auto done = use(model);
    ASSERT_TRUE(done.has_value()) << done.error().message();
    const auto config = (*model.open())->config();
    EXPECT_EQ(config->janus->drawing.multipliers, (std::vector{1, 2}));
    EXPECT_EQ(config->janus->drawing.res_blocks, 1);
    EXPECT_EQ(config->janus->drawing.side(), 4);
    EXPECT_EQ(config->janus->vision.ffn, 10);
  }
}

TEST(HostileJanus, ShapesThatCannotBe) {
  const std::string tower = "vision_model.vision_tower.", up = "gen_vision_model.decoder.";
  struct Case {
    std::string tensor;
    std::vector<uint64_t> shape;
    const char* named;
  };
  const Case cases[] = {
      {tower + "patch_embed.proj.weight", {6, 48}, "patch_embed.proj"},
      {tower + "patch_embed.proj.weight", {6, 3, 4, 5}, "patch_embed.proj"},
      {tower + "patch_embed.proj.weight", {6, 1, 4, 4}, "patch_embed.proj"},
      {tower + "patch_embed.proj.weight", {6, 3, 9, 9}, "patches"},
      {tower + "pos_embed", {2, 4, 6}, "pos_embed"},
      {tower + "pos_embed", {1, 5, 6}, "5 patches"},
      {tower + "pos_embed", {24}, "pos_embed"},
      {tower + "blocks.0.mlp.fc1.weight", {60}, "fc1"},
      {tower + "blocks.1.mlp.fc1.weight", {11, 6}, "blocks.1.mlp.fc1"},
      {tower + "blocks.1.attn.qkv.weight", {12, 6}, "qkv"},
      {tower + "blocks.1.attn.qkv.bias", {6}, "qkv"},
      {"aligner.layers.0.weight", {8, 7}, "aligner.layers.0"},
      {"aligner.layers.2.weight", {8, 4}, "aligner.layers.2"},
      {"gen_embed.weight", {6, 4}, "image codes"},
      {"gen_embed.weight", {20}, "gen_embed"},
      {"gen_head.vision_head.weight", {5, 8}, "vision_head"},
      {"gen_head.output_mlp_projector.weight", {9, 8}, "head of image codes"},
      {"gen_vision_model.quantize.embedding.weight", {4, 5}, "quantize.embedding"},
      {"gen_vision_model.post_quant_conv.weight", {8, 5, 1, 1}, "post_quant_conv"},
      {up + "conv_in.weight", {64, 8, 3}, "conv_in"},
      {up + "conv_in.weight", {32, 8, 3, 3}, "conv_in"},
      {up + "conv_blocks.1.res.0.conv1.weight", {33, 64, 3, 3}, "33 channels"},
      {up + "conv_blocks.1.res.0.conv1.weight", {16384, 1, 1, 1}, "channels of level 1"},
      {up + "conv_blocks.1.res.1.conv1.weight", {32, 64, 3, 3}, "conv_blocks.1.res.1.conv1"},
      {up + "conv_blocks.0.attn.1.q.weight", {64, 64}, "attn.1.q"},
      {up + "conv_out.weight", {4, 32, 3, 3}, "conv_out"}};
  for (const Case& c : cases) {
    TinyJanus model = TinyJanus::original();
    model.at(c.tensor).shape = c.shape;
    expect_refused(model, fmt::format("{} is [{}]", c.tensor, fmt::join(c.shape, ", ")), c.named);
  }
}

TEST(HostileJanus, TensorsThatAreMissingOrTooMany) {
  const std::pair<const char*, const char*> halves[] = {
      {"vision_model.", "half of the model that sees"},
      {"aligner.", "half of the model that sees"},
      {"gen_", "half of the model that draws"},
      {"gen_vision_model.", "half of the model that draws"},
      {"gen_head.", "half of the model that draws"},
      {"gen_aligner.", "half of the model that draws"},
      {"language_model.", "model.embed_tokens.weight"},
      {"gen_vision_model.decoder.conv_blocks.", "levels"},
      {"gen_vision_model.decoder.mid.1", "vq.mid.1"},
      {"vision_model.vision_tower.blocks.0.", "layers"},
      {"gen_vision_model.decoder.conv_blocks.1.res.0.nin_shortcut", "shortcut"},
      {"vision_model.vision_tower.blocks.1.attn.qkv.bias", "qkv.bias"}};
  for (const auto& [prefix, named] : halves) {
    TinyJanus model = TinyJanus::original();
    model.drop_starting(prefix);
    expect_refused(model, std::string("without ") + prefix, named);
  }
  for (const char* name : {"vision_model.vision_tower.blocks.2.norm2.weight",
                           "vision_model.vision_tower.norm_pre.weight",
                           "gen_vision_model.decoder.conv_blocks.1.attn.0.q.weight",
                           "gen_vision_model.decoder.conv_blocks.1.upsample.conv.weight",
                           "gen_vision_model.decoder.conv_blocks.0.res.2.norm1.weight"}) {
    TinyJanus model = TinyJanus::original();
    model.tensors.push_back({name, "BF16", {6}, ""});
    expect_refused(model, std::string("with ") + name, name);
  }
}

TEST(HostileJanus, ThreePartsThatAreNoWhole) {
  const std::string at = "model.vision_model.encoder.layers.1.self_attn.";
  TinyJanus missing = TinyJanus::port();
  missing.drop(at + "k_proj.weight");
  expect_refused(missing, "no k", "has no k_proj");
  TinyJanus differs = TinyJanus::port();
  differs.at(at + "v_proj.weight").shape = {6, 7};
  expect_refused(differs, "v of another shape", "v_proj");
  TinyJanus type = TinyJanus::port();
  type.at(at + "k_proj.bias").dtype = "F32";
  expect_refused(type, "k of another type", "k_proj");
  TinyJanus heads = TinyJanus::port();
  heads.tensors.push_back({at + "q_norm.weight", "BF16", {3}, ""});
  expect_refused(heads, "norms of q", "q_norm");
}

TEST(HostileJanus, NumbersOfConfigThatTheTensorsDoNotHave) {
  struct Case {
    const char *object, *key, *json, *named;
  };
  const Case port[] = {{"vision_config", "num_hidden_layers", "3", "layers"},
                       {"vision_config", "num_hidden_layers", "1", "layers"},
                       {"vision_config", "hidden_size", "12", "width"},
                       {"vision_config", "num_attention_heads", "4", "4 heads"},
                       {"vision_config", "image_size", "12", "num_image_tokens"},
                       {"vision_config", "image_size", "1000000", "image_size"},
                       {"vision_config", "mlp_ratio", "4.0", "feed forward"},
                       {"vision_config", "mlp_ratio", "-1e300", "mlp_ratio"},
                       {"vision_config", "layer_norm_eps", "0", "epsilon"},
                       {"vision_config", "hidden_act", "\"relu\"", "hidden_act"},
                       {"vision_config", "use_qk_norm", "true", "use_qk_norm"},
                       {"vision_config", "depth", "3", "aligner"},
                       {"vq_config", "base_channels", "64", "128 channels"},
                       {"vq_config", "channel_multiplier", "[1,2,2]", "levels"},
                       {"vq_config", "channel_multiplier", "[1,-2]", "channel_multiplier"},
                       {"vq_config", "channel_multiplier", "[2,1]", "channels"},
                       {"vq_config", "channel_multiplier", "[]", "channel_multiplier"},
                       {"vq_config", "num_embeddings", "6", "image codes"},
                       {"vq_config", "num_embeddings", "99999999999", "num_embeddings"},
                       {"vq_config", "num_res_blocks", "2", "residual blocks"},
                       {"vq_config", "num_patches", "3", "num_patches"},
                       {"vq_config", "latent_channels", "16", "latent"},
                       {"vq_config", "double_latent", "true", "double_latent"},
                       {"text_config", "hidden_size", "16", "embed_tokens"},
                       {"text_config", "model_type", "\"gemma\"", "model_type"}};
  for (const Case& c : port) {
    TinyJanus model = TinyJanus::port();
    model.nested_set(c.object, c.key, c.json);
    expect_refused(model, fmt::format("{}.{} = {}", c.object, c.key, c.json), c.named);
  }
  const Case original[] = {{"vision_config", "select_layer", "-2", "select_layer"},
                           {"vision_config", "select_feature", "\"patch\"", "select_feature"},
                           {"vision_config", "heads", "5", "5 heads"},
                           {"vision_config", "image_size", "16", "4 patches"},
                           {"aligner_config", "projector_type", "\"linear\"", "projector_type"},
                           {"gen_head_config", "image_token_size", "6", "image_token_size"},
                           {"gen_vision_config", "n_embed", "8", "width of image codes"}};
  for (const Case& c : original) {
    TinyJanus model = TinyJanus::original();
    model.nested_set(c.object, c.key, c.json);
    expect_refused(model, fmt::format("{}.{} = {}", c.object, c.key, c.json), c.named);
  }
  TinyJanus list = TinyJanus::port();
  list.config_set("vision_config", "[1]");
  expect_refused(list, "vision_config is a list", "vision_config");
}

TEST(HostileJanus, TypesThatCannotBeComputedWith) {
  TinyJanus model = TinyJanus::original();
  model.at("gen_vision_model.decoder.conv_in.weight").dtype = "F8_E4M3";
  expect_refused(model, "a convolution in FP8", "F8_E4M3");
  TinyJanus integers = TinyJanus::original();
  integers.at("vision_model.vision_tower.blocks.0.mlp.fc1.weight").dtype = "I8";
  expect_refused(integers, "a matrix of integers", "I8");
}

}  // namespace
}  // namespace format
