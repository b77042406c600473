// Rows of logits of one given sequence, and what is measured on them; for logits, perplexity,
// quantize and verify.
#pragma once

#include <functional>
#include <span>

#include "app/one_shot.h"

namespace app {

inline constexpr int chunk_tokens = 128;  // that are computed at a time

// Rows that stand in the place of the embeddings of `count` ids from `begin` on: what the model
// makes of a picture.
struct ShownRows {
  int begin = 0, count = 0;
  const float* rows = nullptr;  // (count, hidden)
};

// Calls `row(position, logits)` for each wanted position of one sequence, in order. Chunks without
// a wanted row compute none. The head mtp speaks about position i once it has read the id after it.
// `shown`: by position, inside the sequence, none over another; not with mtp.
base::Result<void> run_rows(
    OneShot& opened, std::span<const int32_t> ids, model::Head head,
    const std::function<bool(int)>& wanted,
    const std::function<base::Result<void>(int, std::span<const float>)>& row,
    std::span<const ShownRows> shown = {});

// Draws the first `steps` codes of a picture: calls `choose(step, logits after guidance)` for each,
// and goes on with the code that it returns, which must be one of the model. The two prompts are
// equally long. `opened` has pages for two sequences of the prompt and the codes.
base::Result<void> run_codes(
    OneShot& opened, std::span<const int32_t> with_text, std::span<const int32_t> without_text,
    double guidance, int steps,
    const std::function<base::Result<int32_t>(int, std::span<const float>)>& choose);

// -log softmax(row)[id], and the first largest id.
double negative_log_likelihood(std::span<const float> row, int32_t id, int32_t* best);

// Windows of `context_tokens` that follow each other; in each, the likelihood of every token but
// the first given all before it in the window. Returns the mean of their negative logarithms;
// `top1`, if it is given, receives the likeliest id after each position. At least two ids.
base::Result<double> mean_nll(OneShot& opened, std::span<const int32_t> ids, int context_tokens,
                              std::vector<int32_t>* top1 = nullptr);

// A text in the ids of the model's own vocabulary. `path` ("-": standard input) stands in errors.
base::Result<std::vector<int32_t>> encode_text(const format::ModelFiles& files,
                                               std::string_view text, const std::string& path);

}  // namespace app
