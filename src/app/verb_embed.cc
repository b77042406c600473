// embed: what a model makes of a picture, as numbers, to be held against another implementation.
#include <cstdio>
#include <thread>

#include "app/command_line.h"
#include "app/model_store.h"
#include "app/one_engine.h"
#include "app/verb.h"
#include "base/json.h"
#include "base/pool.h"
#include "media/pictures.h"
#include "model/pictures.h"

namespace app {
namespace {

struct EmbedOptions {
  std::string model, image_file, out;
  bool exact = false;
};

struct Seen {
  model::PictureInfo info;
  std::vector<float> features;  // (info.tokens, info.vision_width)
  std::vector<float> embeds;    // (info.tokens, info.hidden)
  double seconds = 0;           // of tower and aligner
};

base::Result<Seen> look_at(const Session& session, const EmbedOptions& options,
                           const std::string& picture, media::PictureReader& reader) {
  ASSIGN(const Config config, session.config());
  ASSIGN(const StoredModel stored, find_model(session.places, options.model));
  ASSIGN(const auto files, format::ModelFiles::open(stored.path));
  ASSIGN(const format::ModelConfig about, files->config());
  if (!about.janus) {
    return base::fail(
        base::ErrorKind::unsupported,
        fmt::format("the model {} cannot see pictures", base::shown_name(stored.name)),
        "it has no part that looks at them", "take a Janus-Pro model");
  }
  int threads = static_cast<int>(config.integer("threads"));
  if (threads == 0) threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  base::Pool pool(threads);
  model::PictureOptions how;
  how.pool = &pool;
  const std::string& isa = config.text("isa");
  ASSIGN(how.isa, tensor::choose_isa(isa == "auto" ? "" : isa));
  how.exact = options.exact;
  // Before the weights are read: a picture that is none costs no time.
  const format::JanusVision& vision = about.janus->vision;
  ASSIGN(const std::vector<uint8_t> canvas,
         reader.fit({reinterpret_cast<const uint8_t*>(picture.data()), picture.size()},
                    {vision.side, vision.min_side, vision.background}));
  ASSIGN(const auto eyes, model::PictureModel::load(*files, how));
  Seen seen;
  seen.info = eyes->info();
  const int64_t start_ns = session.clock.monotonic_ns();
  const auto job = eyes->see(canvas, &seen.embeds, &seen.features);
  if (!job) {
    return base::fail(base::ErrorKind::out_of_memory, "there is no memory to look at the picture",
                      "", "close other programs, or add memory");
  }
  while (!job->advance(model::operations_unit_max)) {
  }
  seen.seconds = static_cast<double>(session.clock.monotonic_ns() - start_ns) / 1e9;
  return seen;
}

// Features, then rows, as they lie in memory.
std::string bytes_of(const Seen& seen) {
  std::string out;
  for (const std::vector<float>* values : {&seen.features, &seen.embeds}) {
    out.append(reinterpret_cast<const char*>(values->data()), values->size() * sizeof(float));
  }
  return out;
}

base::Result<int> embed_picture(const Session& session, const EmbedOptions& options) {
  end_on_interrupt(session);
  // First: the keeper of pictures is forked while this process has one thread.
  ASSIGN(const auto reader, media::start_picture_reader());
  ASSIGN(const std::string picture,
         read_text_argument(options.image_file, media::picture_bytes_max));
  ASSIGN(const Seen seen, look_at(session, options, picture, *reader));
  count_interrupts();  // a file is written whole, or not at all
  TRY(write_output(options.out, bytes_of(seen)));
  const auto shape = [](int rows, int width) {
    base::Json list = base::Json::array();
    list.push(rows);
    list.push(width);
    return list;
  };
  const std::string summary =
      base::Json::object({{"features", shape(seen.info.tokens, seen.info.vision_width)},
                          {"embeds", shape(seen.info.tokens, seen.info.hidden)},
                          {"seconds", seen.seconds}})
          .dump();
  std::fprintf(options.out == "-" ? stderr : stdout, "%s\n", summary.c_str());
  return exit_done;
}

}  // namespace

void add_embed(CommandLine& line, Session& session) {
  auto options = std::make_shared<EmbedOptions>();
  Verb verb =
      line.verb("embed", "write what a model that sees makes of a picture, as little-endian f32",
                "  nautile embed ./janus-pro-1b --image photo.jpg --out photo.f32\n"
                "  nautile embed ./janus-pro-1b --image photo.jpg --exact --out photo.f32");
  verb.option("MODEL", options->model, "name, file or directory").required();
  verb.option("--image", options->image_file, "PNG, JPEG or WebP file; -: stdin").required();
  verb.option("--out", options->out,
              "file to write: the features of the vision tower, then the rows that stand in "
              "the prompt, little-endian f32, of the shapes that are printed; -: stdout, and "
              "the shapes go to stderr")
      .required();
  verb.flag("--exact", options->exact, "f32 activations on decoded weights (slow)");
  for (const char* key : {"threads", "isa"}) verb.setting(key);
  verb.runs([&session, options] { return embed_picture(session, *options); });
}

}  // namespace app
