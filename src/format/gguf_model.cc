// A GGUF file, or a split set of them, as a model.
//
// A split set is NAME-00001-of-0000N.gguf and its siblings: each is a whole GGUF file with its own
// header and data; the first holds all metadata. Keys split.no (from 0), split.count and
// split.tensors.count state the set. Rules: the count in the keys and in the names agree; every
// shard is there and states its place; no tensor name stands in two; their number is what the first
// states.
#include <algorithm>
#include <array>

#include "format/decoder_check.h"
#include "format/gguf.h"
#include "format/gguf_deepseek.h"
#include "format/gguf_janus.h"
#include "format/gguf_keys.h"
#include "format/gguf_tokenizer.h"
#include "format/model_names.h"
#include "format/opened.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;

constexpr int64_t shards_max = 1024;
constexpr size_t shown_text_bytes_max = 200;
constexpr size_t rope_divisors_bytes_each = 4;

std::string file_type_name(int64_t id) {
  constexpr std::array<std::string_view, 39> names = {
      "F32",    "F16",    "Q4_0",  "Q4_1",    "",       "",       "",       "Q8_0",
      "Q5_0",   "Q5_1",   "Q2_K",  "Q3_K_S",  "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M",
      "Q5_K_S", "Q5_K_M", "Q6_K",  "IQ2_XXS", "IQ2_XS", "Q2_K_S", "IQ3_XS", "IQ3_XXS",
      "IQ1_S",  "IQ4_NL", "IQ3_S", "IQ3_M",   "IQ2_S",  "IQ2_M",  "IQ4_XS", "IQ1_M",
      "BF16",   "",       "",      "",        "TQ1_0",  "TQ2_0",  "MXFP4"};
  if (id < 0 || id >= static_cast<int64_t>(names.size())) return "";
  return std::string(names[static_cast<size_t>(id)]);
}

class GgufModel final : public OpenedModel {
 public:
  base::Result<void> build(std::vector<std::unique_ptr<ByteSource>> shards) {
    files_ = std::move(shards);
    for (size_t i = 0; i < files_.size(); ++i) {
      ASSIGN(GgufHeader parsed, GgufHeader::parse(*files_[i]));
      const GgufHeader* shard = &parsed;
      if (i == 0) {
        header_ = std::move(parsed);
        shard = &header_;
        ASSIGN(const auto architecture, header_.text("general.architecture"));
        if (!architecture || architecture->empty()) {
          return fail(ErrorKind::invalid_input,
                      header_.file() + ": key \"general.architecture\" is missing or empty");
        }
        architecture_ = *architecture;
      }
      TRY(check_split(*shard, static_cast<int64_t>(i)));
      TRY(add_tensors(*shard, static_cast<int>(i)));
    }
    TRY(check_tensor_count());
    finish();
    return {};
  }

  std::string container() const override { return fmt::format("GGUF v{}", header_.version()); }
  base::Json metadata() const override { return header_.metadata(); }
  const GgufHeader* gguf_header() const override { return &header_; }
  base::Result<text::TokenizerSpec> tokenizer() const override {
    uint64_t rows = 0;
    for (const std::string_view name : {"model.embed_tokens.weight", "token_embd.weight"}) {
      if (const TensorInfo* embedding = find(name)) rows = embedding->shape.front();
    }
    return read_gguf_tokenizer(header_, rows);
  }
  base::Result<ModelConfig> config() const override;

 private:
  bool is_deepseek() const { return architecture_ == "deepseek" || architecture_ == "deepseek2"; }
  bool is_known() const {
    return architecture_ == "llama" || architecture_ == "qwen2" || architecture_ == "qwen3" ||
           architecture_ == "janus" || is_deepseek();
  }
  base::Result<void> check_split(const GgufHeader& shard, int64_t index) const;
  base::Result<void> check_tensor_count() const;
  base::Result<void> add_tensors(const GgufHeader& shard, int file);
  base::Result<void> add_halves(const TensorInfo& fused);
  void unfold_kv_b(TensorInfo& tensor) const;
  base::Result<void> read_sizes(const GgufKeys& keys, ModelConfig& config) const;
  base::Result<void> read_vocabulary(const GgufKeys& keys, ModelConfig& config) const;
  base::Result<void> read_rope(const GgufKeys& keys, ModelConfig& config) const;
  base::Result<void> read_scaling(const GgufKeys& keys, ModelConfig& config) const;
  base::Result<void> read_rope_divisors(ModelConfig& config) const;
  base::Result<void> read_descriptions(ModelConfig& config) const;
  base::Result<void> refuse_experts(const GgufKeys& keys) const;

  GgufHeader header_;
  std::string architecture_;
};

base::Result<void> GgufModel::check_split(const GgufHeader& shard, int64_t index) const {
  ASSIGN(const auto count, shard.integer("split.count"));
  ASSIGN(const auto number, shard.integer("split.no"));
  const auto files = static_cast<int64_t>(files_.size());
  if (count.value_or(0) > 1 || number.value_or(0) != 0 || files > 1) {
    if (count.value_or(0) != files) {
      return fail(ErrorKind::invalid_input,
                  fmt::format("{}: key \"split.count\" states {} files and {} are here",
                              shard.file(), count.value_or(0), files),
                  "shard 2 or a later one is missing",
                  "open the first file, NAME-00001-of-0000N.gguf, with all others beside it");
    }
    if (number.value_or(-1) != index) {
      return fail(ErrorKind::invalid_input,
                  fmt::format("{}: key \"split.no\" is {}, {} was expected of shard {}",
                              shard.file(), number.value_or(-1), index, index + 1));
    }
  }
  return {};
}

base::Result<void> GgufModel::check_tensor_count() const {
  ASSIGN(const auto stated, header_.integer("split.tensors.count"));
  if (stated && *stated != static_cast<int64_t>(tensors().size())) {
    return fail(ErrorKind::invalid_input,
                fmt::format("{}: key \"split.tensors.count\" states {} tensors, the files have {}",
                            header_.file(), *stated, tensors().size()));
  }
  return {};
}

base::Result<void> GgufModel::add_tensors(const GgufHeader& shard, int file) {
  constexpr std::string_view fused_suffix = ".mlp.experts.gate_up_proj.weight";
  for (const GgufTensor& from : shard.tensors()) {
    TensorInfo tensor;
    tensor.name = is_known() ? normal_name(from.name) : from.name;
    tensor.file_name_of_tensor = from.name;
    tensor.dtype = from.dtype;
    tensor.stored = from.dtype;
    tensor.shape.assign(from.ne.rbegin(), from.ne.rend());
    tensor.file = file;
    tensor.offset = from.offset;
    tensor.bytes = from.bytes;
    if (architecture_ == "deepseek2") unfold_kv_b(tensor);
    if (is_deepseek() && tensor.name.ends_with(fused_suffix)) {
      TRY(add_halves(tensor));
    } else {
      TRY(add(std::move(tensor)));
    }
  }
  return {};
}

// ffn_gate_up_exps: of each expert first the rows of gate, then those of up.
base::Result<void> GgufModel::add_halves(const TensorInfo& fused) {
  constexpr std::string_view both = "gate_up_proj.weight";
  if (fused.shape.size() != 3 || fused.shape[1] % 2 != 0) {
    return fail(
        ErrorKind::invalid_input,
        fmt::format("{}: tensor {}", header_.file(), base::shown_name(fused.file_name_of_tensor)),
        fmt::format("has shape [{}], three lengths with an even second were expected",
                    fmt::join(fused.shape, ", ")),
        get_another);
  }
  const uint64_t experts = fused.shape[0];
  if (experts > deepseek_limits::experts_max) {
    return fail(ErrorKind::limit_exceeded,
                fmt::format("{}: tensor {} holds {} experts", header_.file(),
                            base::shown_name(fused.file_name_of_tensor), experts),
                fmt::format("at most {} are possible", deepseek_limits::experts_max), get_another);
  }
  const uint64_t half_bytes = fused.bytes / experts / 2;
  for (const std::string_view half : {"gate_proj.weight", "up_proj.weight"}) {
    TensorInfo tensor = fused;
    tensor.name.replace(tensor.name.size() - both.size(), both.size(), half);
    tensor.shape[1] /= 2;
    GatheredTensor gathered;
    gathered.part_bytes = half_bytes;
    const uint64_t start = fused.offset + (half.front() == 'u' ? half_bytes : 0);
    for (uint64_t i = 0; i < experts; ++i) {
      gathered.parts.push_back({fused.file, start + i * 2 * half_bytes});
    }
    TRY(add(std::move(tensor), std::move(gathered)));
  }
  return {};
}

// Some converters leave k_b and v_b with the heads folded into the rows. The bytes are the same.
void GgufModel::unfold_kv_b(TensorInfo& tensor) const {
  const bool of_kv_b = tensor.name.ends_with(".self_attn.k_b_proj.weight") ||
                       tensor.name.ends_with(".self_attn.v_b_proj.weight");
  if (!of_kv_b || tensor.shape.size() != 2) return;
  const auto heads = header_.integer(architecture_ + ".attention.head_count");
  if (!heads || !*heads || **heads < 1) return;  // config() will say what is wrong
  const auto count = static_cast<uint64_t>(**heads);
  if (tensor.shape[0] % count != 0) return;
  tensor.shape = {count, tensor.shape[0] / count, tensor.shape[1]};
}

base::Result<ModelConfig> GgufModel::config() const {
  if (!is_known()) {
    if (auto error = newer_family(header_.file(), architecture_)) return fail(std::move(*error));
    return fail(ErrorKind::unsupported,
                fmt::format("{}: key \"general.architecture\" is {}", header_.file(),
                            base::shown_name(architecture_)),
                "this version runs llama, qwen2, qwen3, janus, deepseek and deepseek2",
                "take a model of one of these families");
  }
  const GgufKeys keys(header_, architecture_);
  ModelConfig config;
  config.architecture = architecture_;
  if (!is_deepseek()) TRY(refuse_experts(keys));
  TRY(read_sizes(keys, config));
  TRY(read_rope(keys, config));
  TRY(read_scaling(keys, config));
  int mtp_layers_stated = 0;
  if (is_deepseek()) {
    ASSIGN(mtp_layers_stated, read_gguf_mtp(keys, *this, config));
    TRY(read_gguf_deepseek(keys, *this, config));
  }
  if (architecture_ == "janus") {
    ASSIGN(config.janus, read_gguf_janus(keys));
  }
  config.qk_norm = architecture_ == "qwen3";
  config.tied_head = find("lm_head.weight") == nullptr;
  TRY(check_numbers(header_.file(), config));
  TRY(read_rope_divisors(config));
  TRY(read_descriptions(config));
  TRY(check_tensors(*this, header_.file(), config, mtp_layers_stated));
  return config;
}

base::Result<void> GgufModel::refuse_experts(const GgufKeys& keys) const {
  ASSIGN(const auto experts, header_.integer(keys.key("expert_count")));
  if (experts.value_or(0) != 0) {
    return keys.bad("expert_count", "mixtures of experts are not run by this version",
                    ErrorKind::unsupported);
  }
  return {};
}

base::Result<void> GgufModel::read_sizes(const GgufKeys& keys, ModelConfig& config) const {
  using namespace decoder_limits;
  ASSIGN(config.layers, keys.size("block_count", layers_max));
  ASSIGN(config.hidden, keys.size("embedding_length", hidden_max));
  ASSIGN(config.ffn, keys.size_by_layer("feed_forward_length", ffn_max, config.layers));
  ASSIGN(config.heads, keys.size_by_layer("attention.head_count", heads_max, config.layers));
  config.kv_heads = config.heads;
  if (header_.has(keys.key("attention.head_count_kv"))) {
    ASSIGN(config.kv_heads,
           keys.size_by_layer("attention.head_count_kv", heads_max, config.layers));
  }
  ASSIGN(config.context_tokens_max, keys.size("context_length", context_tokens_max));
  ASSIGN(config.rms_eps, keys.number("attention.layer_norm_rms_epsilon", std::nullopt));

  TRY(read_vocabulary(keys, config));
  if (architecture_ == "deepseek2") return {};  // its heads have sizes of their own
  ASSIGN(const auto key_length, keys.size_or_nothing("attention.key_length", head_dim_max));
  ASSIGN(const auto value_length, keys.size_or_nothing("attention.value_length", head_dim_max));
  if (!key_length && config.hidden % config.heads != 0) {
    return keys.bad(
        "attention.head_count",
        fmt::format("{} does not divide the embedding length {}", config.heads, config.hidden));
  }
  ASSIGN(config.head_dim,
         checked_size(header_.file(), keys.shown("attention.key_length"),
                      key_length.value_or(config.hidden / config.heads), head_dim_max));
  if (value_length.value_or(config.head_dim) != config.head_dim) {
    return keys.bad("attention.value_length", "differs from key_length", ErrorKind::unsupported);
  }
  return {};
}

base::Result<void> GgufModel::read_vocabulary(const GgufKeys& keys, ModelConfig& config) const {
  using namespace decoder_limits;
  const TensorInfo* embedding = find("model.embed_tokens.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    return fail(ErrorKind::invalid_input,
                header_.file() + ": tensor token_embd.weight is missing, or is no matrix");
  }
  ASSIGN(config.vocab, checked_size(header_.file(), "the number of rows of token_embd.weight",
                                    static_cast<int64_t>(embedding->shape[0]), vocab_max));
  ASSIGN(const auto vocab, keys.size_or_nothing("vocab_size", vocab_max));
  if (vocab.value_or(config.vocab) != config.vocab) {
    return keys.bad("vocab_size",
                    fmt::format("is {}, token_embd.weight has {} rows", *vocab, config.vocab));
  }
  return {};
}

base::Result<void> GgufModel::read_rope(const GgufKeys& keys, ModelConfig& config) const {
  ASSIGN(config.rope_base, keys.number("rope.freq_base", 10000.0));
  // The converter permutes the rows of q and k for llama and deepseek; those of deepseek2 lie in
  // pairs from the beginning.
  config.rope_layout = architecture_ == "llama" || is_deepseek() ? RopeLayout::adjacent_pairs
                                                                 : RopeLayout::half_split;
  if (architecture_ == "deepseek2") return {};  // rotates a part of each head: read_gguf_deepseek
  ASSIGN(const auto rotary,
         keys.size_or_nothing("rope.dimension_count", decoder_limits::head_dim_max));
  if (rotary.value_or(config.head_dim) > config.head_dim) {
    return keys.bad("rope.dimension_count",
                    fmt::format("is {} for heads of {}", *rotary, config.head_dim));
  }
  if (rotary.value_or(config.head_dim) != config.head_dim) {
    return keys.bad("rope.dimension_count", "rotates only a part of each head",
                    ErrorKind::unsupported);
  }
  return {};
}

base::Result<void> GgufModel::read_scaling(const GgufKeys& keys, ModelConfig& config) const {
  RopeScaling& scaling = config.rope_scaling;
  ASSIGN(const auto type, header_.text(keys.key("rope.scaling.type")));
  ASSIGN(const auto old_linear, header_.number(keys.key("rope.scale_linear")));
  if (!type && old_linear.value_or(1.0) != 1.0) {
    scaling.kind = RopeScaling::Kind::linear;
    scaling.factor = *old_linear;
    return {};
  }
  const std::string kind = type.value_or("none");
  if (kind == "none") return {};
  if (kind != "linear" && kind != "yarn") {
    return keys.bad("rope.scaling.type", base::shown_name(kind) + " is not supported",
                    ErrorKind::unsupported);
  }
  scaling.kind = kind == "linear" ? RopeScaling::Kind::linear : RopeScaling::Kind::yarn;
  ASSIGN(scaling.factor, keys.number("rope.scaling.factor", std::nullopt));
  if (kind == "linear") return {};
  ASSIGN(const auto original, keys.size_or_nothing("rope.scaling.original_context_length",
                                                   decoder_limits::context_tokens_max));
  scaling.original_context = original.value_or(config.context_tokens_max);
  ASSIGN(scaling.beta_fast, keys.number("rope.scaling.yarn_beta_fast", 32.0));
  ASSIGN(scaling.beta_slow, keys.number("rope.scaling.yarn_beta_slow", 1.0));
  ASSIGN(const double extrapolation, keys.number("rope.scaling.yarn_ext_factor", 1.0));
  if (extrapolation != 1.0) {
    return keys.bad("rope.scaling.yarn_ext_factor", "only 1 is supported", ErrorKind::unsupported);
  }
  // Two spellings of the factor that stands beside YaRN's own multiplier (models.md:
  // R1-0528-Qwen3).
  ASSIGN(const double yarn_attn, keys.number("rope.scaling.yarn_attn_factor", 1.0));
  ASSIGN(const double attn, keys.number("rope.scaling.attn_factor", yarn_attn));
  // Latent attention has the multiplier in its softmax scale, and none on cos and sin.
  const double own = architecture_ == "deepseek2" ? 1.0 : yarn_multiplier(scaling.factor);
  scaling.attention_factor = own * attn;
  return {};
}

base::Result<void> GgufModel::read_rope_divisors(ModelConfig& config) const {
  const TensorInfo* tensor = find("rope_freqs.weight");
  if (tensor == nullptr) return {};
  const auto bad = [&](std::string why) {
    return fail(ErrorKind::invalid_input, header_.file() + ": tensor rope_freqs.weight",
                std::move(why));
  };
  const int rotary = config.mla ? config.mla->qk_rope_dim : config.head_dim;
  const uint64_t pairs = static_cast<uint64_t>(rotary) / 2;
  if (tensor->dtype != tensor::Dtype::f32 || tensor->shape != std::vector<uint64_t>{pairs}) {
    return bad(fmt::format("must be F32 with {} entries, one for each pair of a head", pairs));
  }
  config.rope_divisors.resize(pairs);
  TRY(read(
      *tensor, 0,
      {reinterpret_cast<uint8_t*>(config.rope_divisors.data()), pairs * rope_divisors_bytes_each}));
  for (const float divisor : config.rope_divisors) {
    // Written so that NaN fails too.
    if (!(divisor >= 1e-6f && divisor <= 1e6f))
      return bad("holds a divisor that is no sane number");
  }
  return {};
}

base::Result<void> GgufModel::read_descriptions(ModelConfig& config) const {
  ASSIGN(const auto name, header_.text("general.name"));
  ASSIGN(const auto base_name, header_.text("general.basename"));
  ASSIGN(const auto license, header_.text("general.license"));
  ASSIGN(const auto type, header_.integer("general.file_type"));
  config.name = clean_text(name.value_or(base_name.value_or("")), shown_text_bytes_max);
  if (config.name.empty()) config.name = header_.file();
  config.license = clean_text(license.value_or(""), shown_text_bytes_max);
  config.quantization = file_type_name(type.value_or(-1));
  config.sampling_defaults = base::Json::object();
  constexpr std::pair<std::string_view, std::string_view> defaults[] = {
      {"general.sampling.temp", "temperature"},
      {"general.sampling.top_p", "top_p"},
      {"general.sampling.top_k", "top_k"}};
  for (const auto& [key, ours] : defaults) {
    ASSIGN(const auto value, header_.number(key));
    if (value) {
      TRY(add_sampling_default(header_.file(), ours, *value, config.sampling_defaults));
    }
  }
  return {};
}

// The siblings' names differ only in the number: NAME-00001-of-0000N.gguf.
base::Result<std::vector<std::string>> sibling_names(const std::string& name,
                                                     const std::string& shown) {
  constexpr std::string_view suffix = ".gguf";
  constexpr size_t tail = std::string_view("-00001-of-00002.gguf").size();
  std::vector<std::string> names;
  if (name.size() <= tail || !name.ends_with(suffix)) return names;
  const std::string stem = name.substr(0, name.size() - tail);
  const std::string numbers = name.substr(stem.size(), tail - suffix.size());
  const auto digits = [&](size_t from) {
    int64_t value = 0;
    for (size_t i = from; i < from + 5; ++i) {
      if (numbers[i] < '0' || numbers[i] > '9') return int64_t{-1};
      value = value * 10 + (numbers[i] - '0');
    }
    return value;
  };
  if (numbers[0] != '-' || numbers.compare(6, 4, "-of-") != 0) return names;
  const int64_t number = digits(1), count = digits(10);
  if (number < 0 || count < 2) return names;
  if (number != 1 || count > shards_max) {
    return fail(
        ErrorKind::invalid_input, fmt::format("{}: is shard {} of {}", shown, number, count),
        fmt::format("a split model is opened by its first shard and has at most {}", shards_max));
  }
  for (int64_t i = 2; i <= count; ++i) {
    names.push_back(fmt::format("{}-{:05}-of-{:05}{}", stem, i, count, suffix));
  }
  return names;
}

}  // namespace

base::Result<std::unique_ptr<ModelFiles>> open_gguf(
    std::vector<std::unique_ptr<ByteSource>> shards) {
  auto model = std::make_unique<GgufModel>();
  TRY(model->build(std::move(shards)));
  return std::unique_ptr<ModelFiles>(std::move(model));
}

base::Result<std::unique_ptr<ModelFiles>> open_gguf_path(const std::string& path) {
  std::vector<std::unique_ptr<ByteSource>> shards;
  ASSIGN(auto first, open_file(path));
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  ASSIGN(const auto siblings, sibling_names(name, first->shown()));
  shards.push_back(std::move(first));
  for (const std::string& sibling : siblings) {
    auto shard = open_in_directory(directory, sibling);
    if (!shard) {
      shard.error().why = "it is a part of a split model: " + shard.error().why;
      shard.error().next = "put all shards of the model into one directory";
      return fail(std::move(shard).error());
    }
    shards.push_back(std::move(*shard));
  }
  return open_gguf(std::move(shards));
}

}  // namespace format
