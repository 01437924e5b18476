// Copyright 2026 the vss_ros authors
// SPDX-License-Identifier: Apache-2.0
//
// Local attention on the CPU behind a plain C interface: instruction sets, threads, memory. Which queries share a
// tile is decided in plan.h, the arithmetic is in tile.h. Semantics: vss_ros/attention/reference.py, after Paul et
// al., IROS 2021, eq. 5 and 6.

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <thread>
#include <vector>

#include "plan.h"
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

using AttendTile = void (*)(const VssRead&, const Scratch&, const Tile&, float*);

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

// May not throw: it runs on threads. Counts the tasks done, fewer than there are if memory ran out.
void work(const VssRead& read, const Plan& plan, std::atomic<int64_t>& next, std::atomic<int64_t>& done) {
  const Scratch scratch = scratch_of(read);
  const int64_t tiles = plan.tiles.size();
  void* memory = nullptr;
  if (posix_memalign(&memory, 64, scratch.size * sizeof(float)) != 0) return;
  std::memset(memory, 0, scratch.size * sizeof(float));
  for (int64_t task; (task = next.fetch_add(1)) < tiles * read.heads; done.fetch_add(1)) {
    Tile tile = plan.tiles[task % tiles];
    tile.head = task / tiles;
    kInstructionSets[read.isa].attend_tile(read, scratch, tile, static_cast<float*>(memory));
  }
  std::free(memory);
}

}  // namespace

#define VSS_PUBLIC extern "C" __attribute__((visibility("default")))

// Changes whenever VssRead or the meaning of a function does, so that Python never calls a stale build.
VSS_PUBLIC int vss_attention_abi() { return 2; }

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
  Plan plan;
  try {
    plan = read->centres ? plan_scattered(*read) : plan_dense(*read);
  } catch (const std::exception&) {
    return 1;
  }
  std::atomic<int64_t> next{0}, done{0};
  const int64_t tasks = read->heads * plan.tiles.size(), wanted = std::min<int64_t>(read->threads, tasks);
  std::vector<std::thread> others;
  try {
    others.reserve(wanted);
    while (static_cast<int64_t>(others.size()) + 1 < wanted)
      others.emplace_back([&] { work(*read, plan, next, done); });
  } catch (const std::exception&) {
    // No more threads to be had: those that are there do the work.
  }
  work(*read, plan, next, done);
  for (std::thread& other : others) other.join();
  return done.load() == tasks ? 0 : 1;
}
