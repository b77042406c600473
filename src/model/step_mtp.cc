// The layer that predicts one id more (DeepSeek's MTP). With H the main layers' state after the
// final norm and t the ids:
//
//   u[i]      = eh_proj (norm(embedding t[i + 1]), norm(H[i]))
//   logits    = head norm(layer(u[0..i]))           tell of t[i + 2]
//
// Its keys for position i stand in slot i + 1 of the cache, beside those of t[i + 1], which they
// depend on: so a page is a function of its ids and those before it, as pages of the prefix cache
// must be. Slot 0 stays empty and is never seen. H of the newest positions stands at a page's end.
#include <algorithm>

#include "base/check.h"
#include "model/step.h"
#include "tensor/ops.h"

namespace model {

using tensor::Workspace;

namespace {
constexpr int mtp_shift = 1;
}  // namespace

float* Step::state_of(PageId page, int position) const {
  auto* states = reinterpret_cast<float*>(p_.kv->data(page) + p_.kv_layout.layers_bytes());
  return states + position % states_kept * int64_t{c_.hidden};
}

void Step::save_states(std::span<const Segment> segments, const float* states) const {
  for (const Segment& s : segments) {
    for (size_t i = 0; i < s.ids.size(); ++i, states += c_.hidden) {
      const int position = s.kv->length + static_cast<int>(i);
      std::copy_n(states, c_.hidden, state_of(s.kv->pages[position / page_tokens], position));
    }
  }
}

// After the main layers of the same segments, whose states are `states` (rows, hidden): the layer's
// keys for every id, and the rows that want its logits.
base::Result<void> Step::follow(std::span<const Segment> segments, const float* states,
                                Logits& logits) {
  const Workspace::Mark mark(workspace_);
  begin(segments, Head::mtp, mtp_shift);
  const float** before = workspace_.take<const float*>(b_.rows);
  int row = 0;
  for (const Segment& s : segments) {
    for (int i = skipped(s); i < static_cast<int>(s.ids.size()); ++i) {
      const int position = s.kv->length + i - 1;
      before[row++] = i > 0 ? states + (i - 1) * int64_t{c_.hidden}
                            : state_of(s.kv->pages[position / page_tokens], position);
    }
    states += static_cast<int64_t>(s.ids.size()) * c_.hidden;
  }
  join(before);
  const MtpWeights& w = *p_.weights.mtp;
  if (b_.kept > 0) {
    TRY(layer(w.layer, c_.layers, true));
    head(w.head_norm, w.head.data ? w.head : p_.weights.head, logits);
  } else if (b_.rows > 0) {
    norm(x_, w.layer.attention_norm, normed_, b_.rows, c_.rms_eps);
    latent_keys(w.layer.latent, quantize(normed_, b_.rows, c_.hidden, {&w.layer.latent.kv_a}),
                c_.layers);
  }
  return {};
}

base::Result<void> Step::draft(std::span<Segment> segments, Logits& logits) {
  const Workspace::Mark mark(workspace_);
  std::vector<Segment>& wanting = p_.draft_segments;
  wanting.assign(segments.begin(), segments.end());
  for (Segment& s : wanting) s.want = Head::mtp;
  begin(wanting, Head::mtp, mtp_shift);
  const float** before = workspace_.take<const float*>(b_.rows);
  for (size_t i = 0; i < wanting.size(); ++i) {
    const KvTable& kv = *wanting[i].kv;
    before[i] = state_of(kv.pages[(kv.length - 1) / page_tokens], kv.length - 1);
  }
  join(before);
  const MtpWeights& w = *p_.weights.mtp;
  TRY(layer(w.layer, c_.layers, true));
  head(w.head_norm, w.head.data ? w.head : p_.weights.head, logits);
  return {};
}

// x_ = eh_proj (norm(embedding), norm(state before)).
void Step::join(const float* const* before) {
  const MtpWeights& w = *p_.weights.mtp;
  const Workspace::Mark mark(workspace_);
  const int64_t hidden = c_.hidden;
  float* both = workspace_.take<float>(b_.rows * 2 * hidden);
  embed(w.embedding.rows ? w.embedding : p_.weights.embedding, both, 2 * hidden);
  pool_.run(b_.rows, rows_grain, [&](int64_t begin, int64_t end, int) {
    const auto eps = static_cast<float>(c_.rms_eps);
    for (int64_t r = begin; r < end; ++r) {
      float* half = both + r * 2 * hidden;
      tensor::rms_norm(isa_, half, w.enorm, half, c_.hidden, eps);
      tensor::rms_norm(isa_, before[r], w.hnorm, half + hidden, c_.hidden, eps);
    }
  });
  linear(w.eh_proj, quantize(both, b_.rows, 2 * c_.hidden, {&w.eh_proj}), {x_, hidden});
}

}  // namespace model
