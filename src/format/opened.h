// What both containers share: the opened files, the list of tensors and reading from them. Every
// ModelFiles that ModelFiles::open() gives is an OpenedModel.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "format/byte_source.h"
#include "format/gathered.h"
#include "format/gguf.h"
#include "format/model_files.h"

namespace format {

class OpenedModel : public ModelFiles {
 public:
  const std::vector<TensorInfo>& tensors() const final { return tensors_; }
  const TensorInfo* find(std::string_view name) const final;
  base::Result<void> read(const TensorInfo& tensor, uint64_t from,
                          std::span<uint8_t> out) const final;
  void bypass_page_cache() const final;
  uint64_t bytes_total() const final;
  // Of the file, or of the first shard; nullptr for other containers.
  virtual const GgufHeader* gguf_header() const { return nullptr; }

 protected:
  // An error if a tensor of this normal name is there already.
  base::Result<void> add(TensorInfo tensor);
  // `gathered` says how the tensor is read; tensor.file is any of its files, for the error. Sets
  // source, bytes, file and offset.
  base::Result<void> add(TensorInfo tensor, GatheredTensor gathered);
  void finish() { tensors_.shrink_to_fit(); }

  std::vector<std::unique_ptr<ByteSource>> files_;

 private:
  std::vector<TensorInfo> tensors_;
  std::vector<GatheredTensor> gathered_;
  std::unordered_map<std::string, size_t> by_name_;
};

// A GGUF model from its opened shards in order (one for a single file).
base::Result<std::unique_ptr<ModelFiles>> open_gguf(
    std::vector<std::unique_ptr<ByteSource>> shards);
// `path`: the file that the user named; its siblings are opened when it is the first of a split
// set.
base::Result<std::unique_ptr<ModelFiles>> open_gguf_path(const std::string& path);

// A directory in Hugging Face layout, or one .safetensors file without its configuration.
base::Result<std::unique_ptr<ModelFiles>> open_hf_directory(const std::string& directory);
base::Result<std::unique_ptr<ModelFiles>> open_safetensors_file(std::unique_ptr<ByteSource> file);
// What a directory with one file of weights is, from its parts (tests and fuzz targets).
base::Result<std::unique_ptr<ModelFiles>> open_hf_parts(base::Json config, base::Json generation,
                                                        std::unique_ptr<ByteSource> weights);

}  // namespace format
