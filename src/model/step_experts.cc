// Mixture of experts. The rows of a step are sorted by expert, so that each expert's weights pass
// once over all of its rows; a row's results are added in the order in which it chose, so that it
// does not matter who else is in the batch:
//
//   row      chooses (best first)          places, sorted by expert
//   0        5 2                           expert 2: row 0, row 1      expert 5: row 0
//   1        2 7                           expert 7: row 1
//
// Where only some experts fit in memory, those that are there come first, and the others in the
// groups in which the cache has read them; the order changes no number.
#include <algorithm>

#include "model/step.h"

namespace model {

using tensor::Workspace;

// x_ += of normed_.
base::Result<void> Step::experts(const ExpertWeights& w, int rows, int index) {
  const int used = c_.moe->experts_used;
  const Workspace::Mark mark(workspace_);
  Route* routes = workspace_.take<Route>(int64_t{rows} * used);  // (rows, used)
  {
    const Workspace::Mark inner(workspace_);
    float* scores = workspace_.take<float>(int64_t{rows} * c_.moe->experts);
    linear(w.router, quantize(normed_, rows, c_.hidden, {&w.router}), {scores, c_.moe->experts});
    pool_.run(rows, rows_grain, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) {
        choose_experts(*c_.moe, scores + r * c_.moe->experts, w.bias,
                       {routes + r * used, static_cast<size_t>(used)});
      }
    });
  }
  if (p_.routing_tap) {
    p_.routing_tap(index, {routes, static_cast<size_t>(rows) * static_cast<size_t>(used)});
  }
  return run_experts(w, rows, routes, index);
}

base::Result<void> Step::run_experts(const ExpertWeights& w, int rows, const Route* routes,
                                     int index) {
  const int used = c_.moe->experts_used, places = rows * used;
  const std::span<const Route> all{routes, static_cast<size_t>(places)};
  int* counts = workspace_.take<int>(c_.moe->experts);  // rows of each expert
  std::fill_n(counts, c_.moe->experts, 0);
  for (const Route& route : all) ++counts[route.expert];
  const std::span<const int> order =
      expert_order({counts, static_cast<size_t>(c_.moe->experts)}, rows, index);
  int* first = workspace_.take<int>(c_.moe->experts + 1);  // place of the first row, by the order
  int* place = workspace_.take<int>(places);               // of each route
  sort_routes(all, order, counts, first, place);

  float* x = workspace_.take<float>(int64_t{places} * c_.hidden);  // inputs, then outputs
  float* inner = workspace_.take<float>(int64_t{places} * c_.moe->expert_ffn);
  pool_.run(places, rows_grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      std::copy_n(normed_ + i / used * c_.hidden, c_.hidden, x + place[i] * int64_t{c_.hidden});
    }
  });
  const int count = static_cast<int>(order.size());
  for (int done = 0; done < count;) {
    int ready = count - done;
    if (ExpertCache* cache = p_.weights.expert_cache.get()) {
      ASSIGN(ready, cache->next());
    }
    run_some_experts(w, order.subspan(done, ready), first + done, x, inner);
    done += ready;
  }
  pool_.run(rows, rows_grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin * used; i < end * used; ++i) {
      const float weight = routes[i].weight;
      const float* from = x + place[i] * int64_t{c_.hidden};
      float* to = x_ + i / used * c_.hidden;
      for (int d = 0; d < c_.hidden; ++d) to[d] += weight * from[d];
    }
  });
  return {};
}

// The experts that have rows, as they will be computed.
std::span<const int> Step::expert_order(std::span<const int> counts, int rows, int index) {
  if (p_.weights.expert_cache) return p_.weights.expert_cache->begin(index, counts, rows);
  int* order = workspace_.take<int>(counts.size());
  size_t size = 0;
  for (size_t e = 0; e < counts.size(); ++e) {
    if (counts[e] > 0) order[size++] = static_cast<int>(e);
  }
  return {order, size};
}

// Places in the given order of experts, within an expert in the order of the rows.
// first: (order + 1). `counts` is used up.
void Step::sort_routes(std::span<const Route> routes, std::span<const int> order, int* counts,
                       int* first, int* place) const {
  first[0] = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    first[i + 1] = first[i] + counts[order[i]];
    counts[order[i]] = first[i];
  }
  for (size_t i = 0; i < routes.size(); ++i) place[i] = counts[routes[i].expert]++;
}

// first: (experts + 1), x: (places, hidden) and inner: (places, expert_ffn) of all experts.
void Step::run_some_experts(const ExpertWeights& w, std::span<const int> experts, const int* first,
                            float* x, float* inner) {
  const int width = c_.moe->expert_ffn, from = first[0];
  const int count = first[experts.size()] - from;
  float* rows_x = x + int64_t{from} * c_.hidden;
  float* rows_inner = inner + int64_t{from} * width;
  {
    const Workspace::Mark mark(workspace_);
    const auto in = quantize(rows_x, count, c_.hidden, {w.gate.data(), w.up.data()});
    p_.gate_up_jobs.clear();
    for (size_t i = 0; i < experts.size(); ++i) {
      const int e = experts[i], at = first[i] - from;
      p_.gate_up_jobs.push_back({&w.gate[e], &w.up[e], rows_inner + int64_t{at} * width, width, at,
                                 first[i + 1] - first[i]});
    }
    tensor::gate_up_silu_many(p_.gate_up_jobs, in, isa_, pool_);
  }
  const Workspace::Mark mark(workspace_);
  const auto in = quantize(rows_inner, count, width, {w.down.data()});
  p_.jobs.clear();
  for (size_t i = 0; i < experts.size(); ++i) {
    const int at = first[i] - from;
    p_.jobs.push_back({&w.down[experts[i]],
                       {rows_x + int64_t{at} * c_.hidden, c_.hidden},
                       at,
                       first[i + 1] - first[i]});
  }
  tensor::linear_many(p_.jobs, in, isa_, pool_);
}

}  // namespace model
