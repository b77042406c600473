#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "tensor/linear.h"

namespace tensor {
namespace {

// clang 14's __builtin_cpu_supports does not know this one: CPUID leaf 1, ECX bit 29.
bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

bool has_avx512_vnni() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}

// Leaf 7, EDX: AMX-TILE, AMX-INT8 and AMX-BF16; its subleaf 1, EAX: AVX512-BF16. The kernel keeps
// tiles of a process only once it was asked to (Documentation/arch/x86/xstate.rst); one that does
// not know them refuses.
bool has_amx() {
  constexpr unsigned tile = 1u << 24, int8 = 1u << 25, tile_bf16 = 1u << 22, bf16 = 1u << 5;
  constexpr unsigned tiles = tile | int8 | tile_bf16;
  constexpr int ask_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XTILEDATA
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return has_avx512_vnni() && __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 &&
         (edx & tiles) == tiles && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 &&
         (eax & bf16) != 0 && syscall(SYS_arch_prctl, ask_permission, tile_data) == 0;
}

base::Result<Isa> refused(std::string_view name) {
  return base::fail(base::ErrorKind::unsupported,
                    fmt::format("the instruction set {} cannot be used", name),
                    "this processor does not have these instructions",
                    "take --isa away and leave NAUTILE_ISA unset: the best that works is chosen");
}

}  // namespace

base::Result<Isa> choose_isa(std::string_view forced) {
  if (forced == "scalar") return Isa::scalar;
  if (forced == "avx2") {
    if (has_avx2()) return Isa::avx2;
    return refused(forced);
  }
  if (forced == "avx512") {
    if (has_avx512_vnni()) return Isa::avx512_vnni;
    return refused(forced);
  }
  if (forced == "amx") {
    if (has_amx()) return Isa::amx;
    return refused(forced);
  }
  if (!forced.empty()) {
    return base::fail(base::ErrorKind::wrong_usage,
                      fmt::format("NAUTILE_ISA={} is not known", base::shown_name(forced)), "",
                      "use scalar, avx2, avx512 or amx, or leave it unset");
  }
  if (has_amx()) return Isa::amx;
  if (has_avx512_vnni()) return Isa::avx512_vnni;
  if (has_avx2()) return Isa::avx2;
  return Isa::scalar;
}

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return "scalar";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512_vnni:
      return "avx512";
    case Isa::amx:
      return "amx";
  }
  CHECK(false, "every Isa has a name");
  __builtin_unreachable();
}

}  // namespace tensor
