// The polynomial behind every exp of this module: e^x = 2^n * p(f) with n = round(x log2 e) and f
// the rest in [-ln 2 / 2, ln 2 / 2]. Constants shared by the scalar and the vector forms.
#pragma once

namespace tensor::exp_parts {

inline constexpr float lowest = -87.0f;  // e^x stays a normal number
inline constexpr float log2_e = 1.44269504088896341f;
// ln 2 in two pieces: n * high is exact for |n| < 2^12.
inline constexpr float ln2_high = 0.693359375f;
inline constexpr float ln2_low = -2.12194440e-4f;
// Adding and taking away 1.5 * 2^23 rounds to the nearest integer.
inline constexpr float round_magic = 12582912.0f;
// p(f) = 1 + f + f^2 (c2 + f (c3 + ...)), the Taylor terms up to f^7 (rest below 6e-9).
inline constexpr float c2 = 1.0f / 2, c3 = 1.0f / 6, c4 = 1.0f / 24, c5 = 1.0f / 120,
                       c6 = 1.0f / 720, c7 = 1.0f / 5040;

}  // namespace tensor::exp_parts
