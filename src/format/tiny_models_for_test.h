// Models of a few numbers, written as bytes in memory, for tests that change one thing of a good
// one: deepseek2 as GGUF of both generations, DeepSeek V3 in Hugging Face layout with and without
// FP8. The weights are zero unless a test sets them.
#pragma once

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/json.h"
#include "format/opened.h"

namespace format {

class TinyGguf {
 public:
  using Value = std::variant<uint32_t, int32_t, float, bool, std::string>;

  // Hidden 8, 2 heads of 4 + 4 and v 4, rank 8, 2 layers (the second with 4 experts of 4, 2 used in
  // 2 groups of which 1 is), 16 tokens.
  static TinyGguf deepseek2(bool newer) {
    TinyGguf m;
    m.set("general.architecture", "deepseek2");
    const std::pair<const char*, uint32_t> sizes[] = {{"vocab_size", 16},
                                                      {"context_length", 64},
                                                      {"embedding_length", 8},
                                                      {"block_count", 2},
                                                      {"feed_forward_length", 12},
                                                      {"attention.head_count", 2},
                                                      {"attention.q_lora_rank", 6},
                                                      {"attention.kv_lora_rank", 8},
                                                      {"rope.dimension_count", 4},
                                                      {"leading_dense_block_count", 1},
                                                      {"expert_feed_forward_length", 4},
                                                      {"expert_count", 4},
                                                      {"expert_used_count", 2},
                                                      {"expert_shared_count", 1},
                                                      {"expert_group_count", 2},
                                                      {"expert_group_used_count", 1},
                                                      {"expert_gating_func", 2}};
    for (const auto& [key, value] : sizes) m.set("deepseek2." + std::string(key), value);
    m.set("deepseek2.attention.head_count_kv", uint32_t{newer ? 1u : 2u});
    m.set("deepseek2.attention.key_length", uint32_t{newer ? 12u : 8u});
    m.set("deepseek2.attention.value_length", uint32_t{newer ? 8u : 4u});
    if (newer) {
      m.set("deepseek2.attention.key_length_mla", uint32_t{8});
      m.set("deepseek2.attention.value_length_mla", uint32_t{4});
    }
    m.set("deepseek2.attention.layer_norm_rms_epsilon", 1e-6f);
    m.set("deepseek2.rope.freq_base", 10000.0f);
    m.set("deepseek2.expert_weights_scale", 2.5f);
    m.set("deepseek2.expert_weights_norm", true);
    m.tensors = {{"token_embd.weight", {8, 16}}, {"output_norm.weight", {8}}};
    m.tensors.emplace_back("output.weight", std::vector<uint64_t>{8, 16});
    for (int i = 0; i < 2; ++i) m.add_layer(i, newer, i == 1);
    return m;
  }

  void add_layer(int index, bool newer, bool experts) {
    const auto add = [&](const char* part, std::vector<uint64_t> ne) {
      tensors.emplace_back("blk." + std::to_string(index) + "." + part, std::move(ne));
    };
    add("attn_norm.weight", {8});
    add("ffn_norm.weight", {8});
    add("attn_q_a.weight", {8, 6});
    add("attn_q_a_norm.weight", {6});
    add("attn_q_b.weight", {6, 16});
    add("attn_kv_a_mqa.weight", {8, 12});
    add("attn_kv_a_norm.weight", {8});
    if (newer) {
      add("attn_k_b.weight", {4, 8, 2});
      add("attn_v_b.weight", {8, 4, 2});
    } else {
      add("attn_kv_b.weight", {8, 16});
    }
    add("attn_output.weight", {8, 8});
    if (!experts) {
      add("ffn_gate.weight", {8, 12});
      add("ffn_up.weight", {8, 12});
      add("ffn_down.weight", {12, 8});
      return;
    }
    add("ffn_gate_inp.weight", {8, 4});
    add("exp_probs_b.bias", {4});
    add("ffn_gate_exps.weight", {8, 4, 4});
    add("ffn_up_exps.weight", {8, 4, 4});
    add("ffn_down_exps.weight", {4, 8, 4});
    add("ffn_gate_shexp.weight", {8, 4});
    add("ffn_up_shexp.weight", {8, 4});
    add("ffn_down_shexp.weight", {4, 8});
  }

  void set(const std::string& key, Value value) {
    drop_key(key);
    keys.emplace_back(key, std::move(value));
  }
  void set(const std::string& key, const char* value) { set(key, Value(std::string(value))); }
  void drop_key(const std::string& key) {
    std::erase_if(keys, [&](const auto& entry) { return entry.first == key; });
  }
  void drop(const std::string& tensor) {
    std::erase_if(tensors, [&](const auto& entry) { return entry.first == tensor; });
  }
  void shape(const std::string& tensor, std::vector<uint64_t> ne) {
    for (auto& entry : tensors) {
      if (entry.first == tensor) entry.second = ne;
    }
  }
  void rename(const std::string& from, const std::string& to) {
    for (auto& entry : tensors) {
      if (entry.first == from) entry.first = to;
    }
  }

  // All tensors F32; element i of a tensor is i.
  std::string bytes() const {
    std::string out = "GGUF", infos, data;
    put(out, uint32_t{3});
    put(out, uint64_t{tensors.size()});
    put(out, uint64_t{keys.size()});
    for (const auto& [key, value] : keys) put_key(out, key, value);
    for (const auto& [name, ne] : tensors) {
      put_text(infos, name);
      put(infos, static_cast<uint32_t>(ne.size()));
      uint64_t elements = 1;
      for (const uint64_t n : ne) {
        put(infos, n);
        elements *= n;
      }
      put(infos, uint32_t{0});
      put(infos, uint64_t{data.size()});
      for (uint64_t i = 0; i < elements; ++i) put(data, static_cast<float>(i));
      data.resize((data.size() + 31) / 32 * 32);
    }
    out += infos;
    out.resize((out.size() + 31) / 32 * 32);
    return out + data;
  }
  base::Result<std::unique_ptr<ModelFiles>> open() const {
    const std::string all = bytes();
    std::vector<std::unique_ptr<ByteSource>> shards;
    shards.push_back(
        memory_source({reinterpret_cast<const uint8_t*>(all.data()), all.size()}, "tiny.gguf"));
    return open_gguf(std::move(shards));
  }

  std::vector<std::pair<std::string, Value>> keys;
  std::vector<std::pair<std::string, std::vector<uint64_t>>> tensors;  // ne

 private:
  template <class T>
  static void put(std::string& out, T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  static void put_text(std::string& out, const std::string& text) {
    put(out, uint64_t{text.size()});
    out += text;
  }
  static void put_key(std::string& out, const std::string& key, const Value& value) {
    put_text(out, key);
    constexpr uint32_t ids[] = {4, 5, 6, 7, 8};
    put(out, ids[value.index()]);
    std::visit(
        [&](const auto& v) {
          if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::string>) {
            put_text(out, v);
          } else if constexpr (std::is_same_v<std::decay_t<decltype(v)>, bool>) {
            put(out, static_cast<uint8_t>(v ? 1 : 0));
          } else {
            put(out, v);
          }
        },
        value);
  }
};

class TinyHf {
 public:
  struct Tensor {
    std::string name, dtype;
    std::vector<uint64_t> shape;
    std::string data;  // zeros if empty
  };

  // The numbers of TinyGguf::deepseek2; with fp8 in blocks of 4 by 3.
  static TinyHf deepseek_v3(bool fp8) {
    TinyHf m;
    m.config = *base::parse_json(
        R"({"architectures":["DeepseekV3ForCausalLM"],"model_type":"deepseek_v3","hidden_size":8,
            "intermediate_size":12,"moe_intermediate_size":4,"num_hidden_layers":2,
            "first_k_dense_replace":1,"num_attention_heads":2,"num_key_value_heads":2,
            "q_lora_rank":6,"kv_lora_rank":8,"qk_nope_head_dim":4,"qk_rope_head_dim":4,
            "v_head_dim":4,"n_routed_experts":4,"n_shared_experts":1,"num_experts_per_tok":2,
            "n_group":2,"topk_group":1,"topk_method":"noaux_tc","scoring_func":"sigmoid",
            "norm_topk_prob":true,"routed_scaling_factor":2.5,"moe_layer_freq":1,"vocab_size":16,
            "num_nextn_predict_layers":0,"max_position_embeddings":64,"rope_theta":10000,
            "rms_norm_eps":1e-6,"rope_scaling":{"type":"yarn","factor":40,
            "original_max_position_embeddings":32,"mscale":1.0,"mscale_all_dim":1.0}})",
        "tiny");
    m.fp8 = fp8;
    if (fp8) {
      m.config.set("quantization_config",
                   *base::parse_json(
                       R"({"quant_method":"fp8","fmt":"e4m3","weight_block_size":[4,3]})", "tiny"));
    }
    m.tensors = {{"model.embed_tokens.weight", "BF16", {16, 8}, ""},
                 {"model.norm.weight", "BF16", {8}, ""},
                 {"lm_head.weight", "BF16", {16, 8}, ""}};
    for (int i = 0; i < 2; ++i) m.add_layer(i, i == 1);
    return m;
  }

  void add_layer(int index, bool experts) {
    const std::string at = "model.layers." + std::to_string(index) + ".";
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"}) {
      tensors.push_back({at + norm + ".weight", "BF16", {8}, ""});
    }
    const std::string attention = at + "self_attn.";
    matrix(attention + "q_a_proj", 6, 8);
    tensors.push_back({attention + "q_a_layernorm.weight", "BF16", {6}, ""});
    matrix(attention + "q_b_proj", 16, 6);
    matrix(attention + "kv_a_proj_with_mqa", 12, 8);
    tensors.push_back({attention + "kv_a_layernorm.weight", "BF16", {8}, ""});
    matrix(attention + "kv_b_proj", 16, 8);
    matrix(attention + "o_proj", 8, 8);
    const std::string mlp = at + "mlp.";
    const auto add_mlp = [&](const std::string& prefix, uint64_t ffn) {
      matrix(prefix + "gate_proj", ffn, 8);
      matrix(prefix + "up_proj", ffn, 8);
      matrix(prefix + "down_proj", 8, ffn);
    };
    if (!experts) return add_mlp(mlp, 12);
    tensors.push_back({mlp + "gate.weight", "BF16", {4, 8}, ""});
    tensors.push_back({mlp + "gate.e_score_correction_bias", "F32", {4}, ""});
    for (int e = 0; e < 4; ++e) add_mlp(mlp + "experts." + std::to_string(e) + ".", 4);
    add_mlp(mlp + "shared_experts.", 4);
  }

  Tensor& at(const std::string& name) {
    for (Tensor& tensor : tensors) {
      if (tensor.name == name) return tensor;
    }
    tensors.push_back({name, "BF16", {1}, ""});
    return tensors.back();
  }
  void drop(const std::string& name) {
    std::erase_if(tensors, [&](const Tensor& tensor) { return tensor.name == name; });
  }
  void config_set(const std::string& key, const std::string& json) {
    config.set(key, *base::parse_json(json, "tiny"));
  }

  std::string bytes() const {
    base::Json header = base::Json::object();
    std::string data;
    for (const Tensor& tensor : tensors) {
      uint64_t bytes = tensor.dtype == "F32" ? 4 : tensor.dtype == "BF16" ? 2 : 1;
      base::Json shape = base::Json::array();
      for (const uint64_t n : tensor.shape) {
        shape.push(static_cast<int64_t>(n));
        bytes *= n;
      }
      base::Json offsets = base::Json::array();
      offsets.push(static_cast<int64_t>(data.size()));
      data += tensor.data;
      data.resize(data.size() + bytes - tensor.data.size());
      offsets.push(static_cast<int64_t>(data.size()));
      base::Json entry = base::Json::object();
      entry.set("dtype", tensor.dtype);
      entry.set("shape", std::move(shape));
      entry.set("data_offsets", std::move(offsets));
      header.set(tensor.name, std::move(entry));
    }
    const std::string text = header.dump();
    const uint64_t length = text.size();
    std::string out(reinterpret_cast<const char*>(&length), sizeof(length));
    return out + text + data;
  }
  base::Result<std::unique_ptr<ModelFiles>> open() const {
    const std::string all = bytes();
    return open_hf_parts(config, base::Json(),
                         memory_source({reinterpret_cast<const uint8_t*>(all.data()), all.size()},
                                       "tiny.safetensors"));
  }

  base::Json config;
  std::vector<Tensor> tensors;
  bool fp8 = false;

 private:
  void matrix(const std::string& name, uint64_t rows, uint64_t columns) {
    tensors.push_back({name + ".weight", fp8 ? "F8_E4M3" : "BF16", {rows, columns}, ""});
    if (!fp8) return;
    tensors.push_back({name + ".weight_scale_inv", "F32", {(rows + 3) / 4, (columns + 2) / 3}, ""});
  }
};

}  // namespace format
