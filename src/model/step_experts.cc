// Mixture of experts. The rows of a step are sorted by expert, so that each expert's weights pass
// once over all of its rows; a row's results are added in the order in which it chose, so that it
// does not matter who else is in the batch:
//
//   row      chooses (best first)          places, sorted by expert
//   0        5 2                           expert 2: row 0, row 1      expert 5: row 0
//   1        2 7                           expert 7: row 1
#include <algorithm>

#include "model/step.h"

namespace model {

using tensor::Workspace;

namespace {
constexpr int rows_grain = 4;
}  // namespace

// x_ += of normed_.
void Step::experts(const ExpertWeights& w, int rows, int index) {
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
  run_experts(w, rows, routes);
}

void Step::run_experts(const ExpertWeights& w, int rows, const Route* routes) {
  const int used = c_.moe->experts_used, width = c_.moe->expert_ffn;
  const int places = rows * used;
  int* first = workspace_.take<int>(c_.moe->experts + 1);  // place of each expert's first row
  int* place = workspace_.take<int>(places);               // of each route
  sort_routes({routes, static_cast<size_t>(places)}, first, place);

  float* rows_in = workspace_.take<float>(int64_t{places} * c_.hidden);
  float* inner = workspace_.take<float>(int64_t{places} * width);
  pool_.run(places, rows_grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      std::copy_n(normed_ + i / used * c_.hidden, c_.hidden,
                  rows_in + place[i] * int64_t{c_.hidden});
    }
  });
  {
    const Workspace::Mark mark(workspace_);
    const auto x = quantize(rows_in, places, c_.hidden, {w.gate.data(), w.up.data()});
    p_.gate_up_jobs.clear();
    for (int e = 0; e < c_.moe->experts; ++e) {
      const int count = first[e + 1] - first[e];
      if (count == 0) continue;
      p_.gate_up_jobs.push_back(
          {&w.gate[e], &w.up[e], inner + int64_t{first[e]} * width, width, first[e], count});
    }
    tensor::gate_up_silu_many(p_.gate_up_jobs, x, isa_, pool_);
  }
  float* rows_out = rows_in;  // the inputs are used up
  {
    const Workspace::Mark mark(workspace_);
    const auto x = quantize(inner, places, width, {w.down.data()});
    p_.jobs.clear();
    for (int e = 0; e < c_.moe->experts; ++e) {
      const int count = first[e + 1] - first[e];
      if (count == 0) continue;
      p_.jobs.push_back(
          {&w.down[e], {rows_out + int64_t{first[e]} * c_.hidden, c_.hidden}, first[e], count});
    }
    tensor::linear_many(p_.jobs, x, isa_, pool_);
  }
  pool_.run(rows, rows_grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin * used; i < end * used; ++i) {
      const float weight = routes[i].weight;
      const float* from = rows_out + place[i] * int64_t{c_.hidden};
      float* to = x_ + i / used * c_.hidden;
      for (int d = 0; d < c_.hidden; ++d) to[d] += weight * from[d];
    }
  });
}

// Places by expert, within an expert in the order of the rows. first: (experts + 1).
void Step::sort_routes(std::span<const Route> routes, int* first, int* place) const {
  const int experts = c_.moe->experts;
  std::fill_n(first, experts + 1, 0);
  for (const Route& route : routes) ++first[route.expert + 1];
  for (int e = 0; e < experts; ++e) first[e + 1] += first[e];
  for (size_t i = 0; i < routes.size(); ++i) place[i] = first[routes[i].expert]++;
  for (int e = experts; e > 0; --e) first[e] = first[e - 1];
  first[0] = 0;
}

}  // namespace model
