# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Packages: what they compute without PyTorch, what they take and refuse, what cannot be exported."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pytest
import torch
import torch.utils._pytree as pytree
from torch import nn
from torch.export import Dim

import flambeau
from flambeau.runtime import devices
from flambeau.runtime.package.standalone import Model
from tests.models.transformers import GPT2, VOCABULARY

needs_vulkan = pytest.mark.skipif(
    not any(device.driver == "vulkan" for device in devices.available_devices()),
    reason="no Vulkan device; Debian's mesa-vulkan-drivers has a software one",
)

# Runs a package's own loader in a process that has neither PyTorch nor Flambeau.
LOADER = """
import sys
for name in ("torch", "torch_mlir", "flambeau"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
import run
run.main()
"""


class Attention(nn.Module):
    """A layer of several outputs, with a mask that may be left out, and a constant of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(8, 16)
        self.norm = nn.BatchNorm1d(16)
        self.scale = torch.arange(16.0)
        self.register_buffer("flags", torch.tensor([True, False] * 8))

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, Any]:
        h = self.norm(self.query(x)) * self.scale
        h = torch.where(self.flags, h, -h)
        if mask is not None:
            h = h.masked_fill(mask, 0.0)
        y = nn.functional.scaled_dot_product_attention(h[None], h[None], h[None])[0]
        return {"y": y, "parts": (h.double().mean(), [x.shape[0], None])}


def numpies(values: Sequence[torch.Tensor]) -> list[Any]:
    return [value.numpy() for value in values]


def assert_close(found: Any, expected: torch.Tensor) -> None:
    assert found.dtype == expected.numpy().dtype
    torch.testing.assert_close(torch.from_numpy(found), expected)


def run_without_torch(
    package: Path, arrays: Sequence[Any], folder: Path, python: str = sys.executable
) -> list[Any]:
    """What the package's own loader computes in another process."""
    folder.mkdir()
    for index, array in enumerate(arrays):
        numpy.save(folder / f"in{index}.npy", array)
    files = [str(folder / f"in{index}.npy") for index in range(len(arrays))]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        [python, "-c", LOADER, str(package / "run.py"), *files, "--output", str(folder)],
        check=True,
        env=environment,
        cwd=folder,
    )
    return [numpy.load(folder / f"{i}.npy") for i in range(len(list(folder.glob("[0-9]*.npy"))))]


class Exported(NamedTuple):
    module: nn.Module
    package: Path


@pytest.fixture(scope="module")
def attention(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Exported with a dynamic batch."""
    torch.manual_seed(0)
    module = Attention().eval()
    batch = Dim("batch", max=64)
    path = flambeau.export(
        module,
        (torch.randn(4, 8),),
        {"mask": torch.rand(4, 16) > 0.5},
        path=tmp_path_factory.mktemp("packages") / "attention",
        dynamic_shapes={"x": {0: batch}, "mask": {0: batch}},
    )
    return Exported(module, path)


@pytest.mark.parametrize("size", [4, 1, 64])
def test_equals_eager(attention: Exported, size: int) -> None:
    x, mask = torch.randn(size, 8), torch.rand(size, 16) > 0.5
    with torch.no_grad():
        expected = attention.module(x, mask)
    found = Model(attention.package)(x.numpy(), mask=mask.numpy())
    assert_close(found["y"], expected["y"])
    mean, (count, nothing) = found["parts"]
    assert_close(mean, expected["parts"][0])
    assert (count, nothing) == (size, None)


def test_runs_without_pytorch(attention: Exported, tmp_path: Path) -> None:
    x, mask = torch.randn(3, 8), torch.rand(3, 16) > 0.5
    with torch.no_grad():
        expected = attention.module(x, mask)
    y, mean, count = run_without_torch(attention.package, numpies([x, mask]), tmp_path / "run")
    assert_close(y, expected["y"])
    assert_close(mean, expected["parts"][0])
    assert count == 3


@pytest.mark.parametrize(
    ("x", "mask", "error", "message"),
    [
        (numpy.zeros((3, 8), "f8"), numpy.zeros((3, 16), bool), TypeError, r"'x' is float32, got float64"),
        (
            numpy.zeros((3, 9), "f4"),
            numpy.zeros((3, 16), bool),
            ValueError,
            r"'x' has the shape \['batch', 8\]",
        ),
        (numpy.zeros((3, 8), "f4"), numpy.zeros((4, 16), bool), ValueError, r"'mask' has .* got \[4, 16\]"),
        (numpy.zeros((65, 8), "f4"), numpy.zeros((65, 16), bool), ValueError, r"batch is 65, from 1 to 64"),
        (numpy.zeros((0, 8), "f4"), numpy.zeros((0, 16), bool), ValueError, r"from 1 to 64"),
        (numpy.zeros(8, "f4"), numpy.zeros((1, 16), bool), ValueError, r"'x' has the shape"),
    ],
)
def test_inputs_are_checked(
    attention: Exported, x: Any, mask: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Model(attention.package)(x, mask)


def test_inputs_are_named(attention: Exported) -> None:
    model = Model(attention.package)
    for arguments, named in (([], {}), ([1, 2, 3], {}), ([1], {"x": 2}), ([1], {"other": 2})):
        with pytest.raises(TypeError, match="the inputs are: x, mask; got"):
            model(*arguments, **named)


def test_another_cpu_is_refused(attention: Exported, tmp_path: Path) -> None:
    """Before code runs that would end the process."""
    (tmp_path / "package").mkdir()
    for file in attention.package.iterdir():
        (tmp_path / "package" / file.name).write_bytes(file.read_bytes())
    file = tmp_path / "package" / "signature.json"
    signature = json.loads(file.read_text())
    signature["target"]["cpu_features"].append("avx9000")
    file.write_text(json.dumps(signature))
    with pytest.raises(RuntimeError, match="lacks avx9000"):
        Model(tmp_path / "package")


class Everything(nn.Module):
    """Takes and gives every dtype, with parameters of every dtype."""

    def __init__(self) -> None:
        super().__init__()
        for name, dtype in DTYPES.items():
            value = torch.tensor([0, 1, 2, 3]).to(dtype)
            self.register_buffer(f"of_{name}", value)

    def forward(self, *inputs: torch.Tensor) -> list[torch.Tensor]:
        pairs = zip(inputs, DTYPES, strict=True)
        added = ((x, getattr(self, f"of_{name}")) for x, name in pairs)
        return [x ^ y if x.dtype == torch.bool else x + y for x, y in added]


DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.bool,
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
    )
}


def test_dtypes(tmp_path: Path) -> None:
    module = Everything()
    inputs = [torch.tensor([1, 0, 200, 7]).to(dtype) for dtype in DTYPES.values()]
    model = Model(flambeau.export(module, tuple(inputs), path=tmp_path / "package"))
    arrays = [x.float().numpy().astype(name) for name, x in zip(DTYPES, inputs, strict=True)]
    results = model(*arrays)
    for name, found, expected in zip(DTYPES, results, module(*inputs), strict=True):
        assert found.dtype == name
        assert (found.astype("f8") == expected.double().numpy()).all(), name


class Counter(nn.Module):
    """Has state: how often it was called, and the sum so far."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.tensor(10))
        self.register_buffer("total", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.calls.add_(1)
        self.total += x
        return self.calls, self.total


@pytest.mark.parametrize("functional", [False, True])
def test_state_stays_from_call_to_call(tmp_path: Path, functional: bool) -> None:
    program = torch.export.export(Counter(), (torch.ones(3),))
    program = program.run_decompositions({}) if functional else program
    path = flambeau.export(program, path=tmp_path / "package")
    model, other = Model(path), Model(path)
    assert model.signature["state"] == ["calls", "total"]
    results = [model(numpy.full(3, v, "f4")) for v in (1, 2, 3)]
    assert [int(calls) for calls, _ in results] == [11, 12, 13]
    assert [total.tolist() for _, total in results] == [[1] * 3, [3] * 3, [6] * 3]
    assert int(other(numpy.ones(3, "f4"))[0]) == 11  # a loaded package is a copy of its own


def test_arguments_are_left_alone(tmp_path: Path) -> None:
    class Scatter(nn.Module):
        def forward(self, x: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
            return x.index_put((i,), torch.ones(()))

    x, i = numpy.zeros(5, "f4"), numpy.array([1, 3])
    path = flambeau.export(Scatter(), (torch.from_numpy(x), torch.from_numpy(i)), path=tmp_path / "p")
    assert Model(path)(x, i).tolist() == [0, 1, 0, 1, 0]
    assert not x.any()


def test_layout_of_the_example_does_not_matter(tmp_path: Path) -> None:
    class Storage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("odd", torch.randn(4, 6)[:, ::2])
            self.register_buffer("none", torch.zeros(0, 3))

        def forward(self, x: torch.Tensor) -> list[Any]:
            return [x.as_strided((2, 2), (1, 3)), self.odd * 2, torch.cat([self.none, x])]

    module, x = Storage(), torch.randn(3, 5).t()
    model = Model(flambeau.export(module, (x,), path=tmp_path / "package"))
    for found, expected in zip(model(x.numpy()), module(x.contiguous()), strict=True):
        assert_close(found, expected)


def test_random_programs_take_a_seed(tmp_path: Path) -> None:
    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.rand_like(x)

    model = Model(flambeau.export(Noisy(), (torch.zeros(100),), path=tmp_path / "package"))
    x, seed = numpy.zeros(100, "f4"), numpy.array([1, 2], "i4")
    first = model(x, seed)
    assert (model(x, seed=seed) == first).all()
    assert (model(x, seed + 1) != first).any()
    assert 0 <= first.min() < 0.1 < 0.9 < first.max() < 1


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(200, 50), nn.Linear(50, 200, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.head(self.embed(ids))
            return result

    module, ids = Tied(), torch.tensor([1, 2, 3])
    path = flambeau.export(module, (ids,), path=tmp_path / "package")
    assert (path / "weights.irpa").stat().st_size < 1.5 * module.embed.weight.nbytes
    assert_close(Model(path)(ids.numpy()), module(ids).detach())


# --- Sizes -----------------------------------------------------------------------------------------------------------


class LooksAtSize(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 3 if x.shape[0] == 1 else x * 2


class Squeezes(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 2).squeeze()


@pytest.mark.parametrize("module", [LooksAtSize(), Squeezes()], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("declared", [Dim("batch"), Dim.AUTO], ids=str)
def test_size_one_is_refused_where_it_is_special(module: nn.Module, declared: Any, tmp_path: Path) -> None:
    path = flambeau.export(
        module, (torch.ones(4, 3),), path=tmp_path / "package", dynamic_shapes={"x": {0: declared}}
    )
    model = Model(path)
    assert (model(numpy.ones((2, 3), "f4")) == 2).all()
    with pytest.raises(ValueError, match="from 2 to any"):
        model(numpy.ones((1, 3), "f4"))


@pytest.mark.parametrize("saved", [False, True])
def test_exported_programs(saved: bool, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU())
    program = torch.export.export(module, (torch.ones(3, 4),), dynamic_shapes=({0: Dim("n", max=9)},))
    if saved:
        torch.export.save(program, tmp_path / "program.pt2")
        program = torch.export.load(tmp_path / "program.pt2")
    model = Model(flambeau.export(program, path=tmp_path / "package"))
    for size in (1, 5, 9):
        x = torch.randn(size, 4)
        assert_close(model(x.numpy()), module(x).detach())


def test_sizes_may_follow_from_others(tmp_path: Path) -> None:
    class Pairs(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return x.view(-1, 2) + y[:, None]

    n = Dim("n", min=2, max=50)
    module, example = Pairs(), (torch.ones(8), torch.ones(4))
    path = flambeau.export(module, example, path=tmp_path / "p", dynamic_shapes=({0: 2 * n}, {0: n}))
    model = Model(path)
    x, y = torch.randn(12), torch.randn(6)
    assert_close(model(x.numpy(), y.numpy()), module(x, y))
    with pytest.raises(ValueError, match=r"was compiled for sizes with .*2\*n"):
        model(x.numpy(), y[:5].numpy())


def test_conditions_are_checked(tmp_path: Path) -> None:
    class Halves(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x * 2 if x.shape[0] % 3 == 0 else x
            return y * (5 if x.shape[0] > 10 else 7)

    path = flambeau.export(
        Halves(), (torch.ones(6),), path=tmp_path / "package", dynamic_shapes={"x": {0: Dim.DYNAMIC}}
    )
    model = Model(path)
    assert (model(numpy.ones(9, "f4")) == 14).all()
    for size in (8, 12):
        with pytest.raises(ValueError, match=r"from 2 to 10|was compiled for sizes with"):
            model(numpy.ones(size, "f4"))


def test_full_length_is_not_special(tmp_path: Path) -> None:
    """A buffer cut to the length of the input: PyTorch notes that it is not as long as the buffer."""

    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.arange(8.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.table[: x.shape[1]]  # type: ignore[index]

    module = Positions()
    shapes = {"x": {0: Dim.AUTO, 1: Dim.AUTO}}
    model = Model(flambeau.export(module, (torch.ones(2, 5),), path=tmp_path / "p", dynamic_shapes=shapes))
    for size in ((2, 8), (1, 1), (3, 7)):
        assert_close(model(numpy.ones(size, "f4")), module(torch.ones(size)))


# --- Refusals --------------------------------------------------------------------------------------------------------


class Eigenvalues(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        return torch.linalg.eigvalsh(y)


class WritesInput(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.add_(1) * 2


class SharedState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("whole", torch.zeros(4, 4))
        self.register_buffer("row", self.whole[0])  # type: ignore[index]

    def forward(self, x: torch.Tensor) -> Any:
        self.whole.add_(1)  # type: ignore[operator]
        return x + self.row, self.whole


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Eigenvalues(), r"test_export.py:\d+: cannot capture 'aten._linalg_eigh.default': .* no PyTorch"),
        (WritesInput(), "input x.*return the new value instead"),
        (SharedState(), "whole.*shares memory with row"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_refused(module: nn.Module, message: str, tmp_path: Path) -> None:
    with pytest.raises(flambeau.CompilationError, match=message):
        flambeau.export(module, (torch.ones(4, 4),), path=tmp_path / "package")
    assert not (tmp_path / "package").exists()


def test_wrong_arguments(tmp_path: Path) -> None:
    x = torch.ones(3)
    with pytest.raises(ValueError, match="no target 'sm_80'; valid: host, x86-64"):
        flambeau.export(nn.ReLU(), (x,), path=tmp_path / "package", target="sm_80")
    with pytest.raises(ValueError, match="does not compile with IREE"):
        flambeau.export(nn.ReLU(), (x,), path=tmp_path / "package", backend="functional")
    with pytest.raises(TypeError, match=r"nn\.Module or an ExportedProgram, not function"):
        flambeau.export(lambda x: x, (x,), path=tmp_path / "package")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="has its arguments"):
        flambeau.export(torch.export.export(nn.ReLU(), (x,)), (x,), path=tmp_path / "package")


def test_only_packages_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "precious").write_text("x")
    with pytest.raises(FileExistsError, match="is no package"):
        flambeau.export(nn.ReLU(), (torch.ones(3),), path=tmp_path / "notes")
    for module in (nn.ReLU(), nn.Tanh()):
        path = flambeau.export(module, (torch.ones(3),), path=tmp_path / "package")
    assert_close(Model(path)(numpy.ones(3, "f4")), torch.ones(3).tanh())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes", "package"]


# --- Other targets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "target", "magic"),
    [
        ("cpu", "x86-64-v3", b"\x7fELF"),
        ("cpu", "aarch64", b"\x7fELF"),
        ("cuda", "sm_80", b".target sm_80"),
        ("vulkan", "subgroup-32", b"\x03\x02\x23\x07"),
    ],
)
def test_cross_targets(backend: str, target: str | None, magic: bytes, tmp_path: Path) -> None:
    module, x = nn.Linear(4, 3), torch.ones(2, 4)
    path = flambeau.export(module, (x,), path=tmp_path / "package", backend=backend, target=target)
    code = (path / "model.vmfb").read_bytes()
    assert magic in code
    assert (b"aarch64" in code) == (target == "aarch64")


@needs_vulkan
def test_on_vulkan(attention: Exported, tmp_path: Path) -> None:
    batch = Dim("batch", max=64)
    path = flambeau.export(
        attention.module,
        (torch.randn(4, 8),),
        {"mask": torch.rand(4, 16) > 0.5},
        path=tmp_path / "package",
        backend="vulkan",
        dynamic_shapes={"x": {0: batch}, "mask": {0: batch}},
    )
    for size in (5, 1):
        x, mask = torch.randn(size, 8), torch.rand(size, 16) > 0.5
        with torch.no_grad():
            expected = attention.module(x, mask)
        y, mean, count = run_without_torch(path, numpies([x, mask]), tmp_path / f"run{size}")
        assert_close(y, expected["y"])
        assert_close(mean, expected["parts"][0])
        assert count == size


@needs_vulkan
def test_another_gpu_is_refused(tmp_path: Path) -> None:
    """By what it computes; the software device has subgroups of 4 or 8."""
    path = flambeau.export(
        nn.Linear(4, 3),
        (torch.ones(2, 4),),
        path=tmp_path / "package",
        backend="vulkan",
        target="subgroup-64",
    )
    with pytest.raises(RuntimeError, match="computes wrong numbers"):
        Model(path)


@pytest.mark.slow
def test_gpt2_of_any_batch_and_length(tmp_path: Path) -> None:
    """Up to its 32 positions, 1 and 32 included, which the model's causal buffer makes special to PyTorch."""
    module = GPT2().eval()
    shapes = ({0: Dim.AUTO, 1: Dim.AUTO},)
    ids = torch.randint(0, VOCABULARY, (3, 7))
    model = Model(flambeau.export(module, (ids,), path=tmp_path / "package", dynamic_shapes=shapes))
    for size in ((1, 1), (3, 32), (1, 32), (40, 5)):
        ids = torch.randint(0, VOCABULARY, size)
        with torch.no_grad():
            expected = pytree.tree_leaves(module(ids))
        for found, wanted in zip(model.flat(ids.numpy()), expected, strict=True):
            assert_close(found, wanted)


@pytest.mark.slow
def test_in_an_environment_without_pytorch(attention: Exported, tmp_path: Path) -> None:
    """A fresh environment with the runtime and numpy, as on the machine that a package is shipped to."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    packages = ["iree-base-runtime==3.13.0", "numpy>=2"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    x, mask = torch.randn(3, 8), torch.rand(3, 16) > 0.5
    with torch.no_grad():
        expected = attention.module(x, mask)
    y, _, _ = run_without_torch(attention.package, numpies([x, mask]), tmp_path / "run", python)
    assert_close(y, expected["y"])
