#include "pull/transfer.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "crypto/digest.h"
#include "pull/ledger.h"

namespace pull {
namespace {

using Kind = ReadFailure::Kind;

constexpr int64_t first_pause_ms = 250, longest_pause_ms = 16'000;
constexpr size_t progress_bytes_least = 1024;  // less than this between two failures is none
constexpr auto look_again = std::chrono::milliseconds(100);
constexpr size_t read_back_bytes = 1 << 20;

crypto::Hash piece_sum(std::string_view bytes) { return crypto::hash("nautile pull piece", bytes); }

crypto::Digest digest_of(const PlannedFile& file) {
  return file.sha256.empty() && !file.git_sha1.empty()
             ? crypto::git_blob_digest(file.size)
             : crypto::Digest(crypto::Digest::Kind::sha256);
}

const std::string& promised(const PlannedFile& file) {
  return file.sha256.empty() ? file.git_sha1 : file.sha256;
}

class Transfer {
 public:
  Transfer(Hub& hub, const PlannedFile& file, const std::string& path, bool trust_marks,
           const TransferSettings& settings, const TransferEnvironment& environment)
      : hub_(hub),
        file_(file),
        path_(path),
        trust_marks_(trust_marks),
        settings_(settings),
        env_(environment) {}

  tl::expected<TransferResult, TransferFailure> run();

 private:
  base::Result<void> open();
  void work();
  bool fetch(Reader& reader, uint32_t piece, std::string& buffer);
  void stream(Reader& reader);
  bool keep(uint32_t piece, std::string_view bytes);
  bool pause_after(const ReadFailure& failure, size_t came, int& failures);
  std::optional<uint32_t> take();
  bool missing(uint32_t piece);
  void verify(crypto::Digest& digest);
  bool prove(uint32_t piece, std::string& buffer, crypto::Digest& digest);
  void fail(ReadFailure failure);
  bool stopped() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return failure_.has_value() || finished_;
  }
  bool cancelled() { return env_.cancelled() || stopped(); }
  tl::expected<TransferResult, TransferFailure> conclude(crypto::Digest& digest);

  Hub& hub_;
  const PlannedFile& file_;
  const std::string path_;
  const bool trust_marks_;
  const TransferSettings settings_;
  const TransferEnvironment& env_;
  std::unique_ptr<File> data_;
  std::optional<Ledger> ledger_;

  std::mutex mutex_;  // all below, and the ledger
  std::condition_variable changed_;
  std::deque<uint32_t> queue_;           // pieces that nobody fetches yet
  std::vector<Ledger::Mark> fresh_;      // written, not synced
  uint64_t written_ = 0, recorded_ = 0;  // how many pieces came so far, in the order of fresh_
  bool syncing_ = false;
  bool finished_ = false;
  bool streams_ = false;  // the source gives whole files only: one worker reads in order
  bool stream_taken_ = false;
  std::optional<ReadFailure> failure_;
  uint32_t pieces_again_ = 0;
};

base::Result<void> Transfer::open() {
  // The lock is the unfinished file's: whoever has it may touch the progress as well.
  ASSIGN(data_, env_.disk.open_alone(partial_path(path_)));
  const FileIdentity identity{file_.source, file_.size, file_.digest(),
                              file_.digest().empty() ? file_.version : ""};
  ASSIGN(const uint64_t size, data_->size());
  if (size != file_.size) {
    // Progress without its file, or a file that was never this one: nothing counts.
    TRY(env_.disk.remove(progress_path(path_)));
    TRY(data_->resize(0));
    TRY(data_->reserve(file_.size));
  }
  ASSIGN(Ledger ledger, Ledger::open(env_.disk, progress_path(path_), identity));
  ledger_.emplace(std::move(ledger));
  for (uint32_t piece = 0; piece < ledger_->piece_count(); ++piece) {
    if (ledger_->piece(piece).have) {
      env_.have(ledger_->piece_size(piece));
    } else {
      queue_.push_back(piece);
    }
  }
  return {};
}

void Transfer::fail(ReadFailure failure) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!failure_) failure_ = std::move(failure);
  changed_.notify_all();
}

std::optional<uint32_t> Transfer::take() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!failure_ && !finished_ && !streams_) {
    if (!queue_.empty()) {
      const uint32_t piece = queue_.front();
      queue_.pop_front();
      return piece;
    }
    changed_.wait_for(lock, look_again);
    if (!env_.cancelled()) continue;
    failure_ = ReadFailure{Kind::final, {base::ErrorKind::interrupted, "stopped", "", ""}};
  }
  return std::nullopt;
}

bool Transfer::missing(uint32_t piece) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return !ledger_->piece(piece).have;
}

// One connection's life.
void Transfer::work() {
  Hub::ReaderOptions options{[this] { return cancelled(); }, env_.came, trust_marks_};
  auto reader = hub_.reader(file_, options);
  if (!reader) return fail({Kind::final, reader.error()});
  std::string buffer;
  while (const auto piece = take()) {
    buffer.clear();
    if (!fetch(**reader, *piece, buffer)) break;
    if (!keep(*piece, buffer)) return;
  }
  bool mine = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    mine = streams_ && !stream_taken_ && !failure_ && !finished_;
    stream_taken_ = stream_taken_ || mine;
  }
  if (mine) stream(**reader);
}

// False: the transfer has failed, or goes on as a stream.
bool Transfer::fetch(Reader& reader, uint32_t piece, std::string& buffer) {
  const uint64_t offset = ledger_->piece_offset(piece), length = ledger_->piece_size(piece);
  int failures = 0;
  while (buffer.size() < length) {
    const size_t before = buffer.size();
    auto got = reader.read(offset + before, length - before, buffer);
    if (got) continue;
    if (got.error().kind == Kind::no_ranges) {
      const std::lock_guard<std::mutex> lock(mutex_);
      streams_ = true;
      queue_.clear();
      changed_.notify_all();
      return false;
    }
    if (!pause_after(got.error(), buffer.size() - before, failures)) return false;
  }
  return true;
}

// Decides whether to go on after a failure, and waits. `failures` counts those in a row.
bool Transfer::pause_after(const ReadFailure& failure, size_t came, int& failures) {
  if (failure.kind != Kind::again) {
    fail(failure);
    return false;
  }
  if (came >= progress_bytes_least) failures = 0;
  if (++failures > settings_.retries) {
    fail({Kind::final, failure.error});
    return false;
  }
  const int64_t pause_ms = std::min(first_pause_ms << std::min(failures - 1, 16), longest_pause_ms);
  env_.wait(std::max(came >= progress_bytes_least ? 0 : pause_ms, failure.wait_ms),
            [this] { return cancelled(); });
  if (!env_.cancelled()) return !stopped();
  fail({Kind::final, {base::ErrorKind::interrupted, "stopped", "", ""}});
  return false;
}

// Written, synced, then recorded. Pieces that finish while another sync is under way share the
// next one.
bool Transfer::keep(uint32_t piece, std::string_view bytes) {
  auto written = data_->write_at(ledger_->piece_offset(piece), bytes);
  if (!written) return fail({Kind::final, written.error()}), false;
  const crypto::Hash sum = piece_sum(bytes);
  std::unique_lock<std::mutex> lock(mutex_);
  fresh_.push_back({piece, sum});
  const uint64_t number = ++written_;
  while (recorded_ < number) {
    if (failure_) return false;
    if (syncing_) {
      changed_.wait(lock);
      continue;
    }
    syncing_ = true;
    const std::vector<Ledger::Mark> batch = std::move(fresh_);
    fresh_.clear();
    const uint64_t last = written_;
    lock.unlock();
    auto synced = data_->sync();
    lock.lock();
    syncing_ = false;
    if (synced) synced = ledger_->have(batch);
    if (synced) recorded_ = last;
    if (!synced && !failure_) failure_ = ReadFailure{Kind::final, synced.error()};
    changed_.notify_all();
  }
  lock.unlock();
  env_.have(bytes.size());
  return true;
}

// The source gives whole files only: read it from the start, keep what is missing, as often as it
// takes. A piece that turns out wrong on the disk makes another round.
void Transfer::stream(Reader& reader) {
  int failures = 0;
  while (!stopped()) {
    uint32_t piece = 0;
    std::string buffer;
    size_t kept = 0;
    auto got = reader.read_whole([&](std::string_view bytes) -> base::Result<bool> {
      while (!bytes.empty() && piece < ledger_->piece_count()) {
        const size_t room = ledger_->piece_size(piece) - buffer.size();
        buffer.append(bytes.substr(0, room));
        bytes.remove_prefix(std::min(room, bytes.size()));
        if (buffer.size() < ledger_->piece_size(piece)) break;
        if (missing(piece)) {
          if (!keep(piece, buffer)) return false;
          kept += buffer.size();
        }
        buffer.clear();
        ++piece;
      }
      return true;
    });
    if (got && piece < ledger_->piece_count()) {
      got = tl::unexpected(
          ReadFailure{Kind::again,
                      {base::ErrorKind::unavailable, file_.source + " came shorter than it is", "",
                       "the same command goes on from here"}});
    }
    if (!got && !pause_after(got.error(), kept, failures)) return;
    std::unique_lock<std::mutex> lock(mutex_);
    const auto all_here = [&] {
      for (uint32_t i = 0; i < ledger_->piece_count(); ++i) {
        if (!ledger_->piece(i).have) return false;
      }
      return true;
    };
    while (!failure_ && !finished_ && all_here()) changed_.wait_for(lock, look_again);
  }
}

// Reads a piece back. False: it is not what was recorded.
bool Transfer::prove(uint32_t piece, std::string& buffer, crypto::Digest& digest) {
  buffer.resize(ledger_->piece_size(piece));
  const auto got = data_->read_at(ledger_->piece_offset(piece), buffer.data(), buffer.size());
  crypto::Hash recorded;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    recorded = ledger_->piece(piece).sum;
  }
  if (!got || *got != buffer.size() || piece_sum(buffer) != recorded) return false;
  digest.update(buffer);
  env_.proven(buffer.size());
  return true;
}

// Follows the download: each piece in order, as soon as it is there.
void Transfer::verify(crypto::Digest& digest) {
  std::string buffer;
  int wrong = 0;
  for (uint32_t piece = 0; piece < ledger_->piece_count();) {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      while (!failure_ && !ledger_->piece(piece).have) changed_.wait_for(lock, look_again);
      if (failure_) return;
    }
    if (env_.cancelled()) {
      return fail({Kind::final, {base::ErrorKind::interrupted, "stopped", "", ""}});
    }
    if (prove(piece, buffer, digest)) {
      ++piece;
      wrong = 0;
      continue;
    }
    if (++wrong > settings_.checks_failed) {
      return fail({Kind::final,
                   {base::ErrorKind::io, path_ + " cannot be kept on this disk",
                    "what is written there is not what is read back",
                    "check the disk (smartctl, dmesg) or choose another place"}});
    }
    env_.lost(buffer.size());
    const std::lock_guard<std::mutex> lock(mutex_);
    ++pieces_again_;
    const auto noted = ledger_->lost(piece);
    if (!noted && !failure_) failure_ = ReadFailure{Kind::final, noted.error()};
    if (!streams_) queue_.push_front(piece);
    changed_.notify_all();
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  finished_ = true;
  changed_.notify_all();
}

tl::expected<TransferResult, TransferFailure> Transfer::conclude(crypto::Digest& digest) {
  const auto failed = [](base::Error error) {
    return tl::unexpected(TransferFailure{false, false, std::move(error)});
  };
  TransferResult result;
  const std::string found = digest.finish_hex();
  if (found.size() == 64) result.sha256 = found;
  result.vouched = !promised(file_).empty();
  result.pieces_again = pieces_again_;
  if (result.vouched && found != promised(file_)) {
    // Every piece is on the disk as it came, so the source sent another content than it promised,
    // and nobody can say where: none of it is worth keeping.
    (void)env_.disk.remove(progress_path(path_));
    (void)env_.disk.remove(partial_path(path_));
    return tl::unexpected(TransferFailure{
        false,
        true,
        {base::ErrorKind::invalid_input, file_.source + " is not what was promised",
         fmt::format("its checksum is {}, and not {}", found, promised(file_)),
         "what came was thrown away; the same command fetches it anew. If it happens again, the "
         "source is damaged: set another endpoint"}});
  }
  auto done = data_->sync();
  if (done) done = env_.disk.rename(partial_path(path_), path_);
  if (done) done = env_.disk.remove(progress_path(path_));
  if (!done) return failed(done.error());
  return result;
}

tl::expected<TransferResult, TransferFailure> Transfer::run() {
  if (auto opened = open(); !opened) {
    return tl::unexpected(TransferFailure{false, false, opened.error()});
  }
  const size_t wanted = std::min<size_t>(static_cast<size_t>(settings_.connections),
                                         std::max<size_t>(queue_.size(), 1));
  std::vector<std::thread> workers;
  try {
    for (size_t i = 0; i < wanted; ++i) workers.emplace_back([this] { work(); });
  } catch (const std::system_error& error) {  // fewer threads than wished for will do
    if (workers.empty()) {
      return tl::unexpected(
          TransferFailure{false,
                          false,
                          {base::ErrorKind::unavailable, "no thread can be started", error.what(),
                           "stop other programs, or raise the limit (ulimit -u)"}});
    }
  }
  crypto::Digest digest = digest_of(file_);
  verify(digest);
  for (std::thread& worker : workers) worker.join();
  if (failure_) {
    return tl::unexpected(TransferFailure{failure_->kind == Kind::changed, false, failure_->error});
  }
  return conclude(digest);
}

}  // namespace

std::string partial_path(const std::string& path) { return path + ".partial"; }
std::string progress_path(const std::string& path) { return path + ".partial.progress"; }

tl::expected<TransferResult, TransferFailure> transfer(Hub& hub, const PlannedFile& file,
                                                       const std::string& path, bool trust_marks,
                                                       const TransferSettings& settings,
                                                       const TransferEnvironment& environment) {
  return Transfer(hub, file, path, trust_marks, settings, environment).run();
}

base::Result<bool> matches_digest(Disk& disk, const std::string& path, const PlannedFile& file,
                                  const std::function<bool()>& cancelled,
                                  const std::function<void(size_t)>& proven) {
  ASSIGN(const auto opened, disk.open_to_read(path));
  crypto::Digest digest = digest_of(file);
  std::string buffer(read_back_bytes, '\0');
  for (uint64_t offset = 0; offset < file.size; offset += buffer.size()) {
    if (cancelled()) return base::fail(base::ErrorKind::interrupted, "stopped");
    ASSIGN(const size_t got, opened->read_at(offset, buffer.data(), buffer.size()));
    digest.update(std::string_view(buffer).substr(0, got));
    proven(got);
    if (got < buffer.size()) break;
  }
  return digest.finish_hex() == promised(file);
}

}  // namespace pull
