// Products of float32 as sums of three products of bfloat16, by oneDNN's kernels for tiles.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/native/CPUBlas.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <algorithm>
#include <optional>

namespace {

namespace blas = at::native::cpublas;
using at::BFloat16;

// Of what is multiplied at once, so that it stays in a core's cache.
constexpr int64_t ROWS = 128;
constexpr int64_t DEPTH = 512;
constexpr int64_t LINE = 32;  // bfloat16 in a line of the cache: rows across two are slow to load

void split(const float* x, int64_t size, BFloat16* high, BFloat16* low) {
  for (int64_t i = 0; i < size; ++i) {
    high[i] = x[i];
    low[i] = x[i] - static_cast<float>(high[i]);
  }
}

// Tiles are set up for a thread until it says that it needs them no more.
struct Tiles {
  ~Tiles() {
    blas::brgemm_release();
  }
};

void fill(const float* bias, int64_t size, float* row) {
  if (bias) {
    std::copy_n(bias, size, row);
  } else {
    std::fill_n(row, size, 0.0f);
  }
}

// out = x w + bias, all contiguous. x: (R, K); high, low: the halves of w, filled up to whole blocks
// of columns, (blocks, K / 2, columns, 2); bias: (N,) or none; out: (..., N), of R rows.
void multiply_split(
    const at::Tensor& x,
    const at::Tensor& high,
    const at::Tensor& low,
    const std::optional<at::Tensor>& bias,
    at::Tensor& out) {
  const int64_t num_rows = x.size(0), depth = x.size(1), width = out.size(-1);
  const int64_t num_blocks = high.size(0), columns = high.size(2);
  TORCH_CHECK(
      depth == 2 * high.size(1) && width <= num_blocks * columns && high.sizes() == low.sizes(),
      "multiply_split: x ", x.sizes(), " and out ", out.sizes(), " do not fit ", high.sizes());
  const float* x_data = x.const_data_ptr<float>();
  const float* bias_data = bias ? bias->const_data_ptr<float>() : nullptr;
  const BFloat16* w_high = high.const_data_ptr<BFloat16>();
  const BFloat16* w_low = low.const_data_ptr<BFloat16>();
  float* out_data = out.mutable_data_ptr<float>();

  const int64_t size = (std::min(ROWS, num_rows) * depth + LINE - 1) / LINE * LINE;
  const at::Tensor halves = at::empty({at::get_num_threads(), 2, size}, high.options());
  BFloat16* halves_data = halves.mutable_data_ptr<BFloat16>();

  const int64_t num_tiles = (num_rows + ROWS - 1) / ROWS * num_blocks;
  at::parallel_for(0, num_tiles, 1, [&](int64_t begin, int64_t end) {
    const Tiles tiles;
    BFloat16* x_high = halves_data + at::get_thread_num() * 2 * size;
    BFloat16* x_low = x_high + size;
    int64_t held = -1;  // the first row of what the halves are of
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t row = tile / num_blocks * ROWS, column = tile % num_blocks * columns;
      const int64_t m = std::min(ROWS, num_rows - row), n = std::min(columns, width - column);
      if (row != held) {
        split(x_data + row * depth, m * depth, x_high, x_low);
        held = row;
      }
      float* sum = out_data + row * width + column;
      for (int64_t i = 0; i < m; ++i) {
        fill(bias_data ? bias_data + column : nullptr, n, sum + i * width);
      }
      for (int64_t k = 0; k < depth; k += DEPTH) {
        const int64_t d = std::min(DEPTH, depth - k);
        const int64_t start = column * depth + k * columns;  // of this part of the block
        const auto add = [&](const BFloat16* a, const BFloat16* b) {
          blas::brgemm(m, n, d, depth, columns, width, true, a + k, b + start, sum);
        };
        add(x_high, w_low);
        add(x_high, w_high);
        add(x_low, w_high);
      }
    }
  });
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(slimdit, library) {
  library.def(
      "multiply_split(Tensor x, Tensor high, Tensor low, Tensor? bias, Tensor(a!) out) -> ()");
  library.impl("multiply_split", c10::DispatchKey::CPU, TORCH_FN(multiply_split));
}
