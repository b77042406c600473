// A picture that is still being drawn, as a PNG of a few kilobytes: what the rows so far look like,
// one flat square a code. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

namespace api {

inline constexpr int sketch_grid_max = 256;
inline constexpr int sketch_side_max = 4'096;

// `colours`: (grid, grid, 3) RGB; `side`: pixels each way. Both are cut to the limits above;
// colours that are missing are grey. Empty if there is no memory for it.
std::string sketch_png(int grid, std::string_view colours, int side);

}  // namespace api
