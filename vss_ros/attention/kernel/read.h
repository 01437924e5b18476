// Copyright 2026 the vss_ros authors
// SPDX-License-Identifier: Apache-2.0
//
// What one call reads and writes, and how it is cut into tiles. Plain C types only: this struct is filled by ctypes.
#pragma once

#include <cstdint>

extern "C" struct VssRead {
  // Strides are in bytes, so that any numpy view is read in place; only the channels lie side by side.
  const char* query;   // (h, w, heads, dk) float32
  const char* keys;    // (slots, h, w, heads, dk) float32
  const char* values;  // (slots, h, w, heads, dv) float32
  float* out;          // (h, w, heads, dv) float32, contiguous
  const int64_t* windows;  // (slots), odd side lengths
  const uint8_t* valid;    // (slots)
  int64_t h, w, heads, slots, dk, dv;
  int64_t query_strides[3];   // y, x, head
  int64_t keys_strides[4];    // slot, y, x, head
  int64_t values_strides[4];  // slot, y, x, head
  float scale;
  int32_t border_zero;  // 1: positions outside the picture count with logit 0 and value 0
  int32_t threads;
  int32_t isa;  // index into the table of local_attention.cpp
};

// A tile is a block of kQueries neighbours in x and `rows` rows: its accumulators stay in the level-2 cache while
// every memory row of its surroundings is fetched once and met with all query rows that see it.
constexpr int kQueries = 12;
constexpr int kChunk = 64;            // memory columns handled at once
constexpr int kPitch = kChunk + 16;   // a chunk and one vector of overhang

struct Tiling {
  int64_t rows, tiles_y, tiles_x, padded_dv;
  // Offsets into a thread's scratch, in floats; all multiples of 16.
  int64_t queries, sums, totals, keys, weights, caps, tails, peaks, size;
};
