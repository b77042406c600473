#include "format/quantize.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "format/decoder_check.h"
#include "format/janus_names.h"
#include "tensor/encode.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;
using tensor::Dtype;

constexpr uint64_t piece_weights = 1 << 19;  // that one thread holds at a time, at least one row
constexpr uint64_t copy_bytes = 4 << 20;

bool is_float(Dtype dtype) {
  return dtype == Dtype::f32 || dtype == Dtype::f16 || dtype == Dtype::bf16 ||
         dtype == Dtype::f8_e4m3 || dtype == Dtype::f8_scaled;
}

MixModel mix_model_of(const GgufExport& exported) {
  MixModel model;
  model.architecture = exported.config.architecture;
  model.blocks = exported.config.layers + exported.config.mtp_layers;
  model.heads = exported.config.heads;
  model.kv_heads = exported.config.kv_heads;
  model.experts = exported.config.moe ? exported.config.moe->experts : 0;
  for (const ExportTensor& tensor : exported.tensors) {
    model.has_output = model.has_output || tensor.name == "output.weight";
  }
  return model;
}

void decide(FileType type, const MixModel& model, PlannedTensor& planned) {
  const ExportTensor& tensor = planned.tensor;
  if (tensor.source != nullptr) planned.from = tensor.source->dtype;
  const bool readable = tensor::info(planned.from).dequantizable;
  if (model.architecture == "janus" && is_of_pictures(tensor.name) && readable) {
    planned.to = type_of_pictures(tensor.name, tensor.ne, planned.from);
  } else if (is_quantised(tensor.name, tensor.ne) && readable) {
    planned.to = choose_type(type, model, tensor.name, tensor.ne);
  } else {
    planned.to = is_float(planned.from) ? Dtype::f32 : planned.from;
  }
  planned.copied =
      tensor.source != nullptr && tensor.order == RowOrder::as_stored && planned.to == planned.from;
}

// Encodes some rows of one tensor; one for each thread.
class Encoder {
 public:
  base::Result<void> run(const ModelFiles& files, const PlannedTensor& planned, uint64_t first,
                         uint64_t count, const OutputFile& out, uint64_t data_start) {
    const ExportTensor& tensor = planned.tensor;
    const uint64_t columns = tensor.columns(), row_bytes = tensor::row_bytes(planned.to, columns);
    weights_.resize(count * columns);
    TRY(read_export_rows(files, tensor, first, count, weights_.data()));
    if (planned.to != Dtype::f32) TRY(check(tensor));
    encoded_.resize(count * row_bytes);
    decoded_.resize(columns);
    cost = {};
    for (uint64_t i = 0; i < count; ++i) {
      const float* row = weights_.data() + i * columns;
      uint8_t* blocks = encoded_.data() + i * row_bytes;
      tensor::encode_row(planned.to, row, static_cast<int64_t>(columns), blocks);
      tensor::decode_row(planned.to, blocks, decoded_.data(), static_cast<int64_t>(columns));
      measure(row, columns);
    }
    return out.write_at(data_start + planned.offset + first * row_bytes, encoded_);
  }

  TensorCost cost;

 private:
  base::Result<void> check(const ExportTensor& tensor) const {
    for (const float weight : weights_) {
      if (std::fabs(weight) <= tensor::encodable_abs_max) continue;  // false for NaN
      return fail(ErrorKind::invalid_input, fmt::format("tensor {}", base::shown_name(tensor.name)),
                  fmt::format("holds the weight {}, at most ±{} can be written", weight,
                              tensor::encodable_abs_max),
                  get_another);
    }
    return {};
  }

  void measure(const float* row, uint64_t columns) {
    for (uint64_t i = 0; i < columns; ++i) {
      const double weight = row[i], off = weight - static_cast<double>(decoded_[i]);
      cost.error_squares += off * off;
      cost.weight_squares += weight * weight;
    }
  }

  std::vector<float> weights_, decoded_;
  std::vector<uint8_t> encoded_;
};

class Writer {
 public:
  Writer(const ModelFiles& files, const QuantizePlan& plan, const OutputFile& out, base::Pool& pool,
         const QuantizeProgress& progress)
      : files_(files),
        plan_(plan),
        out_(out),
        pool_(pool),
        progress_(progress),
        encoders_(static_cast<size_t>(pool.threads())) {}

  base::Result<std::vector<TensorCost>> run() {
    TRY(out_.write_at(0, plan_.header));
    std::vector<TensorCost> costs;
    for (const PlannedTensor& planned : plan_.tensors) {
      cost_ = {};
      TRY(planned.copied ? copy(planned) : encode(planned));
      costs.push_back(cost_);
    }
    return costs;
  }

 private:
  base::Result<void> advance(uint64_t bytes) {
    done_ += bytes;
    if (progress_(done_, plan_.bytes)) return {};
    return fail(ErrorKind::interrupted, "stopped before the file was complete", "",
                "run the same command again");
  }

  base::Result<void> copy(const PlannedTensor& planned) {
    for (uint64_t at = 0; at < planned.bytes; at += copy_bytes) {
      copied_.resize(std::min(copy_bytes, planned.bytes - at));
      TRY(files_.read(*planned.tensor.source, at, copied_));
      TRY(out_.write_at(plan_.header.size() + planned.offset + at, copied_));
      TRY(advance(copied_.size()));
    }
    return {};
  }

  base::Result<void> encode(const PlannedTensor& planned) {
    const uint64_t rows = planned.tensor.rows();
    const uint64_t piece = std::max<uint64_t>(piece_weights / planned.tensor.columns(), 1);
    const uint64_t row_bytes = tensor::row_bytes(planned.to, planned.tensor.columns());
    const uint64_t batch = piece * encoders_.size() * 2;
    for (uint64_t begin = 0; begin < rows; begin += batch) {
      const uint64_t count = std::min(batch, rows - begin);
      pool_.run(static_cast<int64_t>(count), static_cast<int64_t>(piece),
                [&](int64_t from, int64_t to, int thread) {
                  encode_rows(planned, begin + static_cast<uint64_t>(from),
                              static_cast<uint64_t>(to - from), piece, thread);
                });
      if (failed_) return fail(*std::move(failed_));
      TRY(advance(count * row_bytes));
    }
    return {};
  }

  // A chunk of the pool may be several grains long.
  void encode_rows(const PlannedTensor& planned, uint64_t first, uint64_t count, uint64_t piece,
                   int thread) {
    Encoder& encoder = encoders_[static_cast<size_t>(thread)];
    while (count > 0) {
      const uint64_t now = std::min(piece, count);
      auto done = encoder.run(files_, planned, first, now, out_, plan_.header.size());
      const std::lock_guard lock(mutex_);
      if (!done && !failed_) failed_ = std::move(done).error();
      if (failed_) return;
      cost_.error_squares += encoder.cost.error_squares;
      cost_.weight_squares += encoder.cost.weight_squares;
      first += now;
      count -= now;
    }
  }

  const ModelFiles& files_;
  const QuantizePlan& plan_;
  const OutputFile& out_;
  base::Pool& pool_;
  const QuantizeProgress& progress_;
  std::vector<Encoder> encoders_;
  std::vector<uint8_t> copied_;
  uint64_t done_ = 0;
  std::mutex mutex_;  // guards the two below while the pool runs
  std::optional<base::Error> failed_;
  TensorCost cost_;
};

}  // namespace

base::Result<QuantizePlan> plan_quantized(const ModelFiles& files, FileType type,
                                          const NamePreTokenizer& name) {
  ASSIGN(GgufExport exported, export_gguf(files, name));
  const auto known = file_types();
  const auto info = std::find_if(known.begin(), known.end(),
                                 [&](const FileTypeInfo& each) { return each.type == type; });
  constexpr uint32_t quantization_version = 2;  // of ggml's block layouts
  exported.keys.u32("general.quantization_version", quantization_version);
  exported.keys.u32("general.file_type", info->id);
  const MixModel model = mix_model_of(exported);
  QuantizePlan plan;
  uint64_t weights = 0, quantised_before = 0;
  for (ExportTensor& tensor : exported.tensors) {
    PlannedTensor planned;
    planned.tensor = std::move(tensor);
    decide(type, model, planned);
    const ExportTensor& decided = planned.tensor;
    const uint64_t rows = decided.rows();
    planned.bytes = rows * tensor::row_bytes(planned.to, decided.columns());
    planned.offset = exported.keys.tensor(decided.name, decided.ne, planned.to);
    weights += rows * decided.columns();
    if (!is_float(planned.from)) quantised_before += rows * decided.columns();
    plan.tensors.push_back(std::move(planned));
  }
  plan.lossy_source = quantised_before > weights / 2;
  plan.left_out = std::move(exported.left_out);
  plan.header = exported.keys.header();
  plan.bytes = plan.header.size() + exported.keys.data_bytes();
  return plan;
}

base::Result<std::vector<TensorCost>> write_quantized(const ModelFiles& files,
                                                      const QuantizePlan& plan,
                                                      const OutputFile& out, base::Pool& pool,
                                                      const QuantizeProgress& progress) {
  return Writer(files, plan, out, pool, progress).run();
}

}  // namespace format
