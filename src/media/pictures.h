// Pictures from strangers: PNG, JPEG and WebP, told apart by their content. They are decoded in a
// child that holds nothing, can open nothing and ends with its picture:
//
//   PictureReader --(bytes in sealed memory, over a socket)--> keeper --fork--> child: decode, fit
//
// The keeper is forked once, before its parent has read anything foreign; it forks a sealed child
// for every picture. What dies costs the one picture an error, and the next is read again.
//
// Threads: PictureReader may be called from any; one picture at a time is read, others wait.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace media {

inline constexpr uint64_t picture_bytes_max = 20ull << 20;
inline constexpr int side_max = 16'384;    // pixels
inline constexpr int read_ms_max = 1'000;  // of the child's CPU time, and about that on the clock
inline constexpr uint64_t child_memory_max = 64ull << 20;  // above calm and the file's bytes

// How a picture is put on a square canvas (models.md §3.6): its longer side becomes `side` pixels,
// bicubic with antialias as Pillow does it, centred on a grey of level `background`.
struct Fit {
  int side = 384;
  int min_side = 14;
  int background = 127;
};

struct Rgba {
  int width = 0, height = 0;    // as shown: after EXIF's orientation
  std::vector<uint8_t> values;  // (height, width, 4), not premultiplied
};

// In this process: for the child, tests and fuzzers. invalid_input, with what is accepted, for
// anything that is not a whole picture; limit_exceeded with the numbers.
base::Result<Rgba> decode(std::span<const uint8_t> bytes);
// (side, side, 3) RGB; alpha is dropped, not blended, as the model's own preprocessing does.
base::Result<std::vector<uint8_t>> decode_and_fit(std::span<const uint8_t> bytes, const Fit& fit);

class PictureReader {
 public:
  virtual ~PictureReader() = default;
  // decode_and_fit() in a child. unavailable: the child was killed; may be tried again.
  virtual base::Result<std::vector<uint8_t>> fit(std::span<const uint8_t> bytes,
                                                 const Fit& fit) = 0;
};
// Forks a keeper now: call it while the process has one thread and has read nothing foreign.
base::Result<std::unique_ptr<PictureReader>> start_picture_reader();
// To a keeper that somebody else keeps alive, at the other end of `socket` (AF_UNIX, SEQPACKET;
// owned). The supervisor holds keeper_main's end too, so that a keeper which dies is followed by
// another on the same socket.
std::unique_ptr<PictureReader> picture_reader(int socket);
// The keeper's life: seals itself, serves until the other end is gone. Returns the exit code.
int keeper_main(int socket);

}  // namespace media
