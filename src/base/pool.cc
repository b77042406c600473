#include "base/pool.h"

#include <atomic>
#include <condition_variable>
#include <immintrin.h>
#include <mutex>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/clock.h"

namespace base {
namespace {

constexpr int own_share_threads_max = 4;  // by measurement with 2, 4, 8 and 16

}  // namespace

// One run is a generation. The caller writes the job, then publishes generation + 1; a worker that
// sees it takes chunks until none is left and counts itself out. The caller returns only when all
// workers have counted out, so a job is never touched after run() returns.
struct Pool::State {
  std::vector<std::thread> workers;
  int spin_us;
  SystemClock clock;

  std::atomic<uint64_t> generation{0};
  std::atomic<int> busy_workers{0};
  std::atomic<bool> stopping{false};
  std::atomic<int> parked{0};
  std::mutex park_mutex;
  std::condition_variable wake;

  // A few threads have a share each: they begin with it, the same one each time, where what they
  // worked on in the last job may still be in their cache, then help the others. Of many threads
  // each would read a place of its own in the weights, which the memory serves more slowly: they
  // have one share for all.
  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };
  std::vector<Share> shares;
  int64_t count = 0;
  int64_t grain = 1;
  FunctionRef<void(int64_t, int64_t, int)>* job = nullptr;

  void share_out() {
    const auto all = static_cast<int64_t>(shares.size()), chunks = (count + grain - 1) / grain;
    for (int64_t i = 0; i < all; ++i) {
      shares[i].next.store(chunks * i / all * grain, std::memory_order_relaxed);
      shares[i].end = std::min(count, chunks * (i + 1) / all * grain);
    }
  }

  void take_chunks(int thread) {
    for (size_t i = 0; i < shares.size(); ++i) {
      Share& share = shares[(thread + i) % shares.size()];
      for (;;) {
        const int64_t begin = share.next.fetch_add(grain, std::memory_order_relaxed);
        if (begin >= share.end) break;
        (*job)(begin, std::min(begin + grain, share.end), thread);
      }
    }
  }

  // Returns false when the pool is being destroyed.
  bool wait_for_generation(uint64_t seen) {
    const int64_t deadline_ns = clock.monotonic_ns() + int64_t{spin_us} * 1000;
    for (int spins = 0;; ++spins) {
      if (stopping.load(std::memory_order_acquire)) return false;
      if (generation.load(std::memory_order_acquire) != seen) return true;
      _mm_pause();
      if (spins % 64 == 63 && clock.monotonic_ns() > deadline_ns) break;
    }
    std::unique_lock lock(park_mutex);
    parked.fetch_add(1, std::memory_order_seq_cst);
    wake.wait(lock, [&] {
      return stopping.load(std::memory_order_seq_cst) ||
             generation.load(std::memory_order_seq_cst) != seen;
    });
    parked.fetch_sub(1, std::memory_order_seq_cst);
    return !stopping.load(std::memory_order_acquire);
  }

  void work(int thread) {
    uint64_t seen = 0;
    while (wait_for_generation(seen)) {
      ++seen;
      take_chunks(thread);
      busy_workers.fetch_sub(1, std::memory_order_release);
    }
  }
};

Pool::Pool(int threads, int spin_us) : state_(std::make_unique<State>()) {
  CHECK(threads >= 1 && threads <= 256, "the caller chooses a sane number of threads");
  state_->spin_us = spin_us;
  state_->shares = std::vector<State::Share>(threads <= own_share_threads_max ? threads : 1);
  for (int i = 1; i < threads; ++i) {
    state_->workers.emplace_back([state = state_.get(), i] { state->work(i); });
  }
}

Pool::~Pool() {
  {
    std::lock_guard lock(state_->park_mutex);
    state_->stopping.store(true, std::memory_order_seq_cst);
  }
  state_->wake.notify_all();
  for (auto& worker : state_->workers) worker.join();
}

int Pool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void Pool::run(int64_t count, int64_t grain, FunctionRef<void(int64_t, int64_t, int)> fn) {
  CHECK(grain > 0, "a chunk has at least one row");
  if (count <= 0) return;
  State& state = *state_;
  if (state.workers.empty() || count <= grain) {
    for (int64_t begin = 0; begin < count; begin += grain) {
      fn(begin, std::min(begin + grain, count), 0);
    }
    return;
  }
  state.job = &fn;
  state.count = count;
  state.grain = grain;
  state.share_out();
  state.busy_workers.store(static_cast<int>(state.workers.size()), std::memory_order_relaxed);
  state.generation.fetch_add(1, std::memory_order_seq_cst);
  if (state.parked.load(std::memory_order_seq_cst) > 0) {
    // The lock orders this wake after a worker that is just about to wait.
    { std::lock_guard lock(state.park_mutex); }
    state.wake.notify_all();
  }
  state.take_chunks(0);
  while (state.busy_workers.load(std::memory_order_acquire) != 0) _mm_pause();
}

}  // namespace base
