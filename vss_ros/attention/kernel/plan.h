// Copyright 2026 the vss_ros authors
// SPDX-License-Identifier: Apache-2.0
//
// Which queries share a tile. Neighbours do, wherever they stand in `query`: then a key that was fetched serves many.
#pragma once

#include <algorithm>
#include <tuple>
#include <vector>

#include "read.h"

namespace {

constexpr int64_t kSumBytes = 400 << 10;  // of accumulators per thread: half a level-2 cache, or less
constexpr int64_t kMostGroups = 16, kFewGroups = 8;
constexpr int64_t kFewTiles = 32;  // too few to share evenly among threads: smaller ones then, for 2 % of the time
constexpr int64_t kBlockRows = 16, kBlockColumns = 24;  // cells; centres in one block of them may share a tile

struct Plan {
  std::vector<Lane> lanes;
  std::vector<Group> groups;
  std::vector<Tile> tiles;  // of head 0
};

int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t down(int64_t a, int64_t b) { return a >= 0 ? a / b : -up(-a, b); }

int64_t padded_dv(const VssRead& read) { return up(read.dv, 16) * 16; }

int64_t groups_of_a_tile(const VssRead& read) {
  const int64_t most = std::clamp<int64_t>(kSumBytes / (kQueries * padded_dv(read) * 4), 1, kMostGroups);
  const int64_t tiles = read.heads * (read.centres ? up(up(read.rows * read.columns, kQueries), most)
                                                   : up(read.columns, kQueries) * up(read.rows, most));
  return tiles < kFewTiles ? std::min(most, kFewGroups) : most;
}

Box around(const Box& a, const Box& b) {
  return {std::min(a.top, b.top), std::max(a.bottom, b.bottom), std::min(a.left, b.left), std::max(a.right, b.right)};
}

// The next queries of `plan.lanes` make a group of the newest tile. The vectors never grow beyond what was reserved:
// tiles and groups point into them.
void add_group(Plan& plan, const Lane* lanes, int64_t queries) {
  Box box{lanes[0].y, lanes[0].y, lanes[0].x, lanes[0].x};
  for (int64_t i = 1; i < queries; ++i) box = around(box, {lanes[i].y, lanes[i].y, lanes[i].x, lanes[i].x});
  Tile& tile = plan.tiles.back();
  tile.centres = tile.count++ ? around(tile.centres, box) : box;
  plan.groups.push_back({lanes, queries, box});
}

void add_tile(Plan& plan) { plan.tiles.push_back({plan.groups.data() + plan.groups.size(), 0, 0, {}}); }

// Every query looks about its own cell: a tile is a block of kQueries neighbours in x, and a group one of its rows.
Plan plan_dense(const VssRead& read) {
  const int64_t tiles_x = up(read.w, kQueries), tiles_y = up(read.h, groups_of_a_tile(read));
  Plan plan;
  plan.lanes.reserve(read.h * read.w);
  plan.groups.reserve(read.h * tiles_x);
  plan.tiles.reserve(tiles_y * tiles_x);
  for (int64_t tile = 0; tile < tiles_y * tiles_x; ++tile) {
    const int64_t ty = tile / tiles_x, x0 = tile % tiles_x * kQueries, x1 = std::min(read.w, x0 + kQueries);
    add_tile(plan);
    for (int64_t y = read.h * ty / tiles_y; y < read.h * (ty + 1) / tiles_y; ++y) {
      const Lane* first = plan.lanes.data() + plan.lanes.size();
      for (int64_t x = x0; x < x1; ++x) {
        const Lane lane{int32_t(y), int32_t(x), int32_t(y), int32_t(x)};
        plan.lanes.push_back(lane);
      }
      add_group(plan, first, x1 - x0);
    }
  }
  return plan;
}

// Centres anywhere: queries are sorted by the block of the picture that their centres lie in, then row by row.
Plan plan_scattered(const VssRead& read) {
  const int64_t queries = read.rows * read.columns, most = kQueries * groups_of_a_tile(read);
  const auto block = [](const Lane& lane) {
    return std::make_pair(down(lane.y, kBlockRows), down(lane.x, kBlockColumns));
  };
  Plan plan;
  plan.lanes.reserve(queries);
  for (int64_t i = 0; i < queries; ++i)
    plan.lanes.push_back({int32_t(i / read.columns), int32_t(i % read.columns), read.centres[2 * i],
                          read.centres[2 * i + 1]});
  // Row and column in `query` end the comparison: the order, and with it every rounding, is the same in each call.
  const auto order = [&](const Lane& a, const Lane& b) {
    return std::make_tuple(block(a), a.y, a.x, a.row, a.column) < std::make_tuple(block(b), b.y, b.x, b.row, b.column);
  };
  std::sort(plan.lanes.begin(), plan.lanes.end(), order);

  plan.groups.reserve(queries);
  plan.tiles.reserve(queries);
  const Lane *at = plan.lanes.data(), *end = at + queries;
  while (at != end) {
    const auto here = block(*at);
    const Lane* stop = at;
    while (stop != end && stop - at < most && block(*stop) == here) ++stop;
    add_tile(plan);
    for (; at != stop; at += plan.groups.back().queries) add_group(plan, at, std::min<int64_t>(kQueries, stop - at));
  }
  return plan;
}

Scratch scratch_of(const VssRead& read) {
  Scratch s;
  s.padded_dv = padded_dv(read);
  int64_t end = 0;
  const auto place = [&end](int64_t floats) {
    const int64_t at = end;
    end += up(floats, 16) * 16;
    return at;
  };
  const int64_t lanes = groups_of_a_tile(read) * kQueries;
  s.queries = place(lanes * read.dk);
  s.sums = place(lanes * s.padded_dv);
  s.totals = place(lanes * 16);
  s.keys = place(read.dk * kPitch);
  s.weights = place(kQueries * kPitch);
  s.caps = place(kQueries * kPitch);
  s.tails = place(kChunk * 16);
  s.peaks = place(lanes);
  s.size = end;
  return s;
}

}  // namespace
