#include "pull/pull.h"

#include <algorithm>
#include <mutex>

#include "pull/receipt.h"

namespace pull {
namespace {

constexpr int replans_max = 3;  // a source that changes more often than this is not followed
constexpr uint64_t room_left_bytes = 64 << 20;  // for the progress files and the system
constexpr double gib = 1024.0 * 1024.0 * 1024.0;

// Counts, and tells: the one place where the threads of a transfer meet the callback.
class Meter {
 public:
  explicit Meter(const PullWorld& world) : world_(world), start_ms_(world.clock.monotonic_ms()) {}

  void begin(const Plan& plan) {
    const std::lock_guard<std::mutex> lock(mutex_);
    now_.model = plan.model;
    now_.files = static_cast<int>(plan.files.size());
    now_.bytes_total = now_.bytes_here = 0;
    for (const PlannedFile& file : plan.files) now_.bytes_total += file.size;
    start_ms_ = world_.clock.monotonic_ms();
  }
  void file(const PlannedFile& file, int number) {
    const std::lock_guard<std::mutex> lock(mutex_);
    now_.file = file.source;
    now_.file_number = number;
    now_.phase = Progress::Phase::fetching;
    before_file_ = now_.bytes_here;
  }
  // The file at hand begins anew.
  void again() {
    const std::lock_guard<std::mutex> lock(mutex_);
    now_.bytes_here = before_file_;
  }
  void came(size_t bytes) { add(now_.bytes_fetched, bytes); }
  void have(size_t bytes) { add(now_.bytes_here, bytes); }
  void proven(size_t bytes) { add(now_.bytes_checked, bytes); }
  void lost(size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    now_.bytes_here -= std::min<uint64_t>(bytes, now_.bytes_here);
  }
  void phase(Progress::Phase phase) {
    const std::lock_guard<std::mutex> lock(mutex_);
    now_.phase = phase;
    tell(true);
  }
  uint64_t fetched() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return now_.bytes_fetched;
  }

 private:
  void add(uint64_t& counter, size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    counter += bytes;
    tell(false);
  }
  void tell(bool always) {
    const int64_t now_ms = world_.clock.monotonic_ms();
    if (!always && now_ms - told_ms_ < progress_every_ms) return;
    told_ms_ = now_ms;
    now_.fetching_ms = now_ms - start_ms_;
    if (world_.progress) world_.progress(now_);
  }
  const PullWorld& world_;
  std::mutex mutex_;
  Progress now_;
  uint64_t before_file_ = 0;
  int64_t start_ms_ = 0, told_ms_ = 0;
};

class Pull {
 public:
  Pull(const PullOptions& options, const PullWorld& world)
      : options_(options), world_(world), meter_(world) {}

  base::Result<PullResult> run();

 private:
  base::Result<std::unique_ptr<Hub>> make_hub() const;
  base::Result<void> check_plan() const;
  base::Result<uint64_t> bytes_missing() const;
  base::Result<void> check_room(uint64_t missing) const;
  std::string path_of(const PlannedFile& file) const {
    return options_.models_dir + "/" + file.local;
  }
  base::Result<bool> is_here(const PlannedFile& file);
  base::Result<PulledFile> fetch(size_t number, PullResult& result);
  std::string sha256_of(const PlannedFile& file) const;
  base::Result<void> note(const PlannedFile& file, const std::string& sha256);
  bool replan(size_t number);

  const PullOptions& options_;
  const PullWorld& world_;
  Meter meter_;
  std::unique_ptr<Hub> hub_;
  Plan plan_;
  Receipt receipt_;
  bool trust_marks_ = true;
  int replans_ = 0;
};

base::Result<std::unique_ptr<Hub>> Pull::make_hub() const {
  const Reference& reference = options_.reference;
  const bool hugging_face = reference.kind == Reference::Kind::hugging_face;
  HubOptions hub{world_.make_client, world_.cancelled,
                 hugging_face ? options_.hf_endpoint : options_.ollama_endpoint,
                 hugging_face ? options_.hf_token : "", options_.model};
  if (reference.kind == Reference::Kind::file || !options_.from.empty()) {
    const auto registry = net::parse_url(options_.ollama_endpoint);
    return make_folder(reference, options_.from, registry ? registry->host : "", options_.model,
                       world_.disk);
  }
  return hugging_face ? make_hugging_face(reference, std::move(hub))
                      : make_ollama(reference, std::move(hub));
}

// The hub's names become paths here; whatever it was that made them, they stay below.
base::Result<void> Pull::check_plan() const {
  for (const PlannedFile& file : plan_.files) {
    if (is_safe_path(file.local) && is_safe_path(plan_.model)) continue;
    return base::fail(base::ErrorKind::invalid_input,
                      base::shown_name(file.local) + " is no acceptable file name", "",
                      "give it another name with --as");
  }
  return {};
}

// A file with its name is a proven one; which content, its receipt or its digest says.
base::Result<bool> Pull::is_here(const PlannedFile& file) {
  const auto info = world_.disk.info(path_of(file));
  if (!info) return false;
  const auto taken = [&](std::string why) {
    return base::fail(base::ErrorKind::io, path_of(file) + " is another file", std::move(why),
                      "remove it (`nautile rm`), or give this one another name with --as");
  };
  if (info->size != file.size) {
    return taken(fmt::format("it has {} bytes, the one to fetch {}", info->size, file.size));
  }
  for (const ReceiptFile& noted : receipt_.files) {
    if (noted.local == file.local && noted.size == info->size &&
        noted.modified_ns == info->modified_ns &&
        ((!file.sha256.empty() && noted.sha256 == file.sha256) ||
         (!file.git_sha1.empty() && noted.git_sha1 == file.git_sha1))) {
      return true;
    }
  }
  if (file.digest().empty()) return true;  // nothing to hold it against but its size
  meter_.phase(Progress::Phase::checking);
  ASSIGN(const bool right, matches_digest(world_.disk, path_of(file), file, world_.cancelled,
                                          [this](size_t bytes) { meter_.proven(bytes); }));
  if (!right) return taken("its checksum is another one");
  return true;
}

base::Result<uint64_t> Pull::bytes_missing() const {
  uint64_t missing = 0;
  for (const PlannedFile& file : plan_.files) {
    if (world_.disk.info(path_of(file))) continue;
    const auto partial = world_.disk.info(partial_path(path_of(file)));
    const uint64_t taken = partial ? std::min(partial->allocated, file.size) : 0;
    missing += file.size - taken;
  }
  return missing;
}

base::Result<void> Pull::check_room(uint64_t missing) const {
  ASSIGN(const uint64_t room, world_.disk.free_bytes(options_.models_dir));
  if (missing == 0 || missing + room_left_bytes <= room) return {};
  return base::fail(
      base::ErrorKind::out_of_disk, "there is not enough room for " + plan_.model,
      fmt::format("{:.2f} GiB are needed, {:.2f} GiB are free at {}",
                  static_cast<double>(missing + room_left_bytes) / gib,
                  static_cast<double>(room) / gib, options_.models_dir),
      "free some space, set NAUTILE_HOME to a larger disk, or choose a smaller quantisation");
}

// Of a file that is here: what its source says, else what was computed when it came.
std::string Pull::sha256_of(const PlannedFile& file) const {
  if (!file.sha256.empty()) return file.sha256;
  for (const ReceiptFile& noted : receipt_.files) {
    if (noted.local == file.local && noted.size == file.size) return noted.sha256;
  }
  return {};
}

base::Result<void> Pull::note(const PlannedFile& file, const std::string& sha256) {
  const auto info = world_.disk.info(path_of(file));
  if (!info) return {};
  receipt_.model = plan_.model;
  receipt_.source = plan_.source;
  std::erase_if(receipt_.files, [&](const auto& noted) { return noted.local == file.local; });
  receipt_.files.push_back({file.local, file.size, sha256.empty() ? file.sha256 : sha256,
                            file.git_sha1, info->modified_ns});
  return write_receipt(world_.disk, options_.models_dir, receipt_);
}

// The source said that a file changed. Asks again; false: not often enough to follow.
bool Pull::replan(size_t number) {
  if (++replans_ > replans_max) return false;
  auto fresh = hub_->plan();
  if (!fresh || fresh->files.size() != plan_.files.size()) return false;
  const PlannedFile& now = fresh->files[number];
  const PlannedFile& before = plan_.files[number];
  // Another mark, the same content: two servers of one name. The digest decides in the end.
  const bool same = now.size == before.size && now.digest() == before.digest();
  trust_marks_ = trust_marks_ && !(same && !now.digest().empty());
  plan_ = std::move(*fresh);
  return true;
}

base::Result<PulledFile> Pull::fetch(size_t number, PullResult& result) {
  const std::string path = path_of(plan_.files[number]);
  meter_.file(plan_.files[number], static_cast<int>(number) + 1);
  ASSIGN(const bool here, is_here(plan_.files[number]));
  if (here) {
    const PlannedFile& file = plan_.files[number];
    meter_.have(file.size);
    // A kill between a file's name and the end of its progress leaves the latter behind.
    TRY(world_.disk.remove(progress_path(path)));
    const std::string sha256 = sha256_of(file);
    TRY(note(file, sha256));
    return PulledFile{path, file.size, sha256, !file.digest().empty(), true};
  }
  const size_t slash = path.rfind('/');
  TRY(world_.disk.make_directories(path.substr(0, slash)));
  const TransferEnvironment environment{world_.disk,
                                        world_.wait,
                                        world_.cancelled,
                                        [this](size_t bytes) { meter_.came(bytes); },
                                        [this](size_t bytes) { meter_.have(bytes); },
                                        [this](size_t bytes) { meter_.lost(bytes); },
                                        [this](size_t bytes) { meter_.proven(bytes); }};
  for (;;) {
    const PlannedFile& file = plan_.files[number];
    if (file.size == 0) {
      TRY(world_.disk.write_small(path, ""));
      TRY(note(file, ""));
      return PulledFile{path, 0, "", true, false};
    }
    meter_.phase(Progress::Phase::fetching);
    const auto done = transfer(*hub_, file, path, trust_marks_, options_.transfer, environment);
    if (done) {
      result.pieces_again += done->pieces_again;
      TRY(note(file, done->sha256));
      return PulledFile{path, file.size, done->sha256, done->vouched, false};
    }
    if (!done.error().changed || !replan(number)) return base::fail(done.error().error);
    meter_.again();
  }
}

base::Result<PullResult> Pull::run() {
  TRY(world_.disk.make_directories(options_.models_dir));
  ASSIGN(hub_, make_hub());
  meter_.phase(Progress::Phase::planning);
  ASSIGN(plan_, hub_->plan());
  TRY(check_plan());
  receipt_ = read_receipt(world_.disk, options_.models_dir, plan_.model);
  PullResult result{plan_.model, plan_.source, path_of(plan_.files.back())};
  const size_t slash = plan_.files.back().local.find('/');
  if (slash != std::string::npos) {
    result.path = options_.models_dir + "/" + plan_.files.back().local.substr(0, slash);
  }
  for (const PlannedFile& file : plan_.files) result.bytes_total += file.size;
  ASSIGN(result.bytes_missing, bytes_missing());
  if (options_.plan_only) {
    for (const PlannedFile& file : plan_.files) {
      result.files.push_back({path_of(file), file.size, file.sha256, !file.digest().empty(),
                              world_.disk.info(path_of(file)).has_value()});
    }
    return result;
  }
  TRY(check_room(result.bytes_missing));
  meter_.begin(plan_);
  for (size_t number = 0; number < plan_.files.size(); ++number) {
    ASSIGN(PulledFile file, fetch(number, result));
    result.files.push_back(std::move(file));
  }
  result.bytes_fetched = meter_.fetched();
  meter_.phase(Progress::Phase::done);
  return result;
}

}  // namespace

base::Result<PullResult> pull(const PullOptions& options, const PullWorld& world) {
  return Pull(options, world).run();
}

}  // namespace pull
