#include "format/tensor_check.h"

#include <algorithm>

#include "format/decoder_check.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;

std::string shown_shape(const auto& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

bool is_float(tensor::Dtype dtype) {
  return dtype == tensor::Dtype::f32 || dtype == tensor::Dtype::f16 || dtype == tensor::Dtype::bf16;
}

bool is_f8(tensor::Dtype dtype) {
  return dtype == tensor::Dtype::f8_e4m3 || dtype == tensor::Dtype::f8_e5m2 ||
         dtype == tensor::Dtype::f8_e8m0;
}

}  // namespace

std::string TensorCheck::layer_name(int layer, std::string_view rest) {
  return fmt::format("model.layers.{}.{}", layer, rest);
}

tl::unexpected<base::Error> TensorCheck::bad(std::string what, std::string why,
                                             ErrorKind kind) const {
  return fail(kind, fmt::format("{}: {}", file_, what), std::move(why), get_another);
}

base::Result<const TensorInfo*> TensorCheck::required(const std::string& name,
                                                      const std::vector<int64_t>& shape) {
  const TensorInfo* tensor = files_.find(name);
  if (tensor == nullptr) {
    return fail(ErrorKind::invalid_input, fmt::format("{}: tensor {} is missing", file_, name),
                fmt::format("shape {} was expected", shown_shape(shape)),
                "download the model again; it may be cut short or of another family");
  }
  const bool same =
      std::equal(tensor->shape.begin(), tensor->shape.end(), shape.begin(), shape.end(),
                 [](uint64_t a, int64_t b) { return b > 0 && a == static_cast<uint64_t>(b); });
  if (!same) {
    return fail(
        ErrorKind::invalid_input,
        fmt::format("{}: tensor {} has shape {}", file_,
                    base::shown_name(tensor->file_name_of_tensor), shown_shape(tensor->shape)),
        fmt::format("{} was expected of its metadata", shown_shape(shape)), get_another);
  }
  return tensor;
}

base::Result<void> TensorCheck::decodable(const TensorInfo& tensor) const {
  const tensor::DtypeInfo& type = tensor::info(tensor.dtype);
  if (is_f8(tensor.dtype)) {
    return fail(
        ErrorKind::invalid_input,
        fmt::format("{}: tensor {} has type {} and no scales", file_, tensor.name, type.name),
        "the scales of its blocks, .weight_scale_inv, are missing",
        "download the model again, or take it in BF16 or as GGUF");
  }
  if (!type.dequantizable) {
    return fail(ErrorKind::unsupported,
                fmt::format("{}: tensor {} has type {}", file_, tensor.name, type.name),
                "this program cannot decode that type", "take the model in another quantisation");
  }
  return {};
}

base::Result<void> TensorCheck::plain(const TensorInfo& tensor) const {
  if (is_float(tensor.dtype)) return {};
  return fail(
      ErrorKind::unsupported,
      fmt::format("{}: tensor {} has type {}", file_, tensor.name, tensor::info(tensor.dtype).name),
      "norms, biases, routers and convolutions must be F32, F16 or BF16",
      "take the model in another quantisation");
}

void TensorCheck::count(const TensorInfo& tensor, bool in_type, int64_t of, int64_t used) {
  if (!counting_) return;
  uint64_t elements = 1;
  for (const uint64_t length : tensor.shape) elements *= length;  // the containers checked it
  parameters_ += elements;
  parameters_active_ += elements / static_cast<uint64_t>(of) * static_cast<uint64_t>(used);
  if (in_type) elements_by_type_[tensor.stored] += elements;
}

base::Result<void> TensorCheck::matrix(const std::string& name, int64_t rows, int64_t columns) {
  ASSIGN(const TensorInfo* tensor, required(name, {rows, columns}));
  TRY(decodable(*tensor));
  count(*tensor, true);
  return {};
}

base::Result<void> TensorCheck::stacked(const std::string& name, int64_t count_of, int64_t rows,
                                        int64_t columns, int64_t used) {
  ASSIGN(const TensorInfo* tensor, required(name, {count_of, rows, columns}));
  TRY(decodable(*tensor));
  count(*tensor, true, count_of, used);
  return {};
}

base::Result<void> TensorCheck::vector(const std::string& name, int64_t length) {
  ASSIGN(const TensorInfo* tensor, required(name, {length}));
  TRY(plain(*tensor));
  count(*tensor, false);
  return {};
}

base::Result<void> TensorCheck::small_matrix(const std::string& name, int64_t rows,
                                             int64_t columns) {
  ASSIGN(const TensorInfo* tensor, required(name, {rows, columns}));
  if (tensor->dtype != tensor::Dtype::f8_scaled) TRY(plain(*tensor));
  count(*tensor, false);
  return {};
}

base::Result<void> TensorCheck::aside(const std::string& name, const std::vector<int64_t>& shape,
                                      Types types) {
  ASSIGN(const TensorInfo* tensor, required(name, shape));
  TRY(types == Types::plain ? plain(*tensor) : decodable(*tensor));
  count(*tensor, false, 1, 0);
  return {};
}

base::Result<void> TensorCheck::refuse(const std::string& name) const {
  if (!has(name)) return {};
  return fail(ErrorKind::unsupported, fmt::format("{}: has the tensor {}", file_, name),
              fmt::format("the decoder of {} does not use it", architecture_),
              "it may be a model of another family than its metadata say");
}

std::string TensorCheck::commonest_type() const {
  const auto most =
      std::max_element(elements_by_type_.begin(), elements_by_type_.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == elements_by_type_.end()) return "";
  if (most->first == tensor::Dtype::f8_e4m3) return "FP8";
  return std::string(tensor::info(most->first).name);
}

}  // namespace format
