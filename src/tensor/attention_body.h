// The vector form of the inner loops, written once for any register width. The including file has
// defined, in its own unnamed namespace and for its own target:
//   KERNEL, INLINE       attributes of a kernel and of a function inlined into kernels
//   Vf, vector_width     a register of floats
//   wide_few, wide_many  registers of columns per row in a step of at most three, of four to six
//                        rows
//   load(const float* | const Half* | const Brain*), store, zero, broadcast(const float*),
//   splat, fma, mul, add, sub, max, exp (x <= 0), keep_first(v, n) (lanes from n on become
//   -infinity), zero_from(v, n), sum_lanes, max_lanes, narrow_half, narrow_brain
// No include guard: each including file makes its own copy in its own unnamed namespace.

// Which numbers the left side of a product is: queries, q[group][dim][6], or softmax weights,
// (rows, 64).
struct Queries {
  static constexpr int step = group_rows, row = 1;
};
struct Weights {
  static constexpr int step = 1, row = block_keys;
};

// out[r][c] (+)= sum over i < depth of left[i][r] * right[i][c], for rows x (vectors * width)
// columns. Each lane is one chain of FMAs in the order of i, whatever the tile it stands in.
template <class Left, class T, int rows, int vectors>
KERNEL void product_tile(const float* left, const T* right, int64_t panel_stride, int depth,
                         float* out, int out_stride, bool accumulate) {
  Vf sum[rows][vectors];
  const T* column[vectors];
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) {
    column[v] =
        right + v * vector_width / panel_width * panel_stride + v * vector_width % panel_width;
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      sum[r][v] = accumulate ? load(out + r * out_stride + v * vector_width) : zero();
    }
  }
  for (int i = 0; i < depth; ++i) {
    Vf numbers[vectors];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) numbers[v] = load(column[v] + i * panel_width);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const Vf factor = broadcast(left + i * Left::step + r * Left::row);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) sum[r][v] = fma(factor, numbers[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      store(out + r * out_stride + v * vector_width, sum[r][v]);
    }
  }
}

struct Product {  // what product_tile() needs, for a range of panels
  const float* left;
  int64_t panel_stride;
  int panels;
  int depth;
  float* out;
  int out_stride;
  bool accumulate;
};

template <class Left, class T, int rows>
KERNEL void product_rows(const Product& x, const T* right) {
  constexpr int wide = rows <= 3 ? wide_few : wide_many;
  constexpr int wide_panels = wide * vector_width / panel_width;
  constexpr int narrow = panel_width / vector_width;
  int p = 0;
  for (; p + wide_panels <= x.panels; p += wide_panels) {
    product_tile<Left, T, rows, wide>(x.left, right + p * x.panel_stride, x.panel_stride, x.depth,
                                      x.out + p * panel_width, x.out_stride, x.accumulate);
  }
  for (; p < x.panels; ++p) {
    product_tile<Left, T, rows, narrow>(x.left, right + p * x.panel_stride, x.panel_stride, x.depth,
                                        x.out + p * panel_width, x.out_stride, x.accumulate);
  }
}

template <class Left, class T>
KERNEL void product_group(int rows, const Product& x, const T* right) {
  switch (rows) {
    case 1:
      return product_rows<Left, T, 1>(x, right);
    case 2:
      return product_rows<Left, T, 2>(x, right);
    case 3:
      return product_rows<Left, T, 3>(x, right);
    case 4:
      return product_rows<Left, T, 4>(x, right);
    case 5:
      return product_rows<Left, T, 5>(x, right);
    default:
      return product_rows<Left, T, 6>(x, right);
  }
}

// A whole tile. With more than one group of rows each step's panels are widened to f32 once.
template <class Left, class T>
KERNEL void product(int rows, int64_t left_group, const Product& x, const T* right,
                    float* widened) {
  if (rows <= group_rows) return product_group<Left, T>(rows, x, right);
  constexpr int step = wide_many * vector_width / panel_width;
  const int numbers = x.depth * panel_width;
  for (int p = 0; p < x.panels; p += step) {
    Product part = x;
    part.panels = x.panels - p < step ? x.panels - p : step;
    part.panel_stride = numbers;
    for (int i = 0; i < part.panels; ++i) {
      const T* panel = right + (p + i) * x.panel_stride;
      for (int j = 0; j < numbers; j += vector_width) {
        store(widened + i * numbers + j, load(panel + j));
      }
    }
    for (int first = 0; first < rows; first += group_rows) {
      part.left = x.left + first / group_rows * left_group;
      part.out = x.out + int64_t{first} * x.out_stride + p * panel_width;
      product_group<Left, float>(rows - first < group_rows ? rows - first : group_rows, part,
                                 widened);
    }
  }
}

template <class Left>
KERNEL void product_of(Dtype dtype, const uint8_t* block, int rows, int64_t left_group,
                       const Product& x, float* widened) {
  switch (dtype) {
    case Dtype::f32:
      return product<Left>(rows, left_group, x, reinterpret_cast<const float*>(block), widened);
    case Dtype::f16:
      return product<Left>(rows, left_group, x, reinterpret_cast<const Half*>(block), widened);
    default:
      return product<Left>(rows, left_group, x, reinterpret_cast<const Brain*>(block), widened);
  }
}

KERNEL void scores(Dtype dtype, const uint8_t* k_block, const float* q, int rows, int head_dim,
                   int keys, float* panel, float* scores) {
  const Product x{q,
                  int64_t{head_dim} * panel_width,
                  (keys + panel_width - 1) / panel_width,
                  head_dim,
                  scores,
                  block_keys,
                  false};
  product_of<Queries>(dtype, k_block, rows, int64_t{head_dim} * group_rows, x, panel);
}

KERNEL void values(Dtype dtype, const uint8_t* v_block, const float* weights, int rows,
                   int dim_padded, int keys, float* panel, float* o) {
  const Product x{weights, block_keys * panel_width, dim_padded / panel_width, keys, o, dim_padded,
                  true};
  product_of<Weights>(dtype, v_block, rows, group_rows * block_keys, x, panel);
}

KERNEL void softmax(float* scores, const int* visible, int rows, float* maximum, float* sum,
                    float* o, int dim_padded) {
  constexpr int vectors = block_keys / vector_width;
  for (int r = 0; r < rows; ++r) {
    float* row = scores + r * block_keys;
    if (visible[r] == 0) {
      for (int i = 0; i < vectors; ++i) store(row + i * vector_width, zero());
      continue;
    }
    Vf s[vectors];
    Vf tops = splat(maximum[r]);
#pragma GCC unroll 8
    for (int i = 0; i < vectors; ++i) {
      s[i] = keep_first(load(row + i * vector_width), visible[r] - i * vector_width);
      tops = max(tops, s[i]);
    }
    const float top = max_lanes(tops);
    const float shrink = exp_nonpositive(maximum[r] - top);
    Vf totals = zero();
#pragma GCC unroll 8
    for (int i = 0; i < vectors; ++i) {
      s[i] = zero_from(exp(sub(s[i], splat(top))), visible[r] - i * vector_width);
      totals = add(totals, s[i]);
      store(row + i * vector_width, s[i]);
    }
    sum[r] = sum[r] * shrink + sum_lanes(totals);
    maximum[r] = top;
    if (shrink == 1.0f) continue;
    float* out = o + int64_t{r} * dim_padded;
    for (int d = 0; d < dim_padded; d += vector_width) {
      store(out + d, mul(load(out + d), splat(shrink)));
    }
  }
}

KERNEL void narrow(Dtype dtype, const float* from, uint16_t* to, int n) {
  int i = 0;
  if (dtype == Dtype::f16) {
    for (; i + vector_width <= n; i += vector_width) narrow_half(load(from + i), to + i);
    for (; i < n; ++i) {
      const float largest = 65504.0f;
      const float x = from[i] > largest ? largest : from[i] < -largest ? -largest : from[i];
      to[i] = f32_to_f16(x);
    }
  } else {
    for (; i < n; ++i) to[i] = f32_to_bf16(from[i]);
  }
}
