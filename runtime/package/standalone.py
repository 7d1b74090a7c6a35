# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs a package that `flambeau.export` wrote: numpy arrays in and out. Needs iree-base-runtime and numpy, no more.

A copy of this file is `run.py` in every package: `python run.py x.npy y.npy`, or `from run import Model`.
"""

import argparse
import json
import math
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import iree.runtime as rt
import numpy as np

_AGAIN = "export the program for this machine (target=)"
_STACK = 2 << 20  # bytes per worker thread; compiled code may take half of it, and IREE's default is 128 KiB
_HOST = rt.MemoryType.HOST_LOCAL | rt.MemoryType.DEVICE_VISIBLE


class Model:
    """A loaded package. Call it with arrays, by position or by name; what the program returns comes back.

    One call at a time: a context of IREE's must not be entered by two threads.
    """

    def __init__(self, folder: str | Path, device: str | None = None) -> None:
        """`device`: IREE's name of one, such as `local-sync` or `vulkan://1`, in place of the package's own.

        RuntimeError if this machine is not the one that the package was made for.
        """
        folder = Path(folder)
        self.signature: dict[str, Any] = json.loads((folder / "signature.json").read_text())
        _check_cpu(self.signature["target"]["cpu_features"])
        rt.flags.parse_flags(f"--task_worker_stack_size={_STACK}")
        self._device = rt.get_device(device or self.signature["driver"])
        instance = rt.VmInstance()
        weights = rt.ParameterIndex()
        weights.load(str(folder / "weights.irpa"))
        hal = rt.create_hal_module(instance, self._device)
        archive = rt.create_io_parameters_module(instance, weights.create_provider("model"))
        self._module = rt.VmModule.mmap(instance, str(folder / "model.vmfb"))
        self._context = rt.VmContext(instance, [hal, archive, self._module])
        if self.signature["self_check"]:
            self._check_device()

    def __call__(self, *arrays: Any, **named: Any) -> Any:
        """Run once. TypeError for a missing or unknown input and a wrong dtype, ValueError for a wrong shape."""
        return _rebuilt(self.signature["structure"], self.flat(*arrays, **named))

    def flat(self, *arrays: Any, **named: Any) -> list[Any]:
        """Run once; the arrays and integers that come out, without the containers that they are in."""
        specs = self.signature["inputs"]
        names = [spec["name"] for spec in specs]
        given = dict(zip(names, arrays, strict=False)) | named
        if len(arrays) + len(named) != len(names) or given.keys() != set(names):
            got = f"{len(arrays)} by position, {', '.join(named) or 'none'} by name"
            raise TypeError(f"the inputs are: {', '.join(names) or 'none'}; got {got}")
        inputs = [np.asarray(given[name]) for name in names]
        self._check(inputs)
        dtypes = [spec["dtype"] for spec in self.signature["outputs"]]
        return self._call(self.signature["function"], inputs, dtypes)

    def _check(self, inputs: list[Any]) -> None:
        """Compiled code trusts its caller: refuse what it was not compiled for."""
        bounds, sizes = self.signature["symbols"], dict[str, int]()
        for spec, array in zip(self.signature["inputs"], inputs, strict=True):
            what, dims = f"input {spec['name']!r}", spec["shape"]
            if array.dtype != spec["dtype"]:
                expected = spec["dtype"]
                raise TypeError(
                    f"{what} is {expected}, got {array.dtype}: convert it with .astype({expected!r})"
                )
            fits = array.ndim == len(dims)
            for size, dim in zip(array.shape, dims, strict=False):
                low, high = bounds[dim] if isinstance(dim, str) else (dim, dim)
                known = sizes.setdefault(dim, size) if isinstance(dim, str) else dim
                fits = fits and size == known and low <= size and (high is None or size <= high)
            if not fits:
                where = (f"; {s} is {sizes.get(s)}, from {a} to {b or 'any'}" for s, (a, b) in bounds.items())
                raise ValueError(f"{what} has the shape {dims}, got {list(array.shape)}{''.join(where)}")
        for condition in self.signature["conditions"]:
            if not _value(condition, sizes):
                raise ValueError(f"the program was compiled for sizes with {condition}, got {sizes}")

    def _call(self, name: str, arrays: list[Any], dtypes: list[str]) -> list[Any]:
        """Call a compiled function. It also returns its arguments, which nobody reads."""
        arguments, results = rt.VmVariantList(len(arrays)), rt.VmVariantList(len(dtypes) + len(arrays))
        for array in arrays:
            arguments.push_ref(rt.asdevicearray(self._device, array)._buffer_view.ref)
        self._context.invoke(self._module.lookup_function(name), arguments, results)
        return [self._to_host(results, index, dtype) for index, dtype in enumerate(dtypes)]

    def _to_host(self, results: Any, index: int, dtype: str) -> Any:
        if dtype == "int":
            return results.get_variant(index)
        view = results.get_as_object(index, rt.HalBufferView)
        if not view.byte_length:
            return np.empty(view.shape, dtype)
        # By way of memory that both sides see; IREE 3.13's own way misaligns it on some Vulkan devices.
        usage = rt.BufferUsage.TRANSFER | rt.BufferUsage.MAPPING
        staging = self._device.allocator.allocate_buffer(int(_HOST), int(usage), view.byte_length)
        copied = self._device.create_semaphore(0)
        self._device.queue_copy(view.get_buffer(), staging, [], [(copied, 1)])
        copied.wait(1)
        content = staging.map().asarray([view.byte_length], np.dtype(np.uint8)).copy()
        return content.view(dtype).reshape(view.shape)  # not IREE's dtype, which knows no signs

    def _check_device(self) -> None:
        """RuntimeError for a GPU with other subgroups than were compiled for: it computes wrong numbers."""
        shapes = ((2, 64), (64, 10), (4, 1024), (4, 128))
        a, b, c, d = (1 + np.sin(np.arange(m * n, dtype=np.float32)).reshape(m, n) for m, n in shapes)
        softmax = np.exp(d) / np.exp(d).sum(1, keepdims=True)
        checks = (("matmul", [a, b], a @ b), ("row_sum", [c], c.sum(1)), ("softmax", [d], softmax))
        for name, arrays, expected in checks:
            (result,) = self._call(f"self_check_{name}", arrays, ["float32"])
            if not np.allclose(result, expected, rtol=0, atol=1e-5 * np.abs(expected).max()):
                raise RuntimeError(f"this device computes wrong numbers ({name}); {_AGAIN}")


def _check_cpu(features: list[str]) -> None:
    """RuntimeError if this CPU lacks instructions that the code has: they would end the process."""
    cpuinfo = Path("/proc/cpuinfo")
    missing = sorted(set(features) - set(cpuinfo.read_text().split())) if cpuinfo.exists() else []
    if missing:
        raise RuntimeError(f"this CPU lacks {', '.join(missing)}; {_AGAIN}")


_OPERATORS: dict[str, Callable[..., Any]] = {
    "+": lambda *parts: sum(parts),
    "*": lambda *parts: math.prod(parts),
    "and": lambda *parts: all(parts),
    "or": lambda *parts: any(parts),
    "not": operator.not_,
    "//": operator.floordiv,
    "%": operator.mod,
    "max": max,
    "min": min,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _value(formula: Any, sizes: dict[str, int]) -> Any:
    """The value of a number, a symbol, or [operator, operands...]."""
    if isinstance(formula, list):
        return _OPERATORS[formula[0]](*(_value(part, sizes) for part in formula[1:]))
    return sizes[formula] if isinstance(formula, str) else formula


def _rebuilt(structure: Any, values: list[Any]) -> Any:
    """The program's result: positions of `values` in tuples, lists and dicts, and constants."""
    if isinstance(structure, int):
        return values[structure]
    ((kind, content),) = structure.items()
    if kind == "constant":
        return content
    if kind == "dict":
        return {key: _rebuilt(part, values) for key, part in content.items()}
    parts = [_rebuilt(part, values) for part in content]
    return tuple(parts) if kind == "tuple" else parts


def main() -> None:
    """Run the package that this file lies in."""
    parser = argparse.ArgumentParser(description="Run this package on .npy files.")
    parser.add_argument("inputs", nargs="*", help="one .npy file per input")
    parser.add_argument("--device", help="IREE's name of a device, for example local-sync or vulkan")
    parser.add_argument(
        "--output", metavar="FOLDER", type=Path, help="write the results to FOLDER/<index>.npy"
    )
    args = parser.parse_args()
    model = Model(Path(__file__).parent, args.device)
    for index, value in enumerate(model.flat(*map(np.load, args.inputs))):
        print(f"result {index}: {getattr(value, 'dtype', 'int')} {list(np.shape(value))}\n{value}")
        if args.output:
            args.output.mkdir(parents=True, exist_ok=True)
            np.save(args.output / f"{index}.npy", value)


if __name__ == "__main__":
    main()
