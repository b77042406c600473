#include "app/verify_pictures.h"

#include <algorithm>

#include "engine/janus_prompts.h"
#include "media/encode_png.h"
#include "text/tokenizer.h"

namespace app {
namespace {

constexpr int written_rows = 12;    // of a picture's rows
constexpr int written_codes = 24;   // that are drawn: each is a step of the whole model
constexpr int written_pixels = 96;  // each way
constexpr double written_guidance = 5.0;
constexpr int own_side = 96;

tl::unexpected<base::Error> other_pictures(std::string why) {
  return base::fail(base::ErrorKind::invalid_input,
                    "the pictures of these vectors are of another model", std::move(why),
                    "give the vectors of this model");
}

base::Result<void> finish(const std::unique_ptr<model::PictureJob>& job) {
  if (!job) {
    return base::fail(base::ErrorKind::out_of_memory, "there is no memory to look at the picture",
                      "", "close other programs, or add memory");
  }
  while (!job->advance(model::operations_unit_max)) {
  }
  return {};
}

// Every step-th pixel of every step-th row.
std::string levels_of(const std::vector<uint8_t>& pixels, int side, int step) {
  std::string levels;
  for (int y = 0; y < side; y += step) {
    for (int x = 0; x < side; x += step) {
      const auto* at = pixels.data() + 3 * (static_cast<size_t>(y) * static_cast<size_t>(side) +
                                            static_cast<size_t>(x));
      levels.append(reinterpret_cast<const char*>(at), 3);
    }
  }
  return levels;
}

int32_t best_of(std::span<const float> row) {
  return static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

base::Result<void> write_drawing(OneShot& opened, const Eyes& eyes,
                                 const engine::JanusPrompts& prompts,
                                 const text::Tokenizer& tokenizer, const std::string& text,
                                 Vectors& vectors) {
  VectorDrawing drawing;
  ASSIGN(auto both, prompts.drawing(tokenizer, text));
  const int steps = std::min(written_codes, eyes.info().grid * eyes.info().grid);
  if (both.with_text.size() + static_cast<size_t>(steps) > tokens_to_write) {
    return base::fail(base::ErrorKind::invalid_input, "the text is too long to draw it",
                      fmt::format("it has {} tokens", both.with_text.size()),
                      "describe the picture in fewer words");
  }
  drawing.with_text = std::move(both.with_text);
  drawing.without_text = std::move(both.without_text);
  drawing.guidance = written_guidance;
  TRY(run_codes(opened, drawing.with_text, drawing.without_text, drawing.guidance, steps,
                [&](int step, std::span<const float> row) -> base::Result<int32_t> {
                  drawing.rows.push_back(kept_row(step, row, -1));
                  drawing.codes.push_back(best_of(row));
                  return drawing.codes.back();
                }));
  vectors.drawings.push_back(std::move(drawing));
  return {};
}

base::Result<void> write_grid(Eyes& eyes, Vectors& vectors) {
  const model::PictureInfo& info = eyes.info();
  VectorGrid grid;
  // Far apart in the code book, so that neighbours differ.
  constexpr int64_t stride = 7919;
  for (int64_t i = 0; i < int64_t{info.grid} * info.grid; ++i) {
    grid.codes.push_back(static_cast<int32_t>(i * stride % info.codes));
  }
  ASSIGN(const std::vector<uint8_t> pixels, eyes.paint(grid.codes));
  grid.step = std::max(1, info.drawn_side / written_pixels);
  grid.levels = levels_of(pixels, info.drawn_side, grid.step);
  vectors.grids.push_back(std::move(grid));
  return {};
}

}  // namespace

base::Result<Eyes> Eyes::open(const Session& session, const OneShot& opened, bool exact) {
  ASSIGN(const Config config, session.config());
  ASSIGN(const format::ModelConfig about, opened.files->config());
  if (!about.janus) return other_pictures("this model neither sees nor draws");
  const std::string& isa = config.text("isa");
  model::PictureOptions how;
  how.pool = opened.pool.get();
  how.exact = exact;
  ASSIGN(how.isa, tensor::choose_isa(isa == "auto" ? "" : isa));
  Eyes eyes;
  const format::JanusVision& vision = about.janus->vision;
  eyes.fit_ = {vision.side, vision.min_side, vision.background};
  ASSIGN(eyes.parts_, model::PictureModel::load(*opened.files, how));
  return eyes;
}

base::Result<std::vector<float>> Eyes::look(media::PictureReader& reader, std::string_view file) {
  ASSIGN(const std::vector<uint8_t> canvas,
         reader.fit({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, fit_));
  std::vector<float> rows;
  TRY(finish(parts_->see(canvas, &rows, nullptr)));
  return rows;
}

base::Result<std::vector<uint8_t>> Eyes::paint(const std::vector<int32_t>& codes) {
  const model::PictureInfo& of = info();
  if (codes.size() != static_cast<size_t>(of.grid) * static_cast<size_t>(of.grid)) {
    return other_pictures(fmt::format("a grid has {} codes, this model draws {} by {}",
                                      codes.size(), of.grid, of.grid));
  }
  TRY(check_codes(codes, of.codes));
  std::vector<uint8_t> pixels;
  TRY(finish(parts_->draw(codes, &pixels, nullptr)));
  return pixels;
}

base::Result<void> check_codes(const std::vector<int32_t>& codes, int count) {
  const auto wrong = std::find_if(codes.begin(), codes.end(),
                                  [&](int32_t code) { return code < 0 || code >= count; });
  if (wrong == codes.end()) return {};
  return other_pictures(fmt::format("they have a code {}, this model has {}", *wrong, count));
}

base::Result<std::vector<std::vector<float>>> compare_pictures(Eyes& eyes,
                                                               media::PictureReader& reader,
                                                               const Vectors& vectors,
                                                               Closeness& closeness) {
  std::vector<std::vector<float>> all;
  const auto hidden = static_cast<size_t>(eyes.info().hidden);
  for (const VectorPicture& picture : vectors.pictures) {
    ASSIGN(auto rows, eyes.look(reader, picture.file));
    for (const VectorEmbed& embed : picture.embeds) {
      if (embed.row >= eyes.info().tokens || embed.values.size() != hidden) {
        return other_pictures(fmt::format("they have row {} of {} numbers, this model {} of {}",
                                          embed.row, embed.values.size(), eyes.info().tokens,
                                          hidden));
      }
      const float* row = rows.data() + static_cast<size_t>(embed.row) * hidden;
      for (size_t i = 0; i < hidden; ++i) closeness.add(row[i], embed.values[i]);
    }
    all.push_back(std::move(rows));
  }
  return all;
}

base::Result<void> compare_grids(Eyes& eyes, const Vectors& vectors, Closeness& closeness) {
  for (const VectorGrid& grid : vectors.grids) {
    ASSIGN(const std::vector<uint8_t> pixels, eyes.paint(grid.codes));
    const std::string levels = levels_of(pixels, eyes.info().drawn_side, grid.step);
    if (levels.size() != grid.levels.size()) {
      return other_pictures(fmt::format("a grid has {} levels, this model makes {} of it",
                                        grid.levels.size(), levels.size()));
    }
    for (size_t i = 0; i < levels.size(); ++i) {
      closeness.add(static_cast<uint8_t>(levels[i]), static_cast<uint8_t>(grid.levels[i]));
    }
  }
  return {};
}

base::Result<std::vector<ShownRows>> places_of(const VectorPrompt& prompt, int tokens,
                                               const std::vector<std::vector<float>>& pictures) {
  std::vector<ShownRows> places;
  int64_t done = 0;
  for (const VectorShown& shown : prompt.shown) {
    if (shown.at < done || shown.at + int64_t{tokens} > static_cast<int64_t>(prompt.ids.size())) {
      return other_pictures(fmt::format(
          "a picture begins at position {}, and this model needs {} for each", shown.at, tokens));
    }
    done = shown.at + int64_t{tokens};
    places.push_back({shown.at, tokens, pictures[static_cast<size_t>(shown.picture)].data()});
  }
  return places;
}

base::Result<void> write_pictures(OneShot& opened, Eyes& eyes, media::PictureReader& reader,
                                  const std::string& picture, const std::string& text,
                                  Vectors& vectors) {
  ASSIGN(text::TokenizerSpec spec, opened.files->tokenizer());
  ASSIGN(const auto tokenizer, text::Tokenizer::make(std::move(spec)));
  const model::PictureInfo& info = eyes.info();
  ASSIGN(const auto prompts,
         engine::JanusPrompts::of(*tokenizer, {info.tokens, info.codes, info.grid}));

  VectorPicture seen;
  seen.file = picture;
  std::vector<std::vector<float>> rows(1);
  ASSIGN(rows[0], eyes.look(reader, picture));
  const int step = std::max(1, info.tokens / written_rows);
  for (int row = 0; row < info.tokens; row += step) {
    const float* values = rows[0].data() + static_cast<int64_t>(row) * info.hidden;
    seen.embeds.push_back({row, {values, values + info.hidden}});
  }
  vectors.pictures.push_back(std::move(seen));

  engine::Message question;
  question.role = "user";
  question.content = "What is in the picture?";
  question.pictures.push_back({0, picture});
  ASSIGN(const auto chat, prompts.chat(*tokenizer, {question}));
  if (chat.ids.size() > tokens_to_write) return other_pictures("a picture has too many rows");
  VectorPrompt prompt;
  prompt.ids = chat.ids;
  prompt.shown.push_back({chat.pictures.front(), 0});
  ASSIGN(const auto places, places_of(prompt, info.tokens, rows));
  const int after = chat.pictures.front() + info.tokens;  // the first position that has seen all
  TRY(run_rows(
      opened, prompt.ids, model::Head::text, [&](int position) { return position >= after; },
      [&](int position, std::span<const float> row) -> base::Result<void> {
        prompt.rows.push_back(kept_row(position, row, -1));
        return {};
      },
      places));
  vectors.prompts.push_back(std::move(prompt));
  TRY(write_drawing(opened, eyes, prompts, *tokenizer, text, vectors));
  return write_grid(eyes, vectors);
}

base::Result<std::string> own_picture() {
  constexpr int mark = own_side / 5;
  std::vector<uint8_t> rgb;
  for (int y = 0; y < own_side; ++y) {
    for (int x = 0; x < own_side; ++x) {
      const bool marked = (x < mark || x >= own_side - mark) && (y < mark || y >= own_side - mark);
      const bool right = x >= own_side / 2, low = y >= own_side / 2;
      const int level[3] = {2 * x + 32, 2 * y + 32, 255 - x - y};
      const int corner[3] = {right ? 30 : 220, low ? 40 : 200, right == low ? 210 : 30};
      for (int c = 0; c < 3; ++c) {
        rgb.push_back(static_cast<uint8_t>(std::clamp(marked ? corner[c] : level[c], 0, 255)));
      }
    }
  }
  return media::encode_png(own_side, own_side, rgb, {});
}

}  // namespace app
