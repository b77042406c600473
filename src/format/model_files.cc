#include "format/model_files.h"

#include <cerrno>
#include <cstring>
#include <sys/stat.h>

#include "format/decoder_check.h"
#include "format/opened.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;

}  // namespace

const TensorInfo* OpenedModel::find(std::string_view name) const {
  const auto found = by_name_.find(std::string(name));
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

base::Result<void> OpenedModel::read(const TensorInfo& tensor, uint64_t from,
                                     std::span<uint8_t> out) const {
  const auto file = static_cast<size_t>(tensor.file);
  const auto source = static_cast<size_t>(tensor.source);
  const bool gathered = tensor.source >= 0;
  if ((gathered ? source >= gathered_.size() : tensor.file < 0 || file >= files_.size()) ||
      from > tensor.bytes || out.size() > tensor.bytes - from) {
    return fail(ErrorKind::internal, fmt::format("tensor {}: {} bytes at {} are not inside it",
                                                 tensor.name, out.size(), from));
  }
  if (gathered) return read_gathered(gathered_[source], files_, tensor.name, from, out);
  return files_[file]->read(tensor.offset + from, out);
}

void OpenedModel::bypass_page_cache() const {
  for (const auto& file : files_) file->bypass_page_cache();
}

uint64_t OpenedModel::bytes_total() const {
  uint64_t total = 0;
  for (const auto& file : files_) total += file->size();
  return total;
}

base::Result<void> OpenedModel::add(TensorInfo tensor) {
  const auto [place, added] = by_name_.try_emplace(tensor.name, tensors_.size());
  if (!added) {
    const std::string file =
        files_.empty() ? "" : files_[static_cast<size_t>(tensor.file)]->shown() + ": ";
    return fail(ErrorKind::invalid_input,
                fmt::format("{}tensor {} stands there twice", file,
                            base::shown_name(tensor.file_name_of_tensor)),
                fmt::format("another one is called {} here too", base::shown_name(tensor.name)),
                get_another);
  }
  tensors_.push_back(std::move(tensor));
  return {};
}

base::Result<void> OpenedModel::add(TensorInfo tensor, GatheredTensor gathered) {
  tensor.bytes = gathered.part_bytes * gathered.parts.size();
  tensor.source = static_cast<int>(gathered_.size());
  TRY(add(std::move(tensor)));
  tensors_.back().file = -1;
  tensors_.back().offset = 0;
  gathered_.push_back(std::move(gathered));
  return {};
}

base::Result<std::unique_ptr<ModelFiles>> ModelFiles::open(const std::string& path) {
  struct stat status {};
  if (path.find('\0') != std::string::npos || ::stat(path.c_str(), &status) != 0) {
    const int why = errno;
    return fail(why == ENOENT ? ErrorKind::not_found : ErrorKind::io,
                fmt::format("{}: cannot be opened", base::shown_name(path)), strerror(why),
                "check the path, or see what is there with nautile list");
  }
  if (S_ISDIR(status.st_mode)) return open_hf_directory(path);
  if (path.ends_with(".safetensors")) {
    ASSIGN(auto file, open_file(path));
    return open_safetensors_file(std::move(file));
  }
  return open_gguf_path(path);
}

}  // namespace format
