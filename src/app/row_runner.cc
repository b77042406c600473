#include "app/row_runner.h"

#include <algorithm>
#include <cmath>

#include "text/tokenizer.h"

namespace app {

namespace {

// One kind of ids in a row: text, or what one picture shows.
struct Piece {
  int begin = 0, end = 0;
  const float* rows = nullptr;  // null: text
};

std::vector<Piece> pieces_of(int length, std::span<const ShownRows> shown) {
  std::vector<Piece> pieces;
  int done = 0;
  for (const ShownRows& picture : shown) {
    if (picture.begin > done) pieces.push_back({done, picture.begin, nullptr});
    done = picture.begin + picture.count;
    pieces.push_back({picture.begin, done, picture.rows});
  }
  if (done < length) pieces.push_back({done, length, nullptr});
  return pieces;
}

}  // namespace

base::Result<void> run_rows(
    OneShot& opened, std::span<const int32_t> ids, model::Head head,
    const std::function<bool(int)>& wanted,
    const std::function<base::Result<void>(int, std::span<const float>)>& row,
    std::span<const ShownRows> shown) {
  const int late = head == model::Head::mtp ? 1 : 0;
  const int64_t hidden = opened.runner->info().hidden;
  model::KvTable table = opened.take_table(static_cast<int>(ids.size()));
  model::Logits logits;
  const int step = std::min(chunk_tokens, opened.runner->batch_tokens_max());
  for (const Piece& piece : pieces_of(static_cast<int>(ids.size()), shown)) {
    for (int begin = piece.begin; begin < piece.end; begin += step) {
      const int count = std::min(step, piece.end - begin);
      bool any = false;
      const int first = std::max(begin - late, 0), end = begin + count - late;
      for (int i = first; i < end; ++i) any = any || wanted(i);
      model::Segment segment;
      segment.kv = &table;
      segment.origin = model::Origin::prompt;
      segment.ids = ids.subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
      segment.want = any ? head : model::Head::none;
      segment.all_rows = any;
      if (piece.rows) segment.embeds = piece.rows + (begin - piece.begin) * hidden;
      TRY(opened.runner->forward({&segment, 1}, logits));
      for (int i = first; any && i < end; ++i) {
        if (wanted(i)) TRY(row(i, logits.row(i - first)));
      }
    }
  }
  opened.give_back(table);
  return {};
}

namespace {

// Reads a prompt; the logits of the code that follows it.
base::Result<std::vector<float>> first_codes(OneShot& opened, model::KvTable& table,
                                             std::span<const int32_t> ids) {
  const auto step = static_cast<size_t>(std::min(chunk_tokens, opened.runner->batch_tokens_max()));
  model::Logits logits;
  for (size_t begin = 0; begin < ids.size(); begin += step) {
    const size_t count = std::min(step, ids.size() - begin);
    model::Segment segment;
    segment.kv = &table;
    segment.origin = model::Origin::prompt;
    segment.ids = ids.subspan(begin, count);
    segment.want = begin + count == ids.size() ? model::Head::image : model::Head::none;
    TRY(opened.runner->forward({&segment, 1}, logits));
  }
  const std::span<const float> row = logits.image_row(0);
  return std::vector<float>(row.begin(), row.end());
}

}  // namespace

base::Result<void> run_codes(
    OneShot& opened, std::span<const int32_t> with_text, std::span<const int32_t> without_text,
    double guidance, int steps,
    const std::function<base::Result<int32_t>(int, std::span<const float>)>& choose) {
  const int length = static_cast<int>(with_text.size()) + steps;
  model::KvTable tables[2] = {opened.take_table(length), opened.take_table(length)};
  ASSIGN(const std::vector<float> with, first_codes(opened, tables[0], with_text));
  ASSIGN(const std::vector<float> without, first_codes(opened, tables[1], without_text));
  model::Logits logits;
  std::span<const float> conditional = with, unconditional = without;
  std::vector<float> mixed(with.size());
  const auto weight = static_cast<float>(guidance);
  for (int step = 0; step < steps; ++step) {
    for (size_t i = 0; i < mixed.size(); ++i) {
      mixed[i] = unconditional[i] + weight * (conditional[i] - unconditional[i]);
    }
    ASSIGN(const int32_t code, choose(step, mixed));
    if (step + 1 == steps) break;
    model::Segment segments[2];
    for (int i = 0; i < 2; ++i) {
      segments[i].kv = &tables[i];
      segments[i].origin = model::Origin::sampled;
      segments[i].ids = {&code, 1};
      segments[i].want = model::Head::image;
      segments[i].vocab = model::Vocab::image;
    }
    TRY(opened.runner->forward(segments, logits));
    conditional = logits.image_row(0);
    unconditional = logits.image_row(1);
  }
  for (model::KvTable& table : tables) opened.give_back(table);
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
