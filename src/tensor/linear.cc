#include "tensor/linear.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "tensor/kernels.h"

namespace tensor {
namespace {

int64_t panel_count(const PackedMatrix& w) { return (w.rows + panel_rows - 1) / panel_rows; }

PanelKernel kernel_for(const PackedMatrix& w, const QuantRows& x, const KernelSet& kernels) {
  CHECK(w.cols == x.k, "an activation row is as long as a row of the matrix");
  if (x.precision == Precision::exact) return kernels.exact;
  const PanelKernel quantized = kernels.quantized(w.dtype);
  return quantized != nullptr ? quantized : kernels.floating(w.dtype);
}

// Columns that pass over a panel together: their activations stay in the second-level cache.
int columns_at_once(const QuantRows& x, const KernelSet& kernels) {
  const int64_t fit = kernels.cache_bytes / std::max(x.k, 1) / 8 * 8;
  return static_cast<int>(std::clamp<int64_t>(fit, 32, kernel_columns_max));
}

// Panels that a thread takes at once: enough that taking costs nothing, few enough that the threads
// end together.
int64_t panels_a_chunk(int64_t panels, int threads) {
  constexpr int64_t chunks_a_thread = 6;
  constexpr int64_t panels_max = 8;
  return std::clamp<int64_t>(panels / (threads * chunks_a_thread), 1, panels_max);
}

// Columns first_column .. of x are rows y_row .. of out.y.
void store_panel(const float* acc, const PanelJob& job, const LinearOut& out, int y_row) {
  const int64_t first_row = job.panel * panel_rows;
  const auto rows = static_cast<int>(std::min<int64_t>(panel_rows, job.w->rows - first_row));
  const float* bias = out.bias != nullptr ? out.bias + first_row : nullptr;
  for (int c = 0; c < job.columns; ++c, acc += panel_rows) {
    float* y = out.y + (y_row + c) * out.stride + first_row;
    if (bias == nullptr && !out.accumulate) {
      std::memcpy(y, acc, sizeof(float) * static_cast<size_t>(rows));
      continue;
    }
    for (int r = 0; r < rows; ++r) {
      const float value = bias != nullptr ? acc[r] + bias[r] : acc[r];
      y[r] = out.accumulate ? y[r] + value : value;
    }
  }
}

// Which rows of x a job takes.
struct Columns {
  int first, count;
};
template <class Job>
Columns columns_of(const Job& job, const QuantRows& x) {
  const Columns columns{job.first, job.count >= 0 ? job.count : x.n - job.first};
  CHECK(columns.first >= 0 && columns.first + columns.count <= x.n, "rows that were rounded");
  return columns;
}

// The panels of all jobs are numbered through; calls work(job, first panel, last panel) for those
// among begin .. end.
template <class Job, class Matrix, class Work>
void each_job(std::span<const Job> jobs, int64_t begin, int64_t end, Matrix matrix, Work work) {
  int64_t first = 0;
  for (const Job& job : jobs) {
    if (first >= end) return;
    const int64_t last = first + panel_count(matrix(job));
    if (last > begin) work(job, std::max(begin, first) - first, std::min(end, last) - first);
    first = last;
  }
}

}  // namespace

const KernelSet& kernels_of(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return scalar_kernels();
    case Isa::avx2:
      return avx2_kernels();
    case Isa::avx512_vnni:
      return avx512_kernels();
    case Isa::amx:
      return amx_kernels();
  }
  CHECK(false, "every Isa has kernels");
  __builtin_unreachable();
}

void linear_many(std::span<const LinearJob> jobs, const QuantRows& x, Isa isa, base::Pool& pool) {
  const KernelSet& kernels = kernels_of(isa);
  const int columns_max = columns_at_once(x, kernels);
  const auto matrix = [](const LinearJob& job) -> const PackedMatrix& { return *job.w; };
  int64_t total = 0;
  for (const LinearJob& job : jobs) total += panel_count(*job.w);
  const auto work = [&](int64_t begin, int64_t end, int) {
    alignas(64) float acc[kernel_columns_max * panel_rows];
    each_job(jobs, begin, end, matrix, [&](const LinearJob& job, int64_t first, int64_t last) {
      const PanelKernel kernel = kernel_for(*job.w, x, kernels);
      const Columns own = columns_of(job, x);
      for (int at = 0; at < own.count; at += columns_max) {
        const int columns = std::min(columns_max, own.count - at);
        for (int64_t p = first; p < last; ++p) {
          const PanelJob panel{job.w, p, &x, own.first + at, columns, acc};
          kernel(panel);
          store_panel(acc, panel, job.out, at);
        }
      }
    });
  };
  pool.run(total, panels_a_chunk(total, pool.threads()), work);
}

void linear(const PackedMatrix& w, const QuantRows& x, const LinearOut& out, Isa isa,
            base::Pool& pool) {
  const LinearJob job{&w, out};
  linear_many({&job, 1}, x, isa, pool);
}

void gate_up_silu_many(std::span<const GateUpJob> jobs, const QuantRows& x, Isa isa,
                       base::Pool& pool) {
  const KernelSet& kernels = kernels_of(isa);
  const int columns_max = columns_at_once(x, kernels);
  const auto matrix = [](const GateUpJob& job) -> const PackedMatrix& { return *job.gate; };
  int64_t total = 0;
  for (const GateUpJob& job : jobs) {
    CHECK(job.gate->rows == job.up->rows, "gate and up are multiplied row by row");
    total += panel_count(*job.gate);
  }
  const auto work = [&](int64_t begin, int64_t end, int) {
    alignas(64) float gate_acc[kernel_columns_max * panel_rows];
    alignas(64) float up_acc[kernel_columns_max * panel_rows];
    each_job(jobs, begin, end, matrix, [&](const GateUpJob& job, int64_t first, int64_t last) {
      const PanelKernel gate_kernel = kernel_for(*job.gate, x, kernels);
      const PanelKernel up_kernel = kernel_for(*job.up, x, kernels);
      const Columns own = columns_of(job, x);
      for (int at = 0; at < own.count; at += columns_max) {
        const int columns = std::min(columns_max, own.count - at);
        for (int64_t p = first; p < last; ++p) {
          const PanelJob gate_job{job.gate, p, &x, own.first + at, columns, gate_acc};
          gate_kernel(gate_job);
          up_kernel({job.up, p, &x, own.first + at, columns, up_acc});
          kernels.silu_product(gate_acc, up_acc, int64_t{columns} * panel_rows);
          store_panel(gate_acc, gate_job, {job.y, job.stride}, at);
        }
      }
    });
  };
  pool.run(total, panels_a_chunk(2 * total, pool.threads()), work);
}

void gate_up_silu(const PackedMatrix& gate, const PackedMatrix& up, const QuantRows& x, float* y,
                  int64_t stride, Isa isa, base::Pool& pool) {
  const GateUpJob job{&gate, &up, y, stride};
  gate_up_silu_many({&job, 1}, x, isa, pool);
}

}  // namespace tensor
