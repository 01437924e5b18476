// Copyright 2026 the vss_ros authors
// SPDX-License-Identifier: Apache-2.0
//
// What one call reads and writes, and how it is cut into tiles. Plain C types only: VssRead is filled by ctypes.
#pragma once

#include <cstdint>

extern "C" struct VssRead {
  // Strides are in bytes, so that any numpy view is read in place; only the channels lie side by side.
  const char* query;       // (rows, columns, heads, dk) float32
  const char* keys;        // (slots, h, w, heads, dk) float32
  const char* values;      // (slots, h, w, heads, dv) float32
  float* out;              // (rows, columns, heads, dv) float32, contiguous
  const int64_t* windows;  // (slots), odd side lengths
  const uint8_t* valid;    // (slots)
  const int32_t* centres;  // (rows, columns, 2) cells y, x, contiguous; null: rows = h, columns = w, each its own cell
  const float* sinks;      // (heads), -inf: none
  int64_t rows, columns;   // of queries
  int64_t h, w, heads, slots, dk, dv;
  int64_t query_strides[3];   // row, column, head
  int64_t keys_strides[4];    // slot, y, x, head
  int64_t values_strides[4];  // slot, y, x, head
  float scale;
  int32_t border_zero;  // 1: positions outside the picture count with logit 0 and value 0
  int32_t threads;
  int32_t isa;  // index into the table of local_attention.cpp
};

constexpr int kQueries = 12;         // of a group
constexpr int kChunk = 64;           // memory columns handled at once
constexpr int kPitch = kChunk + 16;  // a chunk and one vector of overhang

// A query: where it stands in `query` and `out`, and the cell its window is about.
struct Lane {
  int32_t row, column;
  int32_t y, x;
};

// Cells, both ends included.
struct Box {
  int64_t top, bottom, left, right;
};

// At most kQueries queries, which meet a memory row together.
struct Group {
  const Lane* lanes;
  int64_t queries;
  Box centres;
};

// Groups whose windows overlap, and a head: their accumulators stay in the level-2 cache while every memory row of
// their surroundings is fetched once and met with all groups that see it.
struct Tile {
  const Group* groups;
  int64_t count, head;
  Box centres;
};

// Offsets into a thread's scratch, in floats; all multiples of 16.
struct Scratch {
  int64_t padded_dv;
  int64_t queries, sums, totals, keys, weights, caps, tails, peaks, size;
};
