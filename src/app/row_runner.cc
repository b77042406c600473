#include "app/row_runner.h"

#include <algorithm>
#include <cmath>

#include "text/tokenizer.h"

namespace app {

base::Result<void> run_rows(
    OneShot& opened, std::span<const int32_t> ids, model::Head head,
    const std::function<bool(int)>& wanted,
    const std::function<base::Result<void>(int, std::span<const float>)>& row) {
  const int late = head == model::Head::mtp ? 1 : 0;
  model::KvTable table = opened.take_table(static_cast<int>(ids.size()));
  model::Logits logits;
  const int step = std::min(chunk_tokens, opened.runner->batch_tokens_max());
  for (int begin = 0; begin < static_cast<int>(ids.size()); begin += step) {
    const int count = std::min(step, static_cast<int>(ids.size()) - begin);
    bool any = false;
    const int first = std::max(begin - late, 0), end = begin + count - late;
    for (int i = first; i < end; ++i) any = any || wanted(i);
    model::Segment segment;
    segment.kv = &table;
    segment.origin = model::Origin::prompt;
    segment.ids = ids.subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
    segment.want = any ? head : model::Head::none;
    segment.all_rows = any;
    TRY(opened.runner->forward({&segment, 1}, logits));
    for (int i = first; any && i < end; ++i) {
      if (wanted(i)) TRY(row(i, logits.row(i - first)));
    }
  }
  opened.give_back(table);
  return {};
}

double negative_log_likelihood(std::span<const float> row, int32_t id, int32_t* best) {
  const auto largest = std::max_element(row.begin(), row.end());
  *best = static_cast<int32_t>(largest - row.begin());
  double sum = 0;
  for (const float value : row) sum += std::exp(static_cast<double>(value) - *largest);
  return std::log(sum) + *largest - row[static_cast<size_t>(id)];
}

base::Result<double> mean_nll(OneShot& opened, std::span<const int32_t> ids, int context_tokens,
                              std::vector<int32_t>* top1) {
  double sum = 0;
  int64_t counted = 0;
  for (size_t begin = 0; begin < ids.size(); begin += static_cast<size_t>(context_tokens)) {
    const auto window =
        ids.subspan(begin, std::min(ids.size() - begin, static_cast<size_t>(context_tokens)));
    TRY(run_rows(
        opened, window, model::Head::text, [](int) { return true; },
        [&](int position, std::span<const float> row) -> base::Result<void> {
          const bool last = position + 1 == static_cast<int>(window.size());
          int32_t best = 0;
          const double nll = negative_log_likelihood(
              row, last ? 0 : window[static_cast<size_t>(position) + 1], &best);
          if (!last) {
            sum += nll;
            ++counted;
          }
          if (top1 != nullptr) top1->push_back(best);
          return {};
        }));
  }
  return sum / static_cast<double>(counted);
}

base::Result<std::vector<int32_t>> encode_text(const format::ModelFiles& files,
                                               std::string_view text, const std::string& path) {
  TRY(check_utf8(text, path == "-" ? "standard input" : path));
  ASSIGN(text::TokenizerSpec spec, files.tokenizer());
  ASSIGN(const auto tokenizer, text::Tokenizer::make(std::move(spec)));
  return tokenizer->encode(text, {false, false});
}

}  // namespace app
