// A Hugging Face directory as a model: config.json, generation_config.json?, the weights,
// tokenizer.json?, tokenizer_config.json?, chat_template.jinja?; of Janus also
// preprocessor_config.json?.
//
// Weights: model.safetensors, or model.safetensors.index.json with {"weight_map": {tensor: file}};
// without either pytorch_model.bin, or pytorch_model.bin.index.json. The map decides which shard a
// tensor is read from; file names are never composed. Rules: a file of the map is a plain name that
// ends in .safetensors (.bin), inside the directory; every tensor of the map is in its shard.
//
// A checkpoint of DeepSeek's own inference code is model0-mp1.safetensors beside a config.json of
// its own keys; one that was cut for several processes is not read.
#include <algorithm>
#include <filesystem>

#include "base/bytes.h"
#include "format/byte_source.h"
#include "format/decoder_check.h"
#include "format/deepseek_check.h"
#include "format/gguf.h"
#include "format/hf_config.h"
#include "format/hf_deepseek.h"
#include "format/hf_janus.h"
#include "format/hf_tensors.h"
#include "format/hf_tokenizer.h"
#include "format/opened.h"
#include "format/safetensors.h"
#include "format/tokenizer_rules.h"
#include "format/torch_bin.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;
using base::Json;

constexpr uint64_t config_bytes_max = 4 << 20;
constexpr uint64_t index_bytes_max = 64 << 20;
constexpr uint64_t tokenizer_bytes_max = 64 << 20;
constexpr size_t shards_max = 1024;
constexpr size_t name_shown_bytes_max = 200;

// The two forms that weights come in.
struct WeightsForm {
  std::string_view container, suffix, index;
  base::Result<std::vector<SafetensorsEntry>> (*parse)(const ByteSource&);
};
constexpr WeightsForm safetensors_form = {"safetensors", ".safetensors",
                                          "model.safetensors.index.json", parse_safetensors};
constexpr WeightsForm torch_form = {"PyTorch", ".bin", "pytorch_model.bin.index.json",
                                    parse_torch_bin};

base::Result<Json> read_object(const ByteSource& source, uint64_t bytes_max,
                               bool duplicates_refused = true) {
  ASSIGN(const std::string text, read_text(source, bytes_max));
  ASSIGN(Json json,
         base::parse_json(text, source.shown(),
                          {.bytes_max = bytes_max, .duplicate_keys_refused = duplicates_refused}));
  if (!json.is_object()) {
    return fail(ErrorKind::invalid_input, source.shown() + ": is not an object");
  }
  return json;
}

// The entry of the directory, or nothing if there is none.
base::Result<std::unique_ptr<ByteSource>> open_if_there(const std::string& directory,
                                                        std::string_view name) {
  auto file = open_in_directory(directory, name);
  if (!file && file.error().kind == ErrorKind::not_found) return std::unique_ptr<ByteSource>();
  return file;
}

class HfModel final : public OpenedModel {
 public:
  base::Result<void> open_directory(const std::string& directory);
  base::Result<void> open_single(std::unique_ptr<ByteSource> file);
  // What open_directory() does, from parts: `weights` is one .safetensors file.
  base::Result<void> open_parts(Json config, Json generation, std::unique_ptr<ByteSource> weights);

  std::string container() const override { return std::string(form_->container); }
  Json metadata() const override { return config_.is_null() ? Json::object() : config_; }
  base::Result<ModelConfig> config() const override;
  base::Result<text::TokenizerSpec> tokenizer() const override;

 private:
  base::Result<void> open_weights(const std::string& directory);
  base::Result<void> open_one(std::unique_ptr<ByteSource> file);
  base::Result<void> open_sharded(const std::string& directory, const ByteSource& index);
  void take_entries(const std::vector<SafetensorsEntry>& entries, std::unique_ptr<ByteSource> file);
  base::Result<NormalTensors> normal_tensors();
  base::Result<void> add_normal();
  tl::unexpected<base::Error> no_weights(const std::string& directory) const;

  const WeightsForm* form_ = &safetensors_form;
  std::vector<TensorInfo> raw_;  // until they are normalised
  std::string directory_name_;
  Json config_, generation_, preprocessor_;
  std::unique_ptr<ByteSource> tokenizer_, tokenizer_config_, chat_template_;
};

void add_entry(const SafetensorsEntry& entry, int file, TensorInfo& tensor) {
  tensor.name = entry.name;
  tensor.file_name_of_tensor = entry.name;
  tensor.dtype = entry.dtype;
  tensor.stored = entry.dtype;
  tensor.shape = entry.shape;
  tensor.file = file;
  tensor.offset = entry.offset;
  tensor.bytes = entry.bytes;
}

void HfModel::take_entries(const std::vector<SafetensorsEntry>& entries,
                           std::unique_ptr<ByteSource> file) {
  files_.push_back(std::move(file));
  const int index = static_cast<int>(files_.size()) - 1;
  for (const SafetensorsEntry& entry : entries) {
    raw_.emplace_back();
    add_entry(entry, index, raw_.back());
  }
}

base::Result<NormalTensors> HfModel::normal_tensors() {
  if (is_hf_janus(config_)) return normal_janus_tensors(std::move(raw_), files_);
  ASSIGN(const auto block, fp8_block(config_));
  return normal_hf_tensors(std::move(raw_), block, files_);
}

base::Result<void> HfModel::add_normal() {
  ASSIGN(NormalTensors normal, normal_tensors());
  for (TensorInfo& tensor : normal.tensors) {
    if (tensor.source >= 0) {
      GatheredTensor& gathered = normal.gathered[static_cast<size_t>(tensor.source)];
      TRY(add(std::move(tensor), std::move(gathered)));
    } else {
      TRY(add(std::move(tensor)));
    }
  }
  raw_ = {};
  finish();
  return {};
}

// One shard of a model, perhaps: its tensors stay as they are.
base::Result<void> HfModel::open_single(std::unique_ptr<ByteSource> file) {
  ASSIGN(const auto entries, parse_safetensors(*file));
  take_entries(entries, std::move(file));
  for (TensorInfo& tensor : raw_) TRY(add(std::move(tensor)));
  raw_ = {};
  finish();
  return {};
}

base::Result<void> HfModel::open_parts(Json config, Json generation,
                                       std::unique_ptr<ByteSource> weights) {
  config_ = std::move(config);
  generation_ = std::move(generation);
  ASSIGN(const auto entries, parse_safetensors(*weights));
  take_entries(entries, std::move(weights));
  return add_normal();
}

// "org--name" of a Hugging Face cache, or the last part of the path.
std::string name_of_directory(const std::string& directory) {
  namespace fs = std::filesystem;
  fs::path path = fs::path(directory).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  std::string name = path.filename().string();
  if (path.parent_path().filename() == "snapshots") {
    name = path.parent_path().parent_path().filename().string();
    const size_t last = name.rfind("--");
    if (last != std::string::npos) name = name.substr(last + 2);
  }
  return name == "." || name == ".." ? "" : name;
}

base::Result<void> HfModel::open_directory(const std::string& directory) {
  directory_name_ = name_of_directory(directory);
  ASSIGN(const auto config, open_if_there(directory, "config.json"));
  ASSIGN(const auto generation, open_if_there(directory, "generation_config.json"));
  ASSIGN(tokenizer_, open_if_there(directory, "tokenizer.json"));
  ASSIGN(tokenizer_config_, open_if_there(directory, "tokenizer_config.json"));
  ASSIGN(chat_template_, open_if_there(directory, "chat_template.jinja"));
  if (config) {
    ASSIGN(config_, read_object(*config, config_bytes_max));
  }
  if (generation) {
    ASSIGN(generation_, read_object(*generation, config_bytes_max));
  }
  if (is_hf_janus(config_)) {
    ASSIGN(const auto preprocessor, open_if_there(directory, "preprocessor_config.json"));
    if (preprocessor) {
      ASSIGN(preprocessor_, read_object(*preprocessor, config_bytes_max));
    }
  }
  if (config || !tokenizer_) return open_weights(directory);
  return {};  // a tokenizer alone: config() says that there is no model
}

base::Result<void> HfModel::open_weights(const std::string& directory) {
  constexpr std::pair<const WeightsForm*, std::string_view> whole[] = {
      {&safetensors_form, "model.safetensors"},
      {&safetensors_form, "model0-mp1.safetensors"},
      {&safetensors_form, ""},
      {&torch_form, "pytorch_model.bin"},
      {&torch_form, ""}};
  for (const auto& [form, name] : whole) {
    form_ = form;
    ASSIGN(auto file, open_if_there(directory, name.empty() ? form->index : name));
    if (!file) continue;
    TRY(name.empty() ? open_sharded(directory, *file) : open_one(std::move(file)));
    return add_normal();
  }
  form_ = &safetensors_form;
  return no_weights(directory);
}

base::Result<void> HfModel::open_one(std::unique_ptr<ByteSource> file) {
  ASSIGN(const auto entries, form_->parse(*file));
  take_entries(entries, std::move(file));
  return {};
}

tl::unexpected<base::Error> HfModel::no_weights(const std::string& directory) const {
  for (const int parts : {2, 4, 8, 16, 32}) {
    if (open_in_directory(directory, fmt::format("model0-mp{}.safetensors", parts))) {
      return fail(ErrorKind::unsupported,
                  fmt::format("{}: was cut for {} processes", base::shown_name(directory), parts),
                  "each of its files holds a part of every tensor",
                  "convert it with --model-parallel 1, or get it in Hugging Face layout");
    }
  }
  return fail(ErrorKind::not_found,
              fmt::format("{}: has no model.safetensors and no model.safetensors.index.json",
                          base::shown_name(directory)),
              "", "a model is a .gguf file, or a directory in Hugging Face layout");
}

base::Result<void> HfModel::open_sharded(const std::string& directory, const ByteSource& index) {
  ASSIGN(const Json json, read_object(index, index_bytes_max));
  const Json* map = json.find("weight_map");
  const auto bad = [&](const std::string& what, const std::string& why = "") {
    return fail(ErrorKind::invalid_input, index.shown() + ": " + what, why);
  };
  if (map == nullptr || !map->is_object() || map->as_object().empty()) {
    return bad("weight_map is missing or not an object of tensors");
  }
  std::vector<std::pair<std::string_view, std::string_view>> tensors;  // file, tensor
  for (const auto& [tensor, file] : map->as_object()) {
    if (!file.is_string() || !file.as_string().ends_with(form_->suffix)) {
      return bad(fmt::format("weight_map: tensor {} has no file that ends in {}",
                             base::shown_name(tensor), form_->suffix));
    }
    tensors.emplace_back(file.as_string(), tensor);
  }
  std::sort(tensors.begin(), tensors.end());
  for (size_t i = 0; i < tensors.size();) {
    const std::string_view name = tensors[i].first;
    if (files_.size() == shards_max) return bad(fmt::format("more than {} shards", shards_max));
    auto file = open_in_directory(directory, name);
    if (!file) {
      file.error().what = fmt::format("{}: weight_map: tensor {}: {}", index.shown(),
                                      base::shown_name(tensors[i].second), file.error().what);
      return fail(std::move(file).error());
    }
    ASSIGN(auto entries, form_->parse(**file));
    std::sort(entries.begin(), entries.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    std::vector<SafetensorsEntry> chosen;
    for (auto entry = entries.begin(); i < tensors.size() && tensors[i].first == name; ++i) {
      while (entry != entries.end() && entry->name < tensors[i].second) ++entry;
      if (entry == entries.end() || entry->name != tensors[i].second) {
        return bad(fmt::format("weight_map: tensor {} is not in {}",
                               base::shown_name(tensors[i].second), (*file)->shown()));
      }
      chosen.push_back(std::move(*entry));
    }
    // In the order of the file, so that loading reads it from front to back.
    std::sort(chosen.begin(), chosen.end(),
              [](const auto& a, const auto& b) { return a.offset < b.offset; });
    take_entries(chosen, std::move(*file));
  }
  return {};
}

base::Result<ModelConfig> HfModel::config() const {
  if (config_.is_null()) {
    return fail(ErrorKind::not_found, "config.json: is missing",
                "the sizes of the model stand there",
                "open the directory that holds config.json and the weights");
  }
  ASSIGN(ModelConfig config, read_hf_config(config_, generation_));
  if (config.name.empty()) config.name = clean_text(directory_name_, name_shown_bytes_max);
  if (config.janus) {
    TRY(read_janus_preprocessor(preprocessor_, config.janus->vision));
    config.tied_head = find("lm_head.weight") == nullptr;
  }
  if (config.mla) config.mla->kv_b_split = has_split_kv_b(*this);
  ASSIGN(const int stated, stated_mtp_layers(config_));
  if (config.architecture == "deepseek2") {
    ASSIGN(config.mtp_layers, find_mtp_layers(*this, "config.json", config.layers, stated));
  }
  TRY(check_tensors(*this, "config.json", config, stated));
  return config;
}

base::Result<text::TokenizerSpec> HfModel::tokenizer() const {
  if (!tokenizer_) {
    return fail(ErrorKind::not_found, "tokenizer.json: is missing", "",
                "it stands beside config.json in the model's repository");
  }
  HfTokenizerParts parts;
  ASSIGN(parts.tokenizer, read_object(*tokenizer_, tokenizer_bytes_max));
  if (tokenizer_config_) {
    ASSIGN(parts.tokenizer_config, read_object(*tokenizer_config_, tokenizer_bytes_max));
  }
  if (chat_template_) {
    ASSIGN(parts.chat_template, read_text(*chat_template_, chat_template_bytes_max));
    if (!base::is_utf8(parts.chat_template)) {
      return fail(ErrorKind::invalid_input, chat_template_->shown() + ": is not UTF-8");
    }
  }
  parts.config = config_;
  if (is_hf_janus(config_)) {
    ASSIGN(parts.config, janus_language_config(config_));
  }
  parts.generation = generation_;
  const TensorInfo* embedding = find("model.embed_tokens.weight");
  if (embedding != nullptr) parts.embedding_rows = embedding->shape.front();
  return read_hf_tokenizer(std::move(parts));
}

}  // namespace

base::Result<std::unique_ptr<ModelFiles>> open_hf_directory(const std::string& directory) {
  auto model = std::make_unique<HfModel>();
  TRY(model->open_directory(directory));
  return std::unique_ptr<ModelFiles>(std::move(model));
}

base::Result<std::unique_ptr<ModelFiles>> open_hf_parts(base::Json config, base::Json generation,
                                                        std::unique_ptr<ByteSource> weights) {
  auto model = std::make_unique<HfModel>();
  TRY(model->open_parts(std::move(config), std::move(generation), std::move(weights)));
  return std::unique_ptr<ModelFiles>(std::move(model));
}

base::Result<std::unique_ptr<ModelFiles>> open_safetensors_file(std::unique_ptr<ByteSource> file) {
  auto model = std::make_unique<HfModel>();
  TRY(model->open_single(std::move(file)));
  return std::unique_ptr<ModelFiles>(std::move(model));
}

}  // namespace format
