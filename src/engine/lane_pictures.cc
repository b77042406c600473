// The part of a lane that is about pictures: those in prompts, and those that are drawn.
#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "engine/lane.h"
#include "media/encode_png.h"

namespace engine {
// ---- seeing ------------------------------------------------------------------------------------

// What stands in a page besides its ids. A picture begins at the same position whenever the ids are
// the same; where is told all the same, for a page may begin within it.
PrefixIndex::Contents Lane::contents_of(const Sequence& s, int first) const {
  PrefixIndex::Contents contents;
  const int end = first + model::page_tokens;
  for (const SeenPicture& picture : s.seen) {
    if (picture.first >= end || picture.end() <= first) continue;
    contents.push_back(static_cast<uint64_t>(static_cast<int64_t>(picture.first) - first));
    contents.push_back(picture.canvas->hash.high);
    contents.push_back(picture.canvas->hash.low);
  }
  // The sampled ids of a drawing are codes, another vocabulary.
  if (s.drawing && end > s.prompt_length) contents.push_back(~uint64_t{0});
  return contents;
}

// Every admitted request holds the features of the picture that it reads next, or waits for them.
void Lane::fetch_features() {
  if (!work_) return;
  for (auto& s : sequences_) {
    if (!s->admitted || s->seen.empty()) continue;
    const auto next = std::find_if(s->seen.begin(), s->seen.end(), [&](const SeenPicture& picture) {
      return picture.end() > s->kv.length;
    });
    const auto index = static_cast<size_t>(next - s->seen.begin());
    if (s->features_of != index) s->features.reset();
    s->features_of = index;
    if (next == s->seen.end() || s->features) continue;
    s->features =
        work_->features(static_cast<uint64_t>(s->arrival), s->request.account, next->canvas);
  }
}

// ---- drawing -----------------------------------------------------------------------------------

// One sequence for each picture, of one order.
void Lane::add_drawing(std::unique_ptr<Sequence> first) {
  auto& order = first->drawing->order;
  const DrawPrompt& prompt = order->prompt;
  order->left = prompt.pictures;
  std::vector<std::unique_ptr<Sequence>> pictures;
  for (int i = 1; i < prompt.pictures; ++i) {
    PreparedPrompt prepared;
    prepared.ids = first->ids;
    auto s = std::make_unique<Sequence>(first->request, first->sink, std::move(prepared),
                                        first->seed + static_cast<uint64_t>(i), source_.prompts());
    s->drawing.emplace();
    s->drawing->order = order;
    s->drawing->picture = i;
    s->drawing->without_text.ids = first->drawing->without_text.ids;
    s->arrived_ns = first->arrived_ns;
    pictures.push_back(std::move(s));
  }
  pictures.insert(pictures.begin(), std::move(first));
  for (auto& s : pictures) {
    s->arrival = arrivals_++;
    sequences_.push_back(std::move(s));
  }
  Sequence& s = **(sequences_.end() - prompt.pictures);
  if (!prompt.codes.empty()) {
    s.drawing->painting = true;
    work_->paint(static_cast<uint64_t>(s.arrival), s.request.account, prompt.codes);
    return;
  }
  const int pages = 2 * ((length_reserved(s) + model::page_tokens - 1) / model::page_tokens);
  if (pages > pages_total()) {
    finish(s, EndReason::failed, false,
           {base::ErrorKind::limit_exceeded, "the prompt is longer than the model can draw",
            fmt::format("it takes {} pages of the key/value cache, which has {}", pages,
                        pages_total()),
            "describe the picture in fewer words"});
    return remove_finished();
  }
  announce_waits();
}

// The first picture's prompt is computed for all, as far as it fills pages that can be shared.
bool Lane::held_back(const Sequence& s) const {
  return s.drawing && s.drawing->picture > 0 && s.drawing->order->reading &&
         options_.prefix_cache && s.prompt_length > model::page_tokens;
}

int Lane::length_reserved(const Sequence& s) const {
  // The last code is not computed: nothing follows it.
  return s.drawing ? s.prompt_length + codes_of_picture() - 1 : 0;
}

// All pages of both rows at once, or none.
bool Lane::admit_drawing(Sequence& s) {
  const int length = length_reserved(s);
  Strand& other = s.drawing->without_text;
  return reserve(s, length - s.kv.length) && reserve(other, length - other.kv.length);
}

void Lane::after_drawing_row(const Row& row, const model::Logits& logits, int first_row) {
  Sequence& s = *row.sequence;
  if (s.done) return;
  list_full_pages(s);
  Drawing& drawing = *s.drawing;
  const bool reading = s.kv.length <= s.prompt_length && s.completion_tokens() == 0;
  if (reading && drawing.picture == 0) {
    emit(s, Reading{s.kv.length, s.prompt_length, drawing.order->cached_tokens});
    if (s.kv.length == s.prompt_length) drawing.order->reading = false;
  }
  if (s.pending() == 0) sample_code(s, logits, first_row);
}

void Lane::sample_code(Sequence& s, const model::Logits& logits, int first_row) {
  const DrawPrompt& prompt = s.drawing->order->prompt;
  guide(logits.image_row(first_row), logits.image_row(first_row + 1),
        static_cast<float>(prompt.guidance), guided_);
  SamplingParams sampling;
  sampling.temperature = s.request.sampling.temperature;
  const auto code = sampler_.pick(guided_, s.history, sampling,
                                  uniform(s.seed, static_cast<uint64_t>(s.ids.size())));
  if (!code) return finish(s, EndReason::failed, false, code.error());
  s.ids.push_back(*code);
  s.drawing->without_text.ids.push_back(*code);
  ++stats_.generated_tokens;
  ++s.drawing->order->codes_sampled;
  int64_t& first_code_ns = s.drawing->order->first_code_ns;
  if (first_code_ns == 0) first_code_ns = clock_.monotonic_ns();
  tell_sketch(s);
  if (s.completion_tokens() == codes_of_picture()) paint(s);
}

// Rows that are whole, once it is known what colours their codes have.
void Lane::tell_sketch(Sequence& s) {
  const std::vector<uint8_t>* palette = work_->palette();
  if (!palette || s.done) return;
  const int side = work_->info().grid;
  Drawing& drawing = *s.drawing;
  for (; drawing.rows_told < s.completion_tokens() / side; ++drawing.rows_told) {
    SketchRow event{drawing.picture, drawing.rows_told, side, {}};
    const int first = s.prompt_length + drawing.rows_told * side;
    for (int i = first; i < first + side; ++i) {
      const auto colour = palette->begin() + 3 * std::ptrdiff_t{s.ids[static_cast<size_t>(i)]};
      event.colours.append(colour, colour + 3);
    }
    emit(s, event);
  }
}

void Lane::paint(Sequence& s) {
  release_pages(s);
  s.drawing->painting = true;
  const auto codes = std::span<const int32_t>(s.ids).subspan(static_cast<size_t>(s.prompt_length));
  work_->paint(static_cast<uint64_t>(s.arrival), s.request.account, codes);
}

void Lane::painted(Sequence& s, const std::vector<uint8_t>& pixels) {
  DrawingOrder& order = *s.drawing->order;
  const DrawPrompt& prompt = order.prompt;
  Drawn drawn;
  drawn.picture = s.drawing->picture;
  drawn.seed = s.seed;
  std::vector<std::pair<std::string, std::string>> texts;
  texts.emplace_back("Software", "Nautile");
  texts.emplace_back("model", source_.status().id);
  if (!prompt.codes.empty()) {
    drawn.codes = prompt.codes;
  } else {
    drawn.codes.assign(s.ids.begin() + s.prompt_length, s.ids.end());
    texts.emplace_back("prompt", prompt.text);
    texts.emplace_back("seed", fmt::format("{}", s.seed));
    texts.emplace_back("guidance", fmt::format("{}", prompt.guidance));
    texts.emplace_back("temperature", fmt::format("{}", s.request.sampling.temperature));
  }
  const int side = work_->info().drawn_side;
  auto png = media::encode_png(side, side, pixels, texts);
  if (!png) return finish(s, EndReason::failed, false, png.error());
  drawn.png = std::move(*png);
  emit(s, drawn);
  if (--order.left == 0) return finish(s, EndReason::stop);
  s.done = true;
}

// Of the whole request, with all of its pictures.
void Lane::finish_drawing(Sequence& s, EndReason reason, base::Error error) {
  const std::shared_ptr<DrawingOrder> order = s.drawing->order;
  if (order->ended) return;
  order->ended = true;
  for (auto& other : sequences_) {
    if (!other->drawing || other->drawing->order != order) continue;
    other->done = true;
    release_pages(*other);
  }
  const int64_t now = clock_.monotonic_ns();
  End end;
  end.reason = reason;
  end.error = std::move(error);
  end.usage.prompt_tokens = s.prompt_length;
  end.usage.cached_tokens = order->cached_tokens;
  end.usage.completion_tokens = order->codes_sampled;
  // That of the first picture.
  end.usage.seed = s.seed - static_cast<uint64_t>(s.drawing->picture);
  const bool begun = order->admitted_ns > 0;
  end.usage.queue_ms = ms_between(s.arrived_ns, begun ? order->admitted_ns : now);
  const bool drawing = order->first_code_ns > 0;
  end.usage.prompt_ms = ms_between(order->admitted_ns, drawing ? order->first_code_ns : now);
  end.usage.decode_ms = ms_between(order->first_code_ns, now);
  emit(s, end);
}

// ---- slices between steps ----------------------------------------------------------------------

void Lane::advance_pictures(bool alone, bool computed, int64_t step_ns) {
  if (!work_) return;
  const bool drawing = std::any_of(sequences_.begin(), sequences_.end(),
                                   [](const auto& s) { return s->drawing.has_value(); });
  // The palette is for whoever draws; else it is made ready while nobody asks for anything.
  const bool with_palette = draws() && (sequences_.empty() || drawing);
  const bool had_palette = work_->palette() != nullptr;
  work_->advance(slice_ms(static_cast<double>(step_ns) * 1e-6, alone && !computed), with_palette);
  for (const PictureWork::Painted& painting : work_->take_painted()) {
    const auto found = std::find_if(sequences_.begin(), sequences_.end(), [&](const auto& s) {
      return static_cast<uint64_t>(s->arrival) == painting.owner;
    });
    CHECK(found != sequences_.end(), "whoever goes takes its pictures along");
    if (!(*found)->done) painted(**found, painting.pixels);
  }
  if (had_palette || !work_->palette()) return;
  for (auto& s : sequences_) {
    if (s->drawing && !s->drawing->painting) tell_sketch(*s);
  }
}

}  // namespace engine
