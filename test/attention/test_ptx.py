# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How the shipped PTX is chosen and launched, told to a stand-in for libcuda; and how a read is cut into programs."""

from __future__ import annotations

import ctypes
import dataclasses
import gzip
from pathlib import Path
from typing import Any

import pytest

from vss_ros.assemble import plan_for
from vss_ros.attention import ptx_loader
from vss_ros.attention.ptx_loader import Driver, PtxAttention, choose, index, packed
from vss_ros.attention.triton_plan import LOG2_E, READ_POINTERS, READ_SCALARS, Grid, Read, tiles
from vss_ros.core.errors import AttentionError
from vss_ros.core.method import Host, StepInput
from vss_ros.core.stage import TensorSpec
from vss_ros.runtimes.cost import _FullBank

CLASSIFIED = {  # channels and stride of what is classified, as in `nets`, which need torch
    **{"erfnet": (16, 2), "bisenet18": (256, 8), "bisenet34": (256, 8), "pspnet18_camvid": (64, 1)},
    **{"pspnet18": (512, 8), "pspnet50": (512, 8), "pspnet101": (512, 8)},
}


class Libcuda:
    """Answers as a GPU of `capability`; `launches` holds what was queued, `fails` the code of a call by its name."""

    def __init__(self, capability: int = 90, shared: int = 227 * 1024, **fails: int) -> None:
        self.attributes = {75: capability // 10, 76: capability % 10, 16: 132, 97: shared}
        self.fails, self.calls = fails, list[str]()
        self.images: dict[int, bytes] = {}
        self.functions: dict[int, bytes] = {}
        self.shared: dict[int, int] = {}
        self.launches: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            self.calls.append(name)
            if answer := getattr(type(self), f"_{name}", None):
                answer(self, *arguments)
            return self.fails.get(name, 0)

        return call

    def _cuGetErrorString(self, code: Any, text: Any) -> None:  # noqa: N802  the driver's names
        text._obj.value = b"no binary for GPU" if code.value == 209 else None

    def _cuDeviceGetAttribute(self, value: Any, number: Any, device: Any) -> None:  # noqa: N802
        value._obj.value = self.attributes[number.value]

    def _cuModuleLoadDataEx(self, module: Any, image: Any, count: Any, options: Any, values: Any) -> None:  # noqa: N802
        module._obj.value = len(self.images) + 1
        self.images[module._obj.value] = image.value
        if "cuModuleLoadDataEx" in self.fails:
            said = b"ptxas: unsupported version"
            ctypes.memmove(values[list(options).index(5)], said, len(said) + 1)

    def _cuModuleGetFunction(self, function: Any, module: Any, name: bytes) -> None:  # noqa: N802
        function._obj.value = 1000 + module.value
        self.functions[function._obj.value] = name

    def _cuFuncSetAttribute(self, function: Any, attribute: Any, value: Any) -> None:  # noqa: N802
        assert attribute.value == 8
        self.shared[function.value] = value.value

    def _cuLaunchKernel(self, function: Any, *rest: Any) -> None:  # noqa: N802
        numbers, stream, arguments, extra = [x.value for x in rest[:7]], *rest[7:]
        assert extra is None
        kernel = self.functions[function.value].decode()
        kinds = next(x["parameters"] for x in index()["kernels"] if x["entry"] == kernel)
        types = {"u64": ctypes.c_uint64, "u32": ctypes.c_int32, "f32": ctypes.c_float}
        values = [types[kind].from_address(at).value for kind, at in zip(kinds, arguments, strict=True)]
        self.launches.append(
            {"kernel": kernel, "grid": numbers[:3], "block": numbers[3:6], "shared": numbers[6]}
            | {"stream": stream.value, "arguments": values}
        )


def loaded(library: Libcuda, dtype: str = "float16", dk: int = 32, dv: int = 128) -> PtxAttention:
    return PtxAttention(dtype, dk, dv, driver=Driver(library))


def a_read(grid: Grid, parts: int, **changes: Any) -> Read:
    """Addresses 2^40, 2^40 + 4096, ... in the order of the fields."""
    names = ("query", "keys", "values", "centres", "table", "sink", "out", "partial", "partial_log")
    addresses: dict[str, Any] = {name: 2**40 + 4096 * at for at, name in enumerate(names)}
    return Read(**{**addresses, "grid": grid, "parts": parts, "zero_border": True, "scale": 0.5, **changes})


def test_tells_the_driver_what_the_kernels_want() -> None:
    library = Libcuda()
    attention = loaded(library)
    read = a_read(Grid.of((64, 128), 64, 128, 2, 4), 2)
    attention(read, stream=77)
    first, second = library.launches
    assert (first["kernel"], second["kernel"]) == ("local_read", "merge_parts")
    assert (first["grid"], first["block"], first["stream"]) == ([128, 2, 2], [128, 1, 1], 77)
    addresses = [2**40 + 4096 * at for at in range(9)]
    assert first["arguments"][:9] == addresses
    assert first["arguments"][9:18] == [64 * 128, 128, 64, 128, 2, 4, 2, 1, 1]
    assert first["arguments"][18] == pytest.approx(0.5 * LOG2_E)
    assert first["arguments"][19:] == [0, 0]
    assert (second["grid"], second["block"], second["stream"]) == ([1024, 1, 1], [128, 1, 1], 77)
    assert second["arguments"] == [addresses[7], addresses[8], addresses[6], 64 * 128 * 2, 2, 0, 0]
    entry = choose(index(), "float16", 32, 128, 90)["local_read"]
    assert first["shared"] == entry["shared_bytes"] == max(library.shared.values())


def test_merges_nothing_that_was_not_split() -> None:
    library = Libcuda()
    loaded(library)(a_read(Grid.of((8, 9), 8, 9, 1, 1), 1, centres=None, zero_border=False, partial=0, partial_log=0))
    (only,) = library.launches
    assert only["grid"] == [2, 1, 1]
    assert only["arguments"][3] == only["arguments"][4], "the kernel does not read centres, but wants an address"
    assert only["arguments"][16:18] == [0, 0]
    assert only["stream"] is None  # the default stream


def test_loads_the_file_of_the_gpu() -> None:
    for capability, target in ((80, b"sm_80"), (86, b"sm_80"), (87, b"sm_80"), (90, b"sm_90a"), (120, b"sm_80")):
        library = Libcuda(capability)
        loaded(library, "float16", 256, 256)
        assert [b".target " + target in image for image in library.images.values()] == [True, True]
        assert set(library.functions.values()) == {b"local_read", b"merge_parts"}


def test_the_context_is_that_of_the_calling_thread() -> None:
    library = Libcuda()
    attention = loaded(library)
    library.calls.clear()
    attention(a_read(Grid.of((8, 8), 8, 8, 1, 1), 1))
    assert library.calls == ["cuCtxSetCurrent", "cuLaunchKernel"]


def test_splits_as_the_gpu_is_large() -> None:
    attention = loaded(Libcuda())
    grid = Grid.of((64, 128), 64, 128, 1, 4)
    assert attention.parts(grid) == 4
    assert attention.scratch_bytes(grid) == (4 * 4 * 64 * 128 * 128, 4 * 4 * 64 * 128)
    assert attention.scratch_bytes(Grid.of((64, 128), 64, 128, 1, 1)) == (0, 0)


@pytest.mark.parametrize("capability", [80, 87, 90])
@pytest.mark.parametrize(
    ("method", "options", "net"),
    [
        *(("lmanet", {}, "erfnet"), ("lmanet", {"key_channels": 32, "value_channels": 128}, "bisenet18")),
        *(("stt", {"width": 128, "heads": 4}, "erfnet"), ("stt", {"width": 256, "heads": 8}, "bisenet18")),
        *(("arseg", {"motion": motion}, net) for motion in ("warp", "offset") for net in CLASSIFIED),
    ],
)
def test_every_method_finds_its_files(method: str, options: dict[str, Any], net: str, capability: int) -> None:
    plan = plan_for(method, options)
    host = Host(net, 64, 8, *CLASSIFIED.get(net, (64, 8)))
    asked: list[tuple[Any, Any]] = []

    def attend(query: TensorSpec, keys: TensorSpec, values: TensorSpec, look: Any, **more: Any) -> TensorSpec:
        asked.append((keys.shape[-1], values.shape[-1]))
        return query

    made = {spec.name: {t.name: t for t in spec.outputs} for spec in plan.stages(host)}
    banks: dict[str, Any] = {spec.name: _FullBank(spec) for spec in plan.banks(host)}
    plan.step(StepInput(None, is_key=False), banks, lambda stage, /, **inputs: made[stage], attend)
    ((dk, dv),) = asked
    assert set(choose(index(), "float16", dk, dv, capability)) == {"local_read", "merge_parts"}


@pytest.mark.parametrize("capability", [72, 75, 53])
def test_refuses_gpus_that_are_too_old(capability: int) -> None:
    with pytest.raises(AttentionError, match=rf"capability 8.0 or newer, got {capability / 10}; use the CPU kernel"):
        loaded(Libcuda(capability))


def test_refuses_channels_that_were_not_built() -> None:
    with pytest.raises(
        AttentionError, match="no PTX for float32 dk 16 dv 64, only for float16 dk 16 dv 16, float16 dk 16 dv 64, "
    ):
        loaded(Libcuda(), "float32", 16, 64)


def test_refuses_a_gpu_with_little_shared_memory() -> None:
    with pytest.raises(AttentionError, match=r"local_read_.* bytes of shared memory, the GPU has 16384; use the CPU"):
        loaded(Libcuda(shared=16384))


def test_refuses_addresses_that_loads_do_not_fit() -> None:
    with pytest.raises(AttentionError, match="multiples of 16"):
        loaded(Libcuda())(a_read(Grid.of((8, 8), 8, 8, 1, 1), 1, keys=2**40 + 8))


def test_says_what_the_driver_says() -> None:
    with pytest.raises(AttentionError, match=r"^cuInit of the NVIDIA driver failed: unknown error \(100\)$"):
        loaded(Libcuda(cuInit=100))
    loud = r"^local_read_.*gz does not load: .*no binary for GPU \(209\) ptxas: unsupported version$"
    with pytest.raises(AttentionError, match=loud):
        loaded(Libcuda(cuModuleLoadDataEx=209))


def test_says_that_there_is_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptx_loader, "_LIBRARY", "libcuda_that_is_not_there.so")
    with pytest.raises(AttentionError, match=r"wants an NVIDIA driver, got .*not_there.*use the CPU kernel"):
        Driver()


def test_says_how_to_build_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AttentionError, match=r"no PTX files in .*run python -m vss_ros.attention.build_ptx"):
        index(tmp_path)


def test_refuses_files_of_another_version() -> None:
    with pytest.raises(AttentionError, match="want 1 arguments, got 2; build them anew"):
        packed(["u64", "u64", "u64"], [1, 2])


def test_the_files_are_all_there_and_small() -> None:
    about = index()
    for entry in about["kernels"]:
        ptx = gzip.decompress((ptx_loader.FOLDER / entry["file"]).read_bytes()).decode()
        assert f".entry {entry['entry']}(" in ptx
        assert f".target {entry['target']}\n" in ptx
        assert f".reqntid {entry['threads']}\n" in ptx
        assert f".version {entry['ptx_version']}\n" in ptx
        assert entry["ptx_version"] == ("8.0" if entry["capability"] == 90 else "7.4"), "what JetPack 6.0 and 5 take"
        assert entry["shared_bytes"] <= 99 * 1024, "of GPUs of capability 8.6, 8.9 and 12.0"
        assert entry["tiles"] == dataclasses.asdict(
            tiles(entry["dtype"], entry["tiles"]["dk"], entry["tiles"]["dv"], entry["capability"])
        )
    reads = [x["parameters"] for x in about["kernels"] if x["entry"] == "local_read"]
    kinds = {"i32": "u32", "fp32": "f32"}
    wanted = ["u64"] * len(READ_POINTERS) + [kinds[kind] for kind in READ_SCALARS.values()] + ["u64", "u64"]
    assert all(parameters == wanted for parameters in reads)
    files = [path for path in ptx_loader.FOLDER.iterdir() if path.name != "index.json"]
    assert {path.name for path in files} == {x["file"] for x in about["kernels"]}
    assert sum(path.stat().st_size for path in ptx_loader.FOLDER.iterdir()) < 300_000


def test_programs_cover_all_queries() -> None:
    cut = tiles("float16", 16, 64)
    assert Grid.of((45, 60), 45, 60, 1, 4).read_programs(cut, 2) == (6 * 8, 1, 2)
    assert Grid.of((65,), 45, 60, 3, 4).read_programs(cut, 1) == (2, 3, 1)
    assert Grid.of((8, 8), 8, 8, 1, 1).read_programs(tiles("float16", 128, 2048), 1) == (1, 8, 1)
    assert Grid.of((5, 5), 5, 5, 2, 2).merge_programs(cut) == (4, 1, 1)


def test_parts_are_of_one_size_where_they_can_be() -> None:
    cut = tiles("float16", 16, 64)
    assert [Grid.of((64, 128), 64, 128, 1, slots).parts(cut, 132) for slots in (1, 2, 3, 4, 8)] == [1, 2, 3, 4, 4]
    assert Grid.of((64, 128), 64, 128, 1, 4).parts(cut, 16) == 1  # an Orin is full without a split
    assert Grid.of((64, 128), 64, 128, 1, 4).parts(cut, 90) == 2  # not 3, one of which would have two slots


def test_tiles_fit_any_channels() -> None:
    for dtype in ("float16", "bfloat16", "float32"):
        for dk, dv in ((1, 1), (16, 64), (21, 77), (128, 2048), (100, 768)):
            cut = tiles(dtype, dk, dv)
            constants = cut.read_constants()
            assert constants["DK_BLOCK"] >= max(16, dk)
            assert cut.chunks * cut.dv_block >= dv
            assert all(size & (size - 1) == 0 for name, size in constants.items() if name not in ("DK", "DV"))
