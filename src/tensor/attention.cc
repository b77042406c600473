#include "tensor/attention.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "tensor/attention_kernels.h"
#include "tensor/ops.h"

namespace tensor {
namespace {

static_assert(kv_block_keys == block_keys);
constexpr float nothing_seen = -__builtin_inff();

int64_t element_bytes(Dtype dtype) { return dtype == Dtype::f32 ? 4 : 2; }
int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }
int ceil_div(int a, int b) { return (a + b - 1) / b; }

// What one thread works in; all pointers into AttentionScratch.
struct TileMemory {
  float* q;         // (tile_rows / 6, head_dim, 6)
  float* scores;    // (tile_rows, 64)
  float* panel;     // two panels widened to f32
  float* span_o;    // (tile_rows, dim_padded), of the span at work
  float* span_max;  // (tile_rows)
  float* span_sum;
  float* o;  // the same, merged over spans
  float* maximum;
  float* sum;

  static int64_t floats(const KvBlockLayout& kv) {
    return tile_rows * (kv.head_dim + block_keys + 2 * kv.dim_padded() + 4) + panel_floats(kv);
  }
  static int64_t panel_floats(const KvBlockLayout& kv) {
    return 2 * panel_width * std::max(kv.head_dim, block_keys);
  }
  TileMemory(float* memory, const KvBlockLayout& kv) {
    const auto take = [&memory](int64_t count) { return std::exchange(memory, memory + count); };
    q = take(tile_rows * kv.head_dim);
    scores = take(tile_rows * block_keys);
    panel = take(panel_floats(kv));
    span_o = take(tile_rows * kv.dim_padded());
    o = take(tile_rows * kv.dim_padded());
    span_max = take(tile_rows);
    span_sum = take(tile_rows);
    maximum = take(tile_rows);
    sum = take(tile_rows);
  }
};

int64_t partial_floats_max(const AttentionShape& shape, int threads, int context_tokens_max) {
  constexpr int64_t limit_floats = 4 << 20;
  const int rows = std::min(tile_rows, shape.heads / shape.kv.kv_heads);
  const int64_t tiles = ceil_div(shape.heads / shape.kv.kv_heads, tile_rows);
  const int64_t spans = ceil_div(context_tokens_max, span_keys);
  if (threads == 1) return 0;
  return std::min(limit_floats, 4 * threads * tiles * spans * rows * (shape.kv.dim_padded() + 2));
}

int64_t thread_floats(const AttentionShape& shape) {
  return round_up(TileMemory::floats(shape.kv), 64);
}

// Merges a span's result into what stands in (o, maximum, sum); by index, so always in one order.
void merge_span(int rows, int dim, const float* span_o, const float* span_max,
                const float* span_sum, float* o, float* maximum, float* sum) {
  for (int r = 0; r < rows; ++r) {
    if (span_max[r] == nothing_seen) continue;
    const float top = std::max(maximum[r], span_max[r]);
    const float keep = exp_nonpositive(maximum[r] - top);
    const float take = exp_nonpositive(span_max[r] - top);
    maximum[r] = top;
    sum[r] = sum[r] * keep + span_sum[r] * take;
    float* to = o + int64_t{r} * dim;
    const float* from = span_o + int64_t{r} * dim;
    for (int d = 0; d < dim; ++d) to[d] = to[d] * keep + from[d] * take;
  }
}

}  // namespace

int64_t KvBlockLayout::k_head_bytes() const {
  return round_up(int64_t{head_dim} * kv_block_keys * element_bytes(k), 64);
}
int64_t KvBlockLayout::v_head_bytes() const {
  if (shared) return 0;
  return int64_t{dim_padded()} * kv_block_keys * element_bytes(v);
}

const AttentionKernels& attention_kernels(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return attention_kernels_scalar();
    case Isa::avx2:
      return attention_kernels_avx2();
    case Isa::avx512_vnni:
    case Isa::amx:
      return attention_kernels_avx512();
  }
  return attention_kernels_scalar();
}

namespace {

// Element i of a head goes to to[place(i)].
template <class Place>
void scatter(const AttentionKernels& kernels, Dtype dtype, const float* from, int n, uint8_t* to,
             Place place) {
  if (dtype == Dtype::f32) {
    for (int i = 0; i < n; ++i) reinterpret_cast<float*>(to)[place(i)] = from[i];
    return;
  }
  constexpr int piece = 64;
  uint16_t bits[piece];
  for (int first = 0; first < n; first += piece) {
    const int count = std::min(piece, n - first);
    kernels.narrow(dtype, from + first, bits, count);
    for (int i = 0; i < count; ++i) reinterpret_cast<uint16_t*>(to)[place(first + i)] = bits[i];
  }
}

}  // namespace

void kv_write(Isa isa, const KvBlockLayout& layout, uint8_t* block, int slot, const float* k,
              const float* v) {
  const AttentionKernels& kernels = attention_kernels(isa);
  const int dim = layout.head_dim;
  const int64_t k_first = int64_t{slot / panel_width} * dim * panel_width + slot % panel_width;
  for (int h = 0; h < layout.kv_heads; ++h) {
    scatter(kernels, layout.k, k + h * dim, dim, block + h * layout.k_head_bytes(),
            [&](int d) { return k_first + d * panel_width; });
  }
  if (layout.shared) return;
  block += layout.kv_heads * layout.k_head_bytes();
  const int v_dim = layout.dim();
  for (int h = 0; h < layout.kv_heads; ++h) {
    scatter(kernels, layout.v, v + h * v_dim, v_dim, block + h * layout.v_head_bytes(), [&](int d) {
      return (d / panel_width * kv_block_keys + slot) * panel_width + d % panel_width;
    });
  }
}

void kv_read_keys(const KvBlockLayout& layout, const uint8_t* block, int slots, KeyDims dims,
                  float* k) {
  float column[panel_width];
  for (int group = 0; group < slots; group += panel_width) {
    const int keys = std::min(panel_width, slots - group);
    for (int d = 0; d < dims.count; ++d) {
      const int64_t at =
          (int64_t{group / panel_width} * layout.head_dim + dims.first + d) * panel_width;
      decode_row(layout.k, block + at * element_bytes(layout.k), column, panel_width);
      float* to = k + int64_t{group} * dims.count + d;
      for (int key = 0; key < keys; ++key) to[int64_t{key} * dims.count] = column[key];
    }
  }
}

namespace {

// 16 numbers side by side in a block.
void store_panel_row(const AttentionKernels& kernels, Dtype dtype, const float* from, uint8_t* to) {
  if (dtype == Dtype::f32) {
    std::memcpy(to, from, panel_width * sizeof(float));
  } else {
    kernels.narrow(dtype, from, reinterpret_cast<uint16_t*>(to), panel_width);
  }
}

}  // namespace

void kv_fill_keys(Isa isa, const KvBlockLayout& layout, uint8_t* block, int head, KeyDims dims,
                  int slots, const float* k, int64_t stride) {
  const AttentionKernels& kernels = attention_kernels(isa);
  const int64_t size = element_bytes(layout.k);
  uint8_t* keys = block + head * layout.k_head_bytes();
  float column[panel_width] = {};
  for (int group = 0; group < slots; group += panel_width, k += panel_width * stride) {
    const int count = std::min(panel_width, slots - group);
    std::fill(column + count, column + panel_width, 0.0f);
    for (int d = 0; d < dims.count; ++d) {
      for (int key = 0; key < count; ++key) column[key] = k[key * stride + d];
      const int64_t at =
          (int64_t{group / panel_width} * layout.head_dim + dims.first + d) * panel_width;
      store_panel_row(kernels, layout.k, column, keys + at * size);
    }
  }
}

void kv_fill_values(Isa isa, const KvBlockLayout& layout, uint8_t* block, int head, int slots,
                    const float* v, int64_t stride) {
  const AttentionKernels& kernels = attention_kernels(isa);
  const int64_t size = element_bytes(layout.v);
  uint8_t* values = block + layout.kv_heads * layout.k_head_bytes() + head * layout.v_head_bytes();
  for (int first = 0; first < layout.dim(); first += panel_width) {
    const int count = std::min(panel_width, layout.dim() - first);
    for (int slot = 0; slot < slots; ++slot) {
      float row[panel_width] = {};
      std::copy_n(v + slot * stride + first, count, row);
      const int64_t at = int64_t{first / panel_width * kv_block_keys + slot} * panel_width;
      store_panel_row(kernels, layout.v, row, values + at * size);
    }
  }
}

struct AttentionScratch::Memory {
  std::vector<float> threads;       // (threads, thread_floats)
  std::vector<float> partials;      // split over spans: results of (unit, span)
  std::vector<int64_t> first_unit;  // of each AttentionRows, then the total
};

AttentionScratch::AttentionScratch(const AttentionShape& shape, int threads, int context_tokens_max)
    : memory_(std::make_unique<Memory>()) {
  memory_->threads.resize(threads * thread_floats(shape));
  memory_->partials.resize(partial_floats_max(shape, threads, context_tokens_max));
}
AttentionScratch::~AttentionScratch() = default;
AttentionScratch::AttentionScratch(AttentionScratch&&) noexcept = default;

uint64_t AttentionScratch::bytes(const AttentionShape& shape, int threads, int context_tokens_max) {
  return 4 *
         (threads * thread_floats(shape) + partial_floats_max(shape, threads, context_tokens_max));
}

// One call of attention(). A unit is a tile of query rows of one KV head; row r of a segment is
// position r / group, query head r % group of the KV head's group.
class AttentionRun {
 public:
  AttentionRun(const AttentionShape& shape, std::span<const AttentionRows> segments,
               int64_t layer_offset, Isa isa, AttentionScratch& scratch, base::Pool& pool)
      : shape_(shape),
        segments_(segments),
        layer_offset_(layer_offset),
        kernels_(attention_kernels(isa)),
        memory_(*scratch.memory_),
        pool_(pool),
        group_(shape.heads / shape.kv.kv_heads) {}

  void run() {
    choose_tile();
    int spans_max = 0, rows_max = 0;
    const int64_t units = count_units();
    for (const AttentionRows& s : segments_) {
      spans_max = std::max(spans_max, ceil_div(s.first_position + s.count, span_keys));
      rows_max = std::max(rows_max, std::min(tile_, s.count * group_));
    }
    slot_floats_ = int64_t{rows_max} * (shape_.kv.dim_padded() + 2);
    const bool few = units < 4 * pool_.threads() && pool_.threads() > 1 && spans_max > 1;
    if (few && units * spans_max * slot_floats_ <= static_cast<int64_t>(memory_.partials.size())) {
      run_split(units, spans_max);
    } else {
      pool_.run(units, 1, [&](int64_t begin, int64_t end, int thread) {
        // Last first: later tiles see more keys, and a long one at the end would be waited for.
        for (int64_t u = begin; u < end; ++u) whole_unit(units - 1 - u, thread);
      });
    }
  }

  // What the rows of the only segment see of one span, merged into `state`.
  void run_span(int index, const SpanState& state) {
    first_block_ = index * span_blocks;
    choose_tile();
    const int64_t units = count_units();
    pool_.run(units, 1, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t i = begin; i < end; ++i) span_unit(unit(units - 1 - i), index, state, thread);
    });
  }

  // Head h of position p stands at p * heads + h in `state`.
  void run_finish(const SpanState& state) {
    constexpr int64_t positions_grain = 4;
    const AttentionRows& s = segments_[0];
    const int dim = shape_.kv.dim_padded();
    pool_.run(s.count, positions_grain, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin * shape_.heads; i < end * shape_.heads; ++i) {
        store_head(s, i / shape_.heads, i % shape_.heads, state.o + i * dim, state.sum[i]);
      }
    });
  }

 private:
  struct Unit {
    const AttentionRows* segment;
    int kv_head;
    int first_row;
    int rows;
    int keys;  // that its last row sees
    int position(int row, int group) const {
      return segment->first_position + (first_row + row) / group;
    }
  };

  // Few rows with one KV head (latent attention) are cut finer, so that every thread has a tile. A
  // row's result does not depend on the tile it is in.
  void choose_tile() {
    int64_t rows = 0;
    for (const AttentionRows& s : segments_) rows += int64_t{s.count} * group_;
    const int64_t share = round_up(rows * shape_.kv.kv_heads / pool_.threads() + 1, group_rows);
    tile_ = static_cast<int>(std::min<int64_t>(tile_rows, share));
  }

  int64_t count_units() {
    int64_t units = 0;
    memory_.first_unit.clear();
    for (const AttentionRows& s : segments_) {
      memory_.first_unit.push_back(units);
      units += int64_t{ceil_div(s.count * group_, tile_)} * shape_.kv.kv_heads;
    }
    memory_.first_unit.push_back(units);
    return units;
  }

  Unit unit(int64_t index) const {
    const auto& first = memory_.first_unit;
    const auto after = std::upper_bound(first.begin(), first.end() - 1, index);
    const auto s = after - first.begin() - 1;
    const int local = static_cast<int>(index - first[s]);
    Unit u;
    u.segment = &segments_[s];
    u.kv_head = local % shape_.kv.kv_heads;
    u.first_row = local / shape_.kv.kv_heads * tile_;
    u.rows = std::min(tile_, u.segment->count * group_ - u.first_row);
    u.keys = u.position(u.rows - 1, group_) + 1;
    return u;
  }

  TileMemory tile(int thread) const {
    return {memory_.threads.data() + thread * thread_floats(shape_), shape_.kv};
  }

  void pack_queries(const Unit& u, float* q) const {
    const int dim = shape_.kv.head_dim;
    for (int r = 0; r < u.rows; ++r) {
      const int row = u.first_row + r;
      const float* from = u.segment->q + row / group_ * u.segment->q_stride +
                          (u.kv_head * group_ + row % group_) * dim;
      float* to = q + r / group_rows * dim * group_rows + r % group_rows;
      for (int d = 0; d < dim; ++d) to[d * group_rows] = from[d] * shape_.scale;
    }
  }

  // The result of one span into (o, maximum, sum).
  void span(const Unit& u, int index, const TileMemory& m, float* o, float* maximum,
            float* sum) const {
    const KvBlockLayout& kv = shape_.kv;
    const int end = std::min(u.keys, (index + 1) * span_keys);
    std::fill(o, o + u.rows * kv.dim_padded(), 0.0f);
    std::fill(maximum, maximum + u.rows, nothing_seen);
    std::fill(sum, sum + u.rows, 0.0f);
    for (int first = index * span_keys; first < end; first += kv_block_keys) {
      const uint8_t* block =
          u.segment->blocks[first / kv_block_keys - first_block_] + layer_offset_;
      const uint8_t* k = block + u.kv_head * kv.k_head_bytes();
      const uint8_t* v = block + kv.kv_heads * kv.k_head_bytes() + u.kv_head * kv.v_head_bytes();
      const int keys = std::min(kv_block_keys, u.keys - first);
      int visible[tile_rows];
      for (int r = 0; r < u.rows; ++r) {
        visible[r] = std::clamp(u.position(r, group_) + 1 - first, 0, kv_block_keys);
      }
      kernels_.scores(kv.k, k, m.q, u.rows, kv.head_dim, keys, m.panel, m.scores);
      if (first == 0 && u.segment->first_key > 0) hide_first(u, m.scores);
      kernels_.softmax(m.scores, visible, u.rows, maximum, sum, o, kv.dim_padded());
      if (kv.shared) {
        kernels_.shared_values(kv.k, k, m.scores, u.rows, kv.head_dim, kv.dim_padded(), keys,
                               m.panel, o);
      } else {
        kernels_.values(kv.v, v, m.scores, u.rows, kv.dim_padded(), keys, m.panel, o);
      }
    }
  }

  static void hide_first(const Unit& u, float* scores) {
    for (int r = 0; r < u.rows; ++r) {
      std::fill_n(scores + r * block_keys, u.segment->first_key, nothing_seen);
    }
  }

  void store_head(const AttentionRows& s, int64_t position, int64_t head, const float* o,
                  float sum) const {
    const int dim = shape_.kv.dim();
    const int64_t head_stride = s.out_head_stride > 0 ? s.out_head_stride : dim;
    float* to = s.out + position * s.out_stride + head * head_stride;
    const float scale = 1.0f / sum;
    for (int d = 0; d < dim; ++d) to[d] = o[d] * scale;
  }

  void finish(const Unit& u, const float* o, const float* sum) const {
    for (int r = 0; r < u.rows; ++r) {
      const int row = u.first_row + r;
      store_head(*u.segment, row / group_, u.kv_head * group_ + row % group_,
                 o + int64_t{r} * shape_.kv.dim_padded(), sum[r]);
    }
  }

  // A unit's rows are (position, head of the group); the state's are (position, head).
  void span_unit(const Unit& u, int index, const SpanState& state, int thread) const {
    if (index * span_keys >= u.keys) return;
    const TileMemory m = tile(thread);
    const int dim = shape_.kv.dim_padded();
    pack_queries(u, m.q);
    span(u, index, m, m.span_o, m.span_max, m.span_sum);
    for (int r = 0; r < u.rows; ++r) {
      const int row = u.first_row + r;
      const int64_t at = int64_t{row / group_} * shape_.heads + u.kv_head * group_ + row % group_;
      if (index == 0) {
        std::fill_n(state.o + at * dim, dim, 0.0f);
        state.maximum[at] = nothing_seen;
        state.sum[at] = 0;
      }
      merge_span(1, dim, m.span_o + int64_t{r} * dim, m.span_max + r, m.span_sum + r,
                 state.o + at * dim, state.maximum + at, state.sum + at);
    }
  }

  void whole_unit(int64_t index, int thread) const {
    const Unit u = unit(index);
    const TileMemory m = tile(thread);
    const int dim = shape_.kv.dim_padded();
    pack_queries(u, m.q);
    span(u, 0, m, m.o, m.maximum, m.sum);
    for (int s = 1; s * span_keys < u.keys; ++s) {
      span(u, s, m, m.span_o, m.span_max, m.span_sum);
      merge_span(u.rows, dim, m.span_o, m.span_max, m.span_sum, m.o, m.maximum, m.sum);
    }
    finish(u, m.o, m.sum);
  }

  // Few rows, long history: threads share out the spans, then the units' spans are merged.
  void run_split(int64_t units, int spans_max) {
    const int dim = shape_.kv.dim_padded();
    const auto slot = [&](int64_t index, int s) {
      return memory_.partials.data() + (index * spans_max + s) * slot_floats_;
    };
    pool_.run(units * spans_max, 1, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t i = begin; i < end; ++i) {
        const int s = static_cast<int>(i % spans_max);
        const Unit u = unit(i / spans_max);
        if (s * span_keys >= u.keys) continue;
        const TileMemory m = tile(thread);
        pack_queries(u, m.q);
        float* o = slot(i / spans_max, s);
        span(u, s, m, o, o + u.rows * dim, o + u.rows * (dim + 1));
      }
    });
    pool_.run(units, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const Unit u = unit(i);
        float* o = slot(i, 0);
        for (int s = 1; s * span_keys < u.keys; ++s) {
          const float* part = slot(i, s);
          merge_span(u.rows, dim, part, part + u.rows * dim, part + u.rows * (dim + 1), o,
                     o + u.rows * dim, o + u.rows * (dim + 1));
        }
        finish(u, o, o + u.rows * (dim + 1));
      }
    });
  }

  const AttentionShape& shape_;
  std::span<const AttentionRows> segments_;
  int64_t layer_offset_;
  const AttentionKernels& kernels_;
  AttentionScratch::Memory& memory_;
  base::Pool& pool_;
  int group_;
  int tile_ = tile_rows;
  int first_block_ = 0;  // that AttentionRows::blocks begin with
  int64_t slot_floats_ = 0;
};

void attention(const AttentionShape& shape, std::span<const AttentionRows> rows,
               int64_t layer_offset, Isa isa, AttentionScratch& scratch, base::Pool& pool) {
  CHECK(shape.kv.kv_heads > 0 && shape.heads % shape.kv.kv_heads == 0,
        "the configuration was checked");
  AttentionRun(shape, rows, layer_offset, isa, scratch, pool).run();
}

void attention_span(const AttentionShape& shape, const AttentionRows& rows, int span,
                    const SpanState& state, Isa isa, AttentionScratch& scratch, base::Pool& pool) {
  AttentionRun(shape, {&rows, 1}, 0, isa, scratch, pool).run_span(span, state);
}

void attention_finish(const AttentionShape& shape, const AttentionRows& rows,
                      const SpanState& state, Isa isa, AttentionScratch& scratch,
                      base::Pool& pool) {
  AttentionRun(shape, {&rows, 1}, 0, isa, scratch, pool).run_finish(state);
}

}  // namespace tensor
