// A Janus of a few numbers in memory, for tests that change one thing of a good one. The weights
// are zero; every tensor is BF16.
#pragma once

#include "format/tiny_models_for_test.h"

namespace format {

// Hidden 8, 1 layer of 2 heads, 16 tokens; a tower of width 6 with 2 layers and 2 heads that sees
// 8 x 8 pixels in patches of 4; 5 codes of width 4, a grid of 2, 2 levels of 64 and 32 channels.
class TinyJanus : public TinyHf {
 public:
  struct Sizes {
    uint64_t hidden = 8, ffn = 12, vocab = 16, head = 7;
    uint64_t vision = 6, vision_ffn = 10;  // of the tower
  };
  static TinyJanus original() { return original(Sizes()); }
  static TinyJanus original(const Sizes& sizes) {
    TinyJanus m;
    m.sizes_ = sizes;
    m.config = *base::parse_json(
        R"({"architectures":["MultiModalityCausalLM"],"model_type":"multi_modality",
            "aligner_config":{"params":{"depth":2,"projector_type":"mlp_gelu"}},
            "gen_aligner_config":{"params":{"depth":2,"projector_type":"mlp_gelu"}},
            "gen_head_config":{"params":{"image_token_embed":7,"image_token_size":5}},
            "gen_vision_config":{"cls":"VQ-16","params":{"image_token_size":5,"n_embed":4}},
            "language_config":{"model_type":"llama","hidden_size":8,"intermediate_size":12,
            "num_hidden_layers":1,"num_attention_heads":2,"vocab_size":16,
            "max_position_embeddings":64},
            "vision_config":{"cls":"CLIPVisionTower","params":{"image_size":8,
            "model_name":"siglip_large_patch16_384","select_feature":"same","select_layer":-1,
            "heads":2}}})",
        "tiny");
    m.nested_set("language_config", "hidden_size", std::to_string(sizes.hidden));
    m.nested_set("language_config", "intermediate_size", std::to_string(sizes.ffn));
    m.nested_set("language_config", "vocab_size", std::to_string(sizes.vocab));
    m.nested_set("gen_head_config", "image_token_embed", std::to_string(sizes.head));
    const std::string tower = "vision_model.vision_tower.", vq = "gen_vision_model.";
    m.add_language("language_model.model.", "language_model.lm_head.weight");
    const uint64_t width = sizes.vision;
    m.linear(tower + "patch_embed.proj", {width, 3, 4, 4});
    m.one(tower + "pos_embed", {1, 4, width});
    for (int i = 0; i < 2; ++i) {
      const std::string at = tower + "blocks." + std::to_string(i) + ".";
      m.linear(at + "norm1", {width});
      m.linear(at + "norm2", {width});
      m.linear(at + "attn.qkv", {3 * width, width});
      m.linear(at + "attn.proj", {width, width});
      m.linear(at + "mlp.fc1", {sizes.vision_ffn, width});
      m.linear(at + "mlp.fc2", {width, sizes.vision_ffn});
    }
    m.linear(tower + "norm", {width});
    m.one(tower + "attn_pool.latent", {1, 1, width});
    m.add_adapters("aligner.layers.0", "aligner.layers.2", width);
    m.add_adapters("gen_aligner.layers.0", "gen_aligner.layers.2", 4);
    m.one("gen_embed.weight", {5, 4});
    m.linear("gen_head.output_mlp_projector", {sizes.head, sizes.hidden});
    m.linear("gen_head.vision_head", {5, sizes.head});
    m.add_decoder(vq, {"mid.0", "mid.1", "mid.2"}, "conv_blocks", "res");
    m.one(vq + "quantize.codebook_used", {9});
    m.linear(vq + "quant_conv", {4, 8, 1, 1});
    m.linear(vq + "encoder.conv_in", {8, 3, 3, 3});
    return m;
  }

  static TinyJanus port() {
    TinyJanus m;
    m.config = *base::parse_json(
        R"({"architectures":["JanusForConditionalGeneration"],"model_type":"janus",
            "text_config":{"model_type":"llama","hidden_size":8,"intermediate_size":12,
            "num_hidden_layers":1,"num_attention_heads":2,"vocab_size":16,
            "max_position_embeddings":64},
            "vision_config":{"hidden_size":6,"num_hidden_layers":2,"num_attention_heads":2,
            "image_size":8,"patch_size":4,"mlp_ratio":1.7,"depth":2,"num_image_tokens":4},
            "vq_config":{"embed_dim":4,"num_embeddings":5,"latent_channels":8,"base_channels":32,
            "channel_multiplier":[1,2],"num_res_blocks":1,"num_patches":2,"num_hidden_layers":2}})",
        "tiny");
    const std::string tower = "model.vision_model.", vq = "model.vqmodel.";
    m.add_language("model.language_model.", "lm_head.weight");
    m.linear(tower + "embeddings.patch_embedding", {6, 3, 4, 4});
    m.one(tower + "embeddings.position_embedding.weight", {4, 6});
    for (int i = 0; i < 2; ++i) {
      const std::string at = tower + "encoder.layers." + std::to_string(i) + ".";
      m.linear(at + "layer_norm1", {6});
      m.linear(at + "layer_norm2", {6});
      for (const char* part : {"v", "q", "k"}) m.linear(at + "self_attn." + part + "_proj", {6, 6});
      m.linear(at + "self_attn.projection_layer", {6, 6});
      m.linear(at + "mlp.fc1", {10, 6});
      m.linear(at + "mlp.fc2", {6, 10});
    }
    m.linear(tower + "post_layernorm", {6});
    m.add_adapters("model.aligner.fc1", "model.aligner.hidden_layers.0", 6);
    m.add_adapters("model.generation_aligner.fc1", "model.generation_aligner.hidden_layers.0", 4);
    m.one("model.generation_embeddings.weight", {5, 4});
    m.linear("model.generation_head.proj_out", {7, 8});
    m.linear("model.generation_head.vision_head", {5, 7});
    m.add_decoder(vq, {"mid.block_1", "mid.attn_1", "mid.block_2"}, "up", "block");
    return m;
  }

  // A member of an object of config.json.
  void nested_set(const std::string& object, const std::string& key, const std::string& json) {
    base::Json inner = config.find(object) ? *config.find(object) : base::Json::object();
    const base::Json* params = inner.find("params");
    if (params != nullptr) {
      base::Json copy = *params;
      copy.set(key, *base::parse_json(json, "tiny"));
      inner.set("params", std::move(copy));
    } else {
      inner.set(key, *base::parse_json(json, "tiny"));
    }
    config.set(object, std::move(inner));
  }
  void drop_starting(const std::string& prefix) {
    std::erase_if(tensors, [&](const Tensor& tensor) { return tensor.name.starts_with(prefix); });
  }
  // Noise, and about 1 for norms.
  void fill(uint32_t seed) {
    for (Tensor& tensor : tensors) {
      const bool norm = tensor.name.find("norm") != std::string::npos;
      uint64_t count = 1;
      for (const uint64_t length : tensor.shape) count *= length;
      tensor.data.clear();
      for (uint64_t i = 0; i < count; ++i) {
        seed = seed * 1664525u + 1013904223u;
        const float noise = (static_cast<float>(seed >> 8) / (1 << 24) - 0.5f) * 0.2f;
        const uint16_t bits = tensor::f32_to_bf16(norm ? 1 + noise : noise);
        tensor.data.append(reinterpret_cast<const char*>(&bits), sizeof(bits));
      }
    }
  }

 private:
  Sizes sizes_;

  void one(const std::string& name, std::vector<uint64_t> shape) {
    tensors.push_back({name, "BF16", std::move(shape), ""});
  }
  void linear(const std::string& name, std::vector<uint64_t> shape) {
    one(name + ".bias", {shape[0]});
    one(name + ".weight", std::move(shape));
  }
  void add_adapters(const std::string& first, const std::string& second, uint64_t from) {
    linear(first, {sizes_.hidden, from});
    linear(second, {sizes_.hidden, sizes_.hidden});
  }
  void add_language(const std::string& prefix, const std::string& head) {
    const uint64_t hidden = sizes_.hidden, ffn = sizes_.ffn;
    one(prefix + "embed_tokens.weight", {sizes_.vocab, hidden});
    one(prefix + "norm.weight", {hidden});
    one(head, {sizes_.vocab, hidden});
    const std::string at = prefix + "layers.0.";
    one(at + "input_layernorm.weight", {hidden});
    one(at + "post_attention_layernorm.weight", {hidden});
    for (const char* part : {"q", "k", "v", "o"}) {
      one(at + "self_attn." + part + "_proj.weight", {hidden, hidden});
    }
    one(at + "mlp.gate_proj.weight", {ffn, hidden});
    one(at + "mlp.up_proj.weight", {ffn, hidden});
    one(at + "mlp.down_proj.weight", {hidden, ffn});
  }
  void res(const std::string& at, uint64_t from, uint64_t to) {
    linear(at + ".norm1", {from});
    linear(at + ".conv1", {to, from, 3, 3});
    linear(at + ".norm2", {to});
    linear(at + ".conv2", {to, to, 3, 3});
    if (from != to) linear(at + ".nin_shortcut", {to, from, 1, 1});
  }
  void attention(const std::string& at, uint64_t channels) {
    linear(at + ".norm", {channels});
    for (const char* part : {".q", ".k", ".v", ".proj_out"}) {
      linear(at + part, {channels, channels, 1, 1});
    }
  }
  void add_decoder(const std::string& vq, const std::vector<std::string>& mid,
                   const std::string& levels, const std::string& block) {
    const std::string decoder = vq + "decoder.", up = decoder + levels;
    one(vq + "quantize.embedding.weight", {5, 4});
    linear(vq + "post_quant_conv", {8, 4, 1, 1});
    linear(decoder + "conv_in", {64, 8, 3, 3});
    res(decoder + mid[0], 64, 64);
    attention(decoder + mid[1], 64);
    res(decoder + mid[2], 64, 64);
    for (int i = 0; i < 2; ++i) {
      res(up + ".0." + block + "." + std::to_string(i), 64, 64);
      attention(up + ".0.attn." + std::to_string(i), 64);
      res(up + ".1." + block + "." + std::to_string(i), i == 0 ? 64 : 32, 32);
    }
    linear(up + ".0.upsample.conv", {64, 64, 3, 3});
    linear(decoder + "norm_out", {32});
    linear(decoder + "conv_out", {3, 32, 3, 3});
  }
};

}  // namespace format
