// Copyright 2026 the vss_ros authors
// SPDX-License-Identifier: Apache-2.0
//
// Local attention on the CPU behind a plain C interface: instruction sets, threads, memory. The arithmetic is in
// tile.h. Semantics: vss_ros/attention/reference.py, after Paul et al., IROS 2021, eq. 5 and 6.

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <thread>
#include <vector>

#include "read.h"

// The baseline of the platform: SSE2 on x86-64, NEON on aarch64, plain code elsewhere.
#define VSS_NAMESPACE baseline
#define VSS_LANES 4
#if defined(__aarch64__)
#define VSS_REGISTERS 32
#else
#define VSS_REGISTERS 16
#endif
#include "tile.h"
#undef VSS_NAMESPACE
#undef VSS_LANES
#undef VSS_REGISTERS

// The macros of the two compilers differ, their meaning does not: all functions up to the end may use these sets.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define VSS_NAMESPACE avx2
#define VSS_LANES 8
#define VSS_REGISTERS 16
#include "tile.h"
#undef VSS_NAMESPACE
#undef VSS_LANES
#undef VSS_REGISTERS
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,fma,prefer-vector-width=512")
#endif
#define VSS_NAMESPACE avx512
#define VSS_LANES 16
#define VSS_REGISTERS 32
#include "tile.h"
#undef VSS_NAMESPACE
#undef VSS_LANES
#undef VSS_REGISTERS
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif  // __x86_64__

namespace {

using AttendTile = void (*)(const VssRead&, const Tiling&, int64_t, float*);

struct InstructionSet {
  const char* name;
  bool (*runs_here)();
  AttendTile attend_tile;
};

// Fastest first; the last one runs everywhere.
const InstructionSet kInstructionSets[] = {
#if defined(__x86_64__)
    {"avx512",
     [] {
       __builtin_cpu_init();
       return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
              __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
     },
     avx512::attend_tile},
    {"avx2",
     [] {
       __builtin_cpu_init();
       return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
     },
     avx2::attend_tile},
#endif
    {"baseline", [] { return true; }, baseline::attend_tile},
};
constexpr int kSets = sizeof kInstructionSets / sizeof kInstructionSets[0];

constexpr int64_t kSumBytes = 400 << 10;  // of accumulators per thread: half a level-2 cache, or less
constexpr int64_t kMostRows = 16, kFewRows = 8;
constexpr int64_t kFewTiles = 32;  // too few to share evenly among threads: smaller ones then, for 2 % of the time

Tiling tiling_of(const VssRead& read) {
  Tiling t;
  t.padded_dv = (read.dv + 15) / 16 * 16;
  int64_t rows = kSumBytes / (kQueries * t.padded_dv * 4);
  rows = rows < 1 ? 1 : rows > kMostRows ? kMostRows : rows;
  t.tiles_x = (read.w + kQueries - 1) / kQueries;
  if (rows > kFewRows && read.heads * t.tiles_x * ((read.h + rows - 1) / rows) < kFewTiles) rows = kFewRows;
  t.tiles_y = (read.h + rows - 1) / rows;
  t.rows = (read.h + t.tiles_y - 1) / t.tiles_y;
  int64_t end = 0;
  const auto place = [&end](int64_t floats) {
    const int64_t at = end;
    end += (floats + 15) / 16 * 16;
    return at;
  };
  const int64_t cells = t.rows * kQueries;
  t.queries = place(cells * read.dk);
  t.sums = place(cells * t.padded_dv);
  t.totals = place(cells * 16);
  t.keys = place(read.dk * kPitch);
  t.weights = place(kQueries * kPitch);
  t.caps = place(kQueries * kPitch);
  t.tails = place(kChunk * 16);
  t.peaks = place(cells);
  t.size = end;
  return t;
}

}  // namespace

#define VSS_PUBLIC extern "C" __attribute__((visibility("default")))

// Changes whenever VssRead or the meaning of a function does, so that Python never calls a stale build.
VSS_PUBLIC int vss_attention_abi() { return 1; }

// Name of the instruction set at `index`, fastest first; null behind the last one.
VSS_PUBLIC const char* vss_attention_isa_name(int index) {
  return index >= 0 && index < kSets ? kInstructionSets[index].name : nullptr;
}

VSS_PUBLIC int vss_attention_isa_runs_here(int index) {
  return index >= 0 && index < kSets && kInstructionSets[index].runs_here();
}

// 0 = done, 1 = out of memory. The caller has checked everything else.
//
// Threads are started for the call and end with it: 20 us each beside milliseconds of work, and in exchange nothing
// spins between frames, a process may fork, and no second OpenMP runtime meets those of torch and ONNX Runtime.
// Which thread computes a tile never changes its result.
VSS_PUBLIC int vss_local_attention(const VssRead* read) {
  const Tiling tiling = tiling_of(*read);
  const AttendTile attend_tile = kInstructionSets[read->isa].attend_tile;
  const int64_t tasks = read->heads * tiling.tiles_y * tiling.tiles_x;
  std::atomic<int64_t> next{0}, done{0};
  const auto work = [&] {  // may not throw: it runs on threads
    void* scratch = nullptr;
    if (posix_memalign(&scratch, 64, tiling.size * sizeof(float)) != 0) return;
    std::memset(scratch, 0, tiling.size * sizeof(float));
    for (int64_t task; (task = next.fetch_add(1)) < tasks; done.fetch_add(1))
      attend_tile(*read, tiling, task, static_cast<float*>(scratch));
    std::free(scratch);
  };
  const int64_t wanted = read->threads < tasks ? read->threads : tasks;
  std::vector<std::thread> others;
  try {
    others.reserve(wanted - 1);
    while (static_cast<int64_t>(others.size()) + 1 < wanted) others.emplace_back(work);
  } catch (const std::exception&) {
    // No more threads to be had: those that are there do the work.
  }
  work();
  for (std::thread& other : others) other.join();
  return done.load() == tasks ? 0 : 1;
}
