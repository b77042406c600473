// Pool: the threads that do the arithmetic. One caller at a time gives it a range; it is cut into
// chunks that the threads take in turn (few threads begin with a share of their own), so a thread
// whose core was stolen delays only its own chunk. Between ranges the workers spin for `spin_us` (a
// join costs 0.2 µs then, 50 µs through the kernel), after that they park: an idle server uses no
// CPU.
//
// Which thread computes a chunk is not determined; nothing in a result may depend on it. Only rows
// (outputs) are split, never the dimension that is summed.
#pragma once

#include <cstdint>
#include <memory>

namespace base {

// A borrowed callable: no allocation, valid for the call it is passed to.
template <class Signature>
class FunctionRef;
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
  FunctionRef(F&& f)  // NOLINT: implicit by design
      : object_(const_cast<void*>(static_cast<const void*>(&f))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(args...);
        }) {}
  R operator()(Args... args) const { return call_(object_, args...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

class Pool {
 public:
  // `threads` counts the caller: Pool(1) starts none. 1..256.
  explicit Pool(int threads, int spin_us = 100);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const;
  // Calls fn(begin, end, thread) for chunks that cover [0, count) exactly once; `thread` is in
  // [0, threads()) and no two calls at the same time have the same one. Chunks start at multiples
  // of `grain` (> 0). Returns when all are done. Not reentrant.
  void run(int64_t count, int64_t grain, FunctionRef<void(int64_t, int64_t, int)> fn);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace base
