# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The synthetic drive: a street made from a seed, filmed from a moving car, with exact labels and exact motion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vss_ros.core.errors import DataError
from vss_ros.core.frame import FloatArray, Frame
from vss_ros.data.bag_writer import BagWriter
from vss_ros.data.camvid import camvid_labels
from vss_ros.data.synthetic_ground import CHUNK_M, make_street, paint_sky
from vss_ros.data.synthetic_render import Camera, Canvas, motion_to
from vss_ros.data.synthetic_sensor import Ride, Sensor
from vss_ros.data.synthetic_town import Town
from vss_ros.data.synthetic_world import Chunk, Matrices, Piece, Thing

_SIGHT_M = 170.0
_BEHIND_M = 12.0
# Movers are timed by when the camera passes, so while in sight they are at most this far from their own chunk.
_ROAM_CHUNKS = 9
# Directions the sky's texture spans: three wide, from 1.2 up to 0.3 down, per unit forward.
_SKY_POSE = np.array([[3.6, 0.0, -1.8], [0.0, 1.5, -1.2], [0.0, 0.0, 1.0]])
_FIRST_STAMP_NS = 1_000_000_000


class SyntheticDrive:
    """A random-access video: `drive[i]` is a Frame with truth and motion, whatever was rendered before.

    Labels are CamVid's 11 classes. Motion is exact for everything, standing or moving, and NaN where the point was
    hidden or outside the previous picture (a px along edges of things included); the first frame has None. Sensor
    effects change the image only. The same arguments give the same bytes; more `frames` lengthen the drive without
    changing it.

    Args:
        seed: the street, its colours, its traffic, the light, the camera.
        size: `(height, width)` px.
        frames: length of the drive.
        fps: frames per second; sets stamps and the distance between frames.
        motion: False leaves motion out and saves time, most of it out of order.
        effects: False gives the clean picture without noise, blur and exposure.

    Raises:
        DataError: a size under 32 px, no frames, or a rate that is not positive.
    """

    def __init__(
        self,
        seed: int = 0,
        size: tuple[int, int] = (360, 480),
        frames: int = 100,
        fps: float = 15.0,
        *,
        motion: bool = True,
        effects: bool = True,
    ) -> None:
        if min(size) < 32 or frames < 1 or not fps > 0 or seed < 0:
            raise DataError(
                f"a synthetic drive wants seed >= 0, a size of at least 32x32, frames >= 1 and fps > 0, "
                f"got seed {seed}, size {size}, frames {frames}, fps {fps}"
            )
        self.name = f"synthetic:{seed}x{frames}"
        self.skipped: dict[str, int] = {}
        self.classes = camvid_labels().names
        self.seed, self.size, self.fps = seed, size, fps
        self._frames, self._motion, self._effects = frames, motion, effects
        rng = np.random.default_rng([seed, 10])
        street = make_street(rng)
        self._ride = Ride(rng, street, size)
        self._town = Town(seed, street, self._ride.speed)
        self._sky = paint_sky(rng)
        self._sensor = Sensor(rng, seed, size)
        # The air: how far one sees, and its grey.
        self._haze = rng.uniform(150, 700), float(self._sky.rgb[int(self._sky.rgb.shape[0] * 0.75)].mean())
        self._always: list[Thing] = [self._town.far_ground()]
        lead = self._town.lead_car()
        self._always += [lead] if lead is not None else []
        self._seen: dict[int, npt.NDArray[np.int32]] = {}

    def __len__(self) -> int:
        return self._frames

    def __iter__(self) -> Iterator[Frame]:
        return (self[index] for index in range(self._frames))

    def __getitem__(self, index: int) -> Frame:
        if not -self._frames <= index < self._frames:
            raise IndexError(f"frame {index} of a drive with {self._frames}")
        index %= self._frames
        return self._render(index)

    @property
    def camera_matrix(self) -> npt.NDArray[np.float64]:
        """`(3, 3)` float64 px."""
        return self._ride.camera(0.0).matrix

    def stamp_ns(self, index: int) -> int:
        """The stamp of a frame, from the rate."""
        return _FIRST_STAMP_NS + round(index * 1e9 / self.fps)

    def _render(self, index: int) -> Frame:
        time_s = index / self.fps
        camera = self._ride.camera(time_s)
        scene = self._scene(camera, time_s)
        views = camera.views(scene.poses(time_s))
        canvas = Canvas(self.size, coloured=True)
        canvas.draw_far(self._sky, camera.far_view(_SKY_POSE))
        canvas.draw_all(scene.pieces, views, self._haze)
        image, motion = canvas.rgb, None
        assert image is not None
        if self._motion or (self._effects and self._sensor.smears):
            flow = self._flow(time_s, camera, scene, views, canvas)
            if self._effects:
                image = self._sensor.develop(image, flow, index, time_s)
            if self._motion and index > 0:
                names = scene.names[canvas.owner]
                motion = _hide_unseen(flow, names, self._names_of(index - 1))
                self._remember(index, names)
        elif self._effects:
            image = self._sensor.develop(image, None, index, time_s)
        since_ns = None if motion is None else self.stamp_ns(index - 1)
        return Frame(
            self.stamp_ns(index),
            image,
            stream=self.name,
            frame_id="camera",
            motion=motion,
            truth=canvas.labels,
            motion_since_ns=since_ns,
        )

    def _scene(self, camera: Camera, time_s: float) -> _Scene:
        """What is in sight of the camera at that time."""
        at = float(camera.centre[2])
        first, last = int((at - _BEHIND_M) // CHUNK_M), int((at + _SIGHT_M) // CHUNK_M)
        chunks = [self._town.chunk(k) for k in range(first, last + 1)]
        nomads = [
            thing
            for k in range(first - _ROAM_CHUNKS, last + _ROAM_CHUNKS + 1)
            for thing in self._town.chunk(k).movers
            if -_BEHIND_M < thing.place_at(time_s)[1] - at < _SIGHT_M
        ]
        return _Scene(chunks, [*self._always, *nomads])

    def _flow(self, time_s: float, camera: Camera, scene: _Scene, views: Matrices, canvas: Canvas) -> FloatArray:
        """`(H, W, 2)` px to the previous frame, hidden points included."""
        earlier_s = time_s - 1 / self.fps
        earlier = self._ride.camera(earlier_s)
        now = np.concatenate([camera.far_view(_SKY_POSE)[None], views])
        before = np.concatenate([earlier.far_view(_SKY_POSE)[None], earlier.views(scene.poses(earlier_s))])
        return motion_to(canvas.owner, now, before, self._ride.focal_px)

    def _names_of(self, index: int) -> npt.NDArray[np.int32]:
        """`(H, W)` which piece each pixel of a frame shows, kept from its rendering or drawn again without colours."""
        if index in self._seen:
            return self._seen[index]
        time_s = index / self.fps
        camera = self._ride.camera(time_s)
        scene = self._scene(camera, time_s)
        canvas = Canvas(self.size, coloured=False)
        canvas.draw_all(scene.pieces, camera.views(scene.poses(time_s)), self._haze)
        return scene.names[canvas.owner]

    def _remember(self, index: int, names: npt.NDArray[np.int32]) -> None:
        self._seen = {index: names}


class _Scene:
    """Everything in sight at one moment, in drawing numbers: N pieces; `names` `(N + 1,)` int32, the sky's 0 first."""

    def __init__(self, chunks: Sequence[Chunk], movers: Sequence[Thing]) -> None:
        self._still, self._movers = [chunk.still_pose for chunk in chunks], movers
        self.pieces: list[Piece] = [piece for chunk in chunks for piece in chunk.still]
        self.pieces += [piece for thing in movers for piece in thing.pieces]
        self.names: npt.NDArray[np.int32] = np.array([0, *(piece.ident for piece in self.pieces)], np.int32)

    def poses(self, time_s: float) -> Matrices:
        """`(N, 3, 3)` of the pieces at that time."""
        return np.concatenate([*self._still, *(thing.pose(time_s) for thing in self._movers)])


def _hide_unseen(flow: FloatArray, now: npt.NDArray[np.int32], before: npt.NDArray[np.int32]) -> FloatArray:
    """NaN where the piece seen now was not what the previous picture showed at the other end of the motion."""
    height, width = now.shape
    known = np.nan_to_num(flow, nan=-1e6)
    x = np.rint(known[:, :, 0] + np.arange(width, dtype=np.float32)).astype(np.int32)
    y = np.rint(known[:, :, 1] + np.arange(height, dtype=np.float32)[:, None]).astype(np.int32)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    there = before.ravel().take(np.where(inside, y * width + x, 0))
    flow[~(inside & (there == now))] = np.nan
    return flow


def write_bag(
    path: str | Path,
    drive: SyntheticDrive,
    *,
    compressed: bool = False,
    storage: str = "mcap",
    quality: int = 95,
    progress: Callable[[], None] = lambda: None,
) -> None:
    """Writes a drive as a rosbag2: images, `/camera/camera_info`, `/camera/labels_truth`, `/camera/label_info`.

    Args:
        path: folder to create; must not exist.
        drive: what to write.
        compressed: JPEG on `/camera/image_raw/compressed` instead of rgb8 on `/camera/image_raw`.
        storage: `mcap` or `sqlite3`.
        quality: of the JPEG, 0 to 100.
        progress: called after each frame.
    """
    with BagWriter(path, storage=storage) as bag:
        bag.write_label_info("/camera/label_info", drive.classes, drive.stamp_ns(0))
        for frame in drive:
            if compressed:
                bag.write_jpeg("/camera/image_raw/compressed", frame.image, frame.stamp_ns, quality=quality)
            else:
                bag.write_image("/camera/image_raw", frame.image, frame.stamp_ns)
            bag.write_camera_info("/camera/camera_info", drive.camera_matrix, frame.size, frame.stamp_ns)
            if frame.truth is not None:
                bag.write_labels("/camera/labels_truth", frame.truth, frame.stamp_ns)
            progress()
