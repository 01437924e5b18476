// Copyright 2026 the vss_ros authors
// SPDX-License-Identifier: Apache-2.0
//
// One tile of local attention, written once and compiled for several vector widths: local_attention.cpp includes this
// file repeatedly with VSS_NAMESPACE, VSS_LANES and VSS_REGISTERS set. No include guard, and nothing of std:: in here:
// an inline function of the library compiled for AVX-512 could be the copy the linker keeps for everyone.
//
// Per (slot, memory row) the keys are transposed into scratch; then for each group of the tile that sees it:
//   logits  4 queries x 2 to 4 vectors of columns in registers; few queries at once, for every further one adds a
//           column that the others do not see
//   weights exp2(logit - peak); a peak is raised only when a logit exceeds it by kSlack, which is rare (the sums are
//           exact either way, for softmax does not care which reference is subtracted)
//   sums    3 or 4 queries x 4 vectors of channels in registers, over the columns of their windows and no others

namespace VSS_NAMESPACE {

constexpr int L = VSS_LANES;
typedef float Vec __attribute__((vector_size(L * 4)));
typedef unsigned Bits __attribute__((vector_size(L * 4)));  // unsigned: lanes that are thrown away may wrap
typedef float Vec4 __attribute__((vector_size(16)));

// Register tiles: queries x vectors of columns for logits, queries x vectors of channels for sums.
constexpr int kLogitQueries = 4, kLogitVectors = VSS_REGISTERS >= 32 ? 4 : 3;
constexpr int kSumQueries = VSS_REGISTERS >= 32 ? 4 : 3, kSumVectors = 4;
constexpr int kLogitTiles = kQueries / kLogitQueries;

constexpr float kLog2E = 1.44269504088896341f;
constexpr float kNever = -1e30f;  // the peak of a query that has seen nothing; finite, for -inf - -inf is no number
constexpr float kSlack = 16.0f;   // how far, in powers of two, a logit may exceed the peak before the peak is raised

#define VSS_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define VSS_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define VSS_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (Int4){__VA_ARGS__})
typedef int Int4 __attribute__((vector_size(16)));
#endif

// memcpy, because numpy memory may start at any byte.
VSS_INLINE Vec load(const void* at) {
  Vec v;
  __builtin_memcpy(&v, at, sizeof v);
  return v;
}
VSS_INLINE void store(void* at, Vec v) { __builtin_memcpy(at, &v, sizeof v); }
VSS_INLINE Vec all(float x) { return x - Vec{}; }  // `Vec{} + x` would cost an addition: -0 + 0 is not -0
VSS_INLINE Vec larger(Vec a, Vec b) { return a > b ? a : b; }
VSS_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
VSS_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

VSS_INLINE float largest_lane(Vec v) {
  float lanes[L];
  store(lanes, v);
  float best = lanes[0];
  for (int k = 1; k < L; ++k) best = lanes[k] > best ? lanes[k] : best;
  return best;
}

// 2^x for x <= 127, relative error 2e-7; exactly 0 below 2^-126, for denormals are slow; NaN stays NaN.
VSS_INLINE Vec exp2_of(Vec x) {
  const float to_integer = 12582912.0f;  // 1.5 * 2^23: the sum's low bits are x rounded
  Vec shifted = x + to_integer;
  Vec f = x - (shifted - to_integer);
  Vec p = all(0x1.5c08e6p-10f);  // minimax on [-1/2, 1/2]
  p = p * f + 0x1.3d0c54p-7f;
  p = p * f + 0x1.c6b6e4p-5f;
  p = p * f + 0x1.ebf918p-3f;
  p = p * f + 0x1.62e428p-1f;
  p = p * f + 0x1.000002p+0f;
  Bits exponent, bits;
  __builtin_memcpy(&exponent, &shifted, sizeof exponent);
  __builtin_memcpy(&bits, &p, sizeof bits);
  bits += exponent << 23;
  __builtin_memcpy(&p, &bits, sizeof p);
  return x < -126.0f ? Vec{} : p;
}

// One group in one chunk of a memory row: which columns each query sees, counted from the chunk's first one.
struct Band {
  int64_t queries;                                   // of the group
  int64_t from[kQueries], to[kQueries];              // columns seen by each query
  int64_t first[kLogitTiles], vectors[kLogitTiles];  // columns computed for each register tile of logits
};

static Band band_of(const Group& group, int64_t y, int64_t begin, int64_t width, int64_t reach, float* caps) {
  Band band;
  band.queries = group.queries;
  for (int64_t i = 0; i < kQueries; ++i) {
    band.from[i] = band.to[i] = 0;
    if (i >= group.queries) continue;
    const Lane& lane = group.lanes[i];
    const int64_t from = most(0, lane.x - reach - begin), to = least(width, lane.x + reach + 1 - begin);
    if (from >= to || y < lane.y - reach || y > lane.y + reach) continue;
    band.from[i] = from;
    band.to[i] = to;
  }
  for (int64_t n = 0; n < kLogitTiles; ++n) {
    int64_t from = kPitch, to = 0;
    for (int64_t i = n * kLogitQueries; i < (n + 1) * kLogitQueries; ++i) {
      if (band.from[i] == band.to[i]) continue;
      from = least(from, band.from[i]);
      to = most(to, band.to[i]);
    }
    band.first[n] = from < to ? from : 0;
    band.vectors[n] = from < to ? (to - from + L - 1) / L : 0;
    const int64_t end = band.first[n] + band.vectors[n] * L;
    for (int64_t i = n * kLogitQueries; i < (n + 1) * kLogitQueries; ++i)
      for (int64_t c = band.first[n]; c < end; ++c)
        caps[i * kPitch + c] = c >= band.from[i] && c < band.to[i] ? __builtin_inff() : -__builtin_inff();
  }
  return band;
}

// Logits of a register tile of queries and B vectors of columns, in powers of two; returns the largest excess over
// the peaks.
template <int B>
VSS_INLINE Vec logits_tile(const float* queries, const float* keys, int64_t dk, float scale, const float* caps,
                           const float* peaks, float* logits, Vec excess) {
  constexpr int Q = kLogitQueries;
  Vec sum[Q][B];
  for (int i = 0; i < Q; ++i)
    for (int b = 0; b < B; ++b) sum[i][b] = Vec{};
  for (int64_t d = 0; d < dk; ++d) {
    Vec key[B];
#pragma GCC unroll 16
    for (int b = 0; b < B; ++b) key[b] = load(keys + d * kPitch + b * L);
#pragma GCC unroll 16
    for (int i = 0; i < Q; ++i) {
      const Vec query = all(queries[d * kQueries + i]);
#pragma GCC unroll 16
      for (int b = 0; b < B; ++b) sum[i][b] += query * key[b];
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < Q; ++i) {
    const Vec limit = all(peaks[i] + kSlack);
#pragma GCC unroll 16
    for (int b = 0; b < B; ++b) {
      // The order of the operands makes a cap of -inf win over NaN: what is not in the window has no say.
      const Vec cap = load(caps + i * kPitch + b * L), logit = sum[i][b] * scale;
      const Vec capped = logit < cap ? logit : cap;
      store(logits + i * kPitch + b * L, capped);
      excess = larger(capped - limit, excess);
    }
  }
  return excess;
}

template <int B>
VSS_INLINE Vec logits_row(const float* queries, const float* keys, int64_t dk, float scale, const float* caps,
                          const float* peaks, float* logits, int64_t vectors, Vec excess) {
  for (; vectors >= B; vectors -= B, keys += B * L, caps += B * L, logits += B * L)
    excess = logits_tile<B>(queries, keys, dk, scale, caps, peaks, logits, excess);
  if constexpr (B > 1)
    if (vectors > 0) excess = logits_row<B - 1>(queries, keys, dk, scale, caps, peaks, logits, vectors, excess);
  return excess;
}

// Raise the peaks of a group to its largest logits and shrink what was summed under the old ones.
static void raise_peaks(const Band& band, const float* logits, float* peaks, float* totals, float* sums, int64_t dv) {
  for (int64_t i = 0; i < band.queries; ++i) {
    const int64_t n = i / kLogitQueries;
    Vec best = all(peaks[i]);
    const float* row = logits + i * kPitch + band.first[n];
    for (int64_t k = 0; k < band.vectors[n]; ++k) best = larger(load(row + k * L), best);
    const float peak = largest_lane(best);
    if (!(peak > peaks[i])) continue;
    const Vec factor = exp2_of(all(peaks[i] - peak));
    store(totals + i * L, load(totals + i * L) * factor);
    for (int64_t c = 0; c < dv; c += L) store(sums + i * dv + c, load(sums + i * dv + c) * factor);
    peaks[i] = peak;
  }
}

VSS_INLINE void logits_to_weights(const Band& band, const float* peaks, float* logits, float* totals) {
  for (int64_t i = 0; i < band.queries; ++i) {
    const int64_t n = i / kLogitQueries;
    const Vec peak = all(peaks[i]);
    Vec total = load(totals + i * L);
    for (int64_t k = 0; k < band.vectors[n]; ++k) {
      float* at = logits + i * kPitch + band.first[n] + k * L;
      const Vec weight = exp2_of(load(at) - peak);
      store(at, weight);
      total += weight;
    }
    store(totals + i * L, total);
  }
}

// sums += weights * values for Q queries and V vectors of channels. In the columns where not all Q windows overlap a
// query that does not see the column is skipped, not multiplied by 0: there may be NaN, and it would cost as much.
template <int Q, int V>
VSS_INLINE void sums_tile(const Band& band, int64_t i0, const float* weights, const char* values, int64_t stride,
                          float* sums, int64_t dv) {
  Vec sum[Q][V];
  int64_t from = band.from[i0], common_from = from, common_to = band.to[i0], to = common_to;
#pragma GCC unroll 16
  for (int i = 0; i < Q; ++i) {
    from = least(from, band.from[i0 + i]);
    common_from = most(common_from, band.from[i0 + i]);
    common_to = least(common_to, band.to[i0 + i]);
    to = most(to, band.to[i0 + i]);
#pragma GCC unroll 16
    for (int c = 0; c < V; ++c) sum[i][c] = load(sums + i * dv + c * L);
  }
  common_to = most(common_from, common_to);
  auto add = [&](int64_t j, bool all_see) __attribute__((always_inline)) {
    const char* value = values + j * stride;
#pragma GCC unroll 16
    for (int i = 0; i < Q; ++i) {
      if (!all_see && !(j >= band.from[i0 + i] && j < band.to[i0 + i])) continue;
      const Vec weight = all(weights[i * kPitch + j]);
#pragma GCC unroll 16
      for (int c = 0; c < V; ++c) sum[i][c] += weight * load(value + c * L * 4);
    }
  };
  int64_t j = from;
  for (; j < least(common_from, to); ++j) add(j, false);
  for (; j < common_to; ++j) add(j, true);
  for (; j < to; ++j) add(j, false);
#pragma GCC unroll 16
  for (int i = 0; i < Q; ++i)
#pragma GCC unroll 16
    for (int c = 0; c < V; ++c) store(sums + i * dv + c * L, sum[i][c]);
}

template <int V>
VSS_INLINE void sums_row(const Band& band, const float* weights, const char* values, int64_t stride, float* sums,
                         int64_t dv) {
  int64_t i = 0;
  for (; i + kSumQueries <= band.queries; i += kSumQueries)
    sums_tile<kSumQueries, V>(band, i, weights + i * kPitch, values, stride, sums + i * dv, dv);
  for (; i < band.queries; ++i) sums_tile<1, V>(band, i, weights + i * kPitch, values, stride, sums + i * dv, dv);
}

// (columns, dk) keys of one memory row to (dk, columns), 4 x 4 at a time.
VSS_INLINE void transpose_keys(const char* keys, int64_t stride, int64_t columns, int64_t dk, float* transposed) {
  int64_t c = 0;
  for (; c + 4 <= columns; c += 4) {
    const char* at = keys + c * stride;
    float* to = transposed + c;
    int64_t d = 0;
    for (; d + 4 <= dk; d += 4) {
      Vec4 k0, k1, k2, k3;
      __builtin_memcpy(&k0, at + d * 4, 16);
      __builtin_memcpy(&k1, at + d * 4 + stride, 16);
      __builtin_memcpy(&k2, at + d * 4 + 2 * stride, 16);
      __builtin_memcpy(&k3, at + d * 4 + 3 * stride, 16);
      const Vec4 a = VSS_SHUFFLE(k0, k1, 0, 4, 1, 5), b = VSS_SHUFFLE(k2, k3, 0, 4, 1, 5);
      const Vec4 e = VSS_SHUFFLE(k0, k1, 2, 6, 3, 7), g = VSS_SHUFFLE(k2, k3, 2, 6, 3, 7);
      const Vec4 rows[4] = {VSS_SHUFFLE(a, b, 0, 1, 4, 5), VSS_SHUFFLE(a, b, 2, 3, 6, 7),
                            VSS_SHUFFLE(e, g, 0, 1, 4, 5), VSS_SHUFFLE(e, g, 2, 3, 6, 7)};
      for (int k = 0; k < 4; ++k) __builtin_memcpy(to + (d + k) * kPitch, &rows[k], 16);
    }
    for (; d < dk; ++d)
      for (int k = 0; k < 4; ++k) __builtin_memcpy(to + d * kPitch + k, at + k * stride + d * 4, 4);
  }
  for (; c < columns; ++c)
    for (int64_t d = 0; d < dk; ++d) __builtin_memcpy(transposed + d * kPitch + c, keys + c * stride + d * 4, 4);
}

static void read_queries(const VssRead& read, const Tile& tile, float* queries) {
  for (int64_t g = 0; g < tile.count; ++g, queries += kQueries * read.dk)
    for (int64_t i = 0; i < kQueries; ++i) {
      if (i >= tile.groups[g].queries) {
        for (int64_t d = 0; d < read.dk; ++d) queries[d * kQueries + i] = 0.0f;
        continue;
      }
      const Lane& lane = tile.groups[g].lanes[i];
      const char* from = read.query + lane.row * read.query_strides[0] + lane.column * read.query_strides[1] +
                         tile.head * read.query_strides[2];
      for (int64_t d = 0; d < read.dk; ++d) __builtin_memcpy(queries + d * kQueries + i, from + d * 4, 4);
    }
}

// Group number `g` of the tile against one chunk of one memory row.
VSS_INLINE void meet(const VssRead& read, const Scratch& at, const Band& band, int64_t g, const char* values,
                     float* scratch) {
  const int64_t dk = read.dk, dv = at.padded_dv, stride = read.values_strides[2];
  const float* queries = scratch + at.queries + g * kQueries * dk;
  const float *keys = scratch + at.keys, *caps = scratch + at.caps;
  float *weights = scratch + at.weights, *peaks = scratch + at.peaks + g * kQueries;
  float *totals = scratch + at.totals + g * kQueries * L, *sums = scratch + at.sums + g * kQueries * dv;
  const float scale = read.scale * kLog2E;

  Vec excess = all(-1.0f);
  for (int64_t n = 0; n < kLogitTiles; ++n) {
    const int64_t i = n * kLogitQueries, from = i * kPitch + band.first[n];
    excess = logits_row<kLogitVectors>(queries + i, keys + band.first[n], dk, scale, caps + from, peaks + i,
                                       weights + from, band.vectors[n], excess);
  }
  if (largest_lane(excess) > 0.0f) raise_peaks(band, weights, peaks, totals, sums, dv);
  logits_to_weights(band, peaks, weights, totals);

  int64_t c = 0;
  for (; c + kSumVectors * L <= read.dv; c += kSumVectors * L)
    sums_row<kSumVectors>(band, weights, values + c * 4, stride, sums + c, dv);
  if (c + kSumVectors / 2 * L <= read.dv) {
    sums_row<kSumVectors / 2>(band, weights, values + c * 4, stride, sums + c, dv);
    c += kSumVectors / 2 * L;
  }
  for (; c + L <= read.dv; c += L) sums_row<1>(band, weights, values + c * 4, stride, sums + c, dv);
  if (c < read.dv) sums_row<1>(band, weights, reinterpret_cast<const char*>(scratch + at.tails), L * 4, sums + c, dv);
}

// With kScattered centres lie anywhere, and what a group sees differs from row to row. Without, every query looks about
// its own cell: all groups of the tile see the same columns in every row they see.
template <bool kScattered>
static void read_slot(const VssRead& read, const Scratch& at, const Tile& tile, int64_t slot, float* scratch) {
  const int64_t reach = read.windows[slot] / 2, whole = read.dv / L * L;
  const int64_t left = most(0, tile.centres.left - reach), right = least(read.w, tile.centres.right + reach + 1);
  const int64_t top = most(0, tile.centres.top - reach), bottom = least(read.h, tile.centres.bottom + reach + 1);
  const int64_t chunks = (right - left + kChunk - 1) / kChunk;
  float* caps = scratch + at.caps;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t begin = left + (right - left) * chunk / chunks, end = left + (right - left) * (chunk + 1) / chunks;
    const Band shared = band_of(tile.groups[0], tile.groups[0].centres.top, begin, end - begin, reach, caps);
    const char* keys = read.keys + slot * read.keys_strides[0] + begin * read.keys_strides[2] +
                       tile.head * read.keys_strides[3];
    const char* values = read.values + slot * read.values_strides[0] + begin * read.values_strides[2] +
                         tile.head * read.values_strides[3];
    for (int64_t y = top; y < bottom; ++y) {
      const char* row = values + y * read.values_strides[1];
      transpose_keys(keys + y * read.keys_strides[1], read.keys_strides[2], end - begin, read.dk, scratch + at.keys);
      for (int64_t c = 0; whole < read.dv && c < end - begin; ++c)
        __builtin_memcpy(scratch + at.tails + c * L, row + c * read.values_strides[2] + whole * 4,
                         (read.dv - whole) * 4);
      for (int64_t g = 0; g < tile.count; ++g) {
        const Group& group = tile.groups[g];
        if (y < group.centres.top - reach || y > group.centres.bottom + reach) continue;
        if constexpr (kScattered)
          meet(read, at, band_of(group, y, begin, end - begin, reach, caps), g, row, scratch);
        else
          meet(read, at, shared, g, row, scratch);
      }
    }
  }
}

// How much a logit beside those of the memory adds to a denominator that was summed relative to `peak`. Beyond 2^127
// it owns the whole softmax, and dividing by infinity says so.
static float beside(float logit, float peak) {
  return logit - peak > 127.0f ? __builtin_inff() : largest_lane(exp2_of(all(logit - peak)));
}

// Divide by the denominator, in which the sink counts once and positions outside the picture may count with logit 0
// each. A query that sees nothing of the picture gets 0.
static void write_query(const VssRead& read, const Lane& lane, int64_t head, float total, float peak,
                        const float* sums) {
  double inside = 0, window_cells = 0;
  for (int64_t slot = 0; slot < read.slots; ++slot) {
    if (!read.valid[slot]) continue;
    const int64_t reach = read.windows[slot] / 2;
    const int64_t rows = least(read.h - 1, lane.y + reach) - most(0, lane.y - reach) + 1;
    const int64_t columns = least(read.w - 1, lane.x + reach) - most(0, lane.x - reach) + 1;
    inside += double(most(0, rows)) * double(most(0, columns));
    window_cells += double(read.windows[slot]) * double(read.windows[slot]);
  }
  if (read.border_zero && window_cells > inside) total += float(window_cells - inside) * beside(0.0f, peak);
  total += beside(read.sinks[head] * kLog2E, peak);
  float* out = read.out + ((lane.row * read.columns + lane.column) * read.heads + head) * read.dv;
  for (int64_t c = 0; c < read.dv; ++c) out[c] = inside > 0 ? sums[c] / total : 0.0f;
}

static void attend_tile(const VssRead& read, const Scratch& at, const Tile& tile, float* scratch) {
  const int64_t lanes = tile.count * kQueries;
  __builtin_memset(scratch + at.sums, 0, lanes * at.padded_dv * 4);
  __builtin_memset(scratch + at.totals, 0, lanes * L * 4);
  for (int64_t i = 0; i < lanes; ++i) scratch[at.peaks + i] = kNever;
  read_queries(read, tile, scratch + at.queries);
  for (int64_t slot = 0; slot < read.slots; ++slot)
    if (read.valid[slot]) (read.centres ? read_slot<true> : read_slot<false>)(read, at, tile, slot, scratch);
  for (int64_t g = 0; g < tile.count; ++g)
    for (int64_t i = 0; i < tile.groups[g].queries; ++i) {
      const int64_t n = g * kQueries + i;
      float total = 0.0f;
      for (int k = 0; k < L; ++k) total += scratch[at.totals + n * L + k];
      write_query(read, tile.groups[g].lanes[i], tile.head, total, scratch[at.peaks + n],
                  scratch + at.sums + n * at.padded_dv);
    }
}

}  // namespace VSS_NAMESPACE

#undef VSS_INLINE
#undef VSS_SHUFFLE
