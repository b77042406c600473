#include "format/hf_tensors.h"

#include <algorithm>
#include <unordered_map>

#include "format/deepseek_check.h"
#include "format/model_names.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;
using base::Json;
using tensor::Dtype;

constexpr std::string_view weight_suffix = ".weight";
constexpr std::string_view scale_suffix = ".weight_scale_inv";

uint64_t blocks_of(uint64_t length, uint64_t block) { return (length + block - 1) / block; }

bool can_scale(Dtype dtype) {
  return dtype == Dtype::f32 || dtype == Dtype::f16 || dtype == Dtype::bf16 ||
         dtype == Dtype::f8_e8m0;
}

class Normaliser {
 public:
  Normaliser(std::vector<TensorInfo> raw, std::optional<ScaleBlock> block,
             std::span<const std::unique_ptr<ByteSource>> files)
      : raw_(std::move(raw)), block_(block), files_(files) {}

  base::Result<NormalTensors> run() {
    for (TensorInfo& tensor : raw_) {
      tensor.name = name_of_deepseek(tensor.name);
      tensor.stored = tensor.dtype;
    }
    if (block_) {
      for (const TensorInfo& tensor : raw_) {
        if (tensor.name.ends_with(scale_suffix)) {
          if (!scales_.emplace(tensor.name, &tensor).second) {
            return bad(tensor, "stands there twice");
          }
        }
      }
    }
    for (const TensorInfo& tensor : raw_) TRY(take(tensor));
    for (const auto& [name, scale] : scales_) {
      if (!used_.contains(name)) return bad(*scale, "are scales of no weight");
    }
    TRY(join_experts());
    return std::move(out_);
  }

 private:
  tl::unexpected<base::Error> bad(const TensorInfo& tensor, std::string why) const {
    return fail(ErrorKind::invalid_input,
                fmt::format("{}: tensor {}", files_[static_cast<size_t>(tensor.file)]->shown(),
                            base::shown_name(tensor.file_name_of_tensor)),
                std::move(why), "download the model again; it may be cut short or damaged");
  }

  base::Result<void> take(const TensorInfo& tensor) {
    if (block_ && tensor.name.ends_with(scale_suffix)) return {};  // a part of its weight
    ASSIGN(const TensorInfo* scale, scale_of(tensor));
    if (auto expert = expert_name(tensor.name)) {
      if (expert->expert >= deepseek_limits::experts_max) {
        return bad(tensor,
                   fmt::format("a layer has at most {} experts", deepseek_limits::experts_max));
      }
      const auto [stack, added] = stack_of_.try_emplace(expert->stacked, stacks_.size());
      if (added) {
        stacks_.push_back({out_.tensors.size(), {}});
        TensorInfo placeholder;
        placeholder.name = std::move(expert->stacked);
        out_.tensors.push_back(std::move(placeholder));
      }
      stacks_[stack->second].members.push_back({expert->expert, &tensor, scale});
      return {};
    }
    out_.tensors.push_back(tensor);
    if (scale != nullptr) deliver(out_.tensors.back(), {{0, &tensor, scale}});
    return {};
  }

  // The scales that a weight must be multiplied with, or nothing.
  base::Result<const TensorInfo*> scale_of(const TensorInfo& tensor) {
    if (!tensor.name.ends_with(weight_suffix)) return nullptr;
    std::string name = tensor.name.substr(0, tensor.name.size() - weight_suffix.size());
    name += scale_suffix;
    const auto found = scales_.find(name);
    if (found == scales_.end()) return nullptr;
    const TensorInfo* scale = found->second;
    if (tensor.dtype != Dtype::f8_e4m3 || tensor.shape.size() != 2) {
      return bad(*scale, fmt::format("are scales of a weight that is no F8_E4M3 matrix but {}",
                                     tensor::info(tensor.dtype).name));
    }
    if (!can_scale(scale->dtype)) {
      return bad(*scale, fmt::format("are scales of type {}", tensor::info(scale->dtype).name));
    }
    const std::vector<uint64_t> wanted = {blocks_of(tensor.shape[0], block_->rows),
                                          blocks_of(tensor.shape[1], block_->columns)};
    if (scale->shape != wanted) {
      return bad(*scale,
                 fmt::format("has shape [{}], [{}] was expected: one for each {} by {} block of "
                             "[{}]",
                             fmt::join(scale->shape, ", "), fmt::join(wanted, ", "), block_->rows,
                             block_->columns, fmt::join(tensor.shape, ", ")));
    }
    used_.emplace(std::move(name), true);
    return scale;
  }

  struct Member {
    uint64_t expert;
    const TensorInfo* weight;
    const TensorInfo* scale;
  };
  struct Stack {
    size_t place;  // in out_.tensors
    std::vector<Member> members;
  };

  base::Result<void> join_experts() {
    for (Stack& stack : stacks_) {
      std::vector<Member>& members = stack.members;
      std::sort(members.begin(), members.end(),
                [](const Member& a, const Member& b) { return a.expert < b.expert; });
      const Member& first = members.front();
      for (size_t i = 0; i < members.size(); ++i) {
        const TensorInfo& weight = *members[i].weight;
        if (members[i].expert != i) {
          return bad(weight, members[i].expert < i
                                 ? "stands there twice"
                                 : fmt::format("expert {} of its layer is missing", i));
        }
        if (weight.shape != first.weight->shape || weight.dtype != first.weight->dtype ||
            (members[i].scale == nullptr) != (first.scale == nullptr) ||
            (first.scale != nullptr && members[i].scale->dtype != first.scale->dtype)) {
          return bad(weight, "differs in shape or type from expert 0 of its layer");
        }
      }
      if (first.weight->shape.size() != 2) return bad(*first.weight, "is no matrix");
      TensorInfo& stacked = out_.tensors[stack.place];
      std::string name = std::move(stacked.name);
      stacked = *first.weight;
      stacked.name = std::move(name);
      stacked.shape.insert(stacked.shape.begin(), members.size());
      deliver(stacked, members);
    }
    return {};
  }

  // Makes `tensor` the concatenation of the members, multiplied with their scales.
  void deliver(TensorInfo& tensor, const std::vector<Member>& members) {
    const TensorInfo& first = *members.front().weight;
    GatheredTensor gathered;
    gathered.part_bytes = first.bytes;
    for (const Member& member : members) {
      gathered.parts.push_back({member.weight->file, member.weight->offset});
      if (member.scale == nullptr) continue;
      gathered.scales.push_back({member.scale->file, member.scale->offset, member.scale->dtype});
    }
    if (first.dtype == Dtype::f8_e4m3 && !gathered.scales.empty()) {
      gathered.rows = first.shape[0];
      gathered.columns = first.shape[1];
      gathered.block = *block_;
      gathered.as_f32 = needs_f32(gathered.columns, gathered.block);
      tensor.dtype = gathered.as_f32 ? Dtype::f32 : Dtype::f8_scaled;
      // A file has less than 2^62 bytes.
      gathered.part_bytes = gathered.rows * tensor::row_bytes(tensor.dtype, gathered.columns);
    }
    tensor.source = static_cast<int>(out_.gathered.size());
    out_.gathered.push_back(std::move(gathered));
  }

  std::vector<TensorInfo> raw_;
  std::optional<ScaleBlock> block_;
  std::span<const std::unique_ptr<ByteSource>> files_;
  std::unordered_map<std::string, const TensorInfo*> scales_;  // by their names
  std::unordered_map<std::string, bool> used_;                 // of scales_
  std::unordered_map<std::string, size_t> stack_of_;           // of stacks_, by name
  std::vector<Stack> stacks_;
  NormalTensors out_;
};

}  // namespace

base::Result<NormalTensors> normal_hf_tensors(std::vector<TensorInfo> raw,
                                              std::optional<ScaleBlock> block,
                                              std::span<const std::unique_ptr<ByteSource>> files) {
  return Normaliser(std::move(raw), block, files).run();
}

base::Result<std::optional<ScaleBlock>> fp8_block(const Json& config) {
  const Json* settings = config.find("quantization_config");
  if (settings == nullptr || settings->is_null()) return std::optional(ScaleBlock());
  const auto bad = [](std::string_view key, std::string why) {
    return fail(ErrorKind::invalid_input,
                fmt::format("config.json: key \"quantization_config.{}\"", key), std::move(why),
                "get config.json again from where the model came from");
  };
  const Json* method = settings->find("quant_method");
  if (method == nullptr || !method->is_string() || method->as_string() != "fp8") {
    return std::optional<ScaleBlock>();
  }
  const Json* format = settings->find("fmt");
  if (format != nullptr && (!format->is_string() || format->as_string() != "e4m3")) {
    return bad("fmt", "only \"e4m3\" is known");
  }
  const Json* size = settings->find("weight_block_size");
  if (size == nullptr || size->is_null()) return std::optional(ScaleBlock());
  if (!size->is_array() || size->as_array().size() != 2)
    return bad("weight_block_size", "is no pair");
  ScaleBlock block;
  for (int i = 0; i < 2; ++i) {
    const Json& length = size->as_array()[static_cast<size_t>(i)];
    if (!length.is_integer() || length.as_integer() < 1 ||
        length.as_integer() > deepseek_limits::scale_block_max) {
      return bad("weight_block_size", fmt::format("must hold two whole numbers from 1 to {}",
                                                  deepseek_limits::scale_block_max));
    }
    (i == 0 ? block.rows : block.columns) = static_cast<uint64_t>(length.as_integer());
  }
  return std::optional(block);
}

}  // namespace format
