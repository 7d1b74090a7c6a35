# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The samples of a family as compiled functions: lower-to-torch, then IREE for the CPU, one artefact for all of them."""

import functools
from collections.abc import Sequence
from typing import Any

import torch

from flambeau.dialects.bindings import ir
from flambeau.dialects.opdef import Lowering
from flambeau.pipelines.decompose import Decompose
from flambeau.pipelines.lower_to_torch import LowerToTorch
from tests.dialects.sample import Sample, add_function


def function_name(index: int, dynamic: bool) -> str:
    return f"{'dynamic' if dynamic else 'static'}_{index}"


def lowered_text(samples: Sequence[tuple[int, Sample, bool]]) -> str:
    """The torch dialect module with one function per (index, sample, dynamic)."""
    module = ir.Module.create()
    for index, sample, dynamic in samples:
        add_function(module, function_name(index, dynamic), sample, sample.values(), dynamic=dynamic)
    Decompose(before="lowering").run(module)
    LowerToTorch().run(module)
    return str(module)


class CompiledFamily:
    """Compiles all samples together on first use, or one by one if that fails, so that one bad op fails alone."""

    def __init__(self, samples: Sequence[Sample]):
        self._samples = samples

    @functools.cached_property
    def _together(self) -> Any:
        every = [
            (index, sample, dynamic)
            for index, sample in enumerate(self._samples)
            for dynamic in (False, True)
            if sample.lower and sample.cls.lowering is not Lowering.NONE and (sample.dynamic or not dynamic)
        ]
        try:
            return load(lowered_text(every))
        except Exception:  # noqa: BLE001  (whatever it is, the sample that causes it raises it again alone)
            return None

    def call(self, index: int, dynamic: bool, arguments: Sequence[Any], like: Sequence[Any]) -> list[Any]:
        """Results of a sample's function; `like` says their dtypes."""
        loaded = self._together or load(lowered_text([(index, self._samples[index], dynamic)]))
        return loaded(function_name(index, dynamic), arguments, like)


FLAGS = (
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=host",
    "--iree-opt-level=O2",
    "--iree-input-demote-f64-to-f32=false",
)


def load(text: str) -> Any:
    """Compile a torch dialect module; call the result with function name, arguments and tensors like the results."""
    import iree.compiler.tools as compiler  # noqa: PLC0415
    import iree.runtime as rt  # noqa: PLC0415

    binary = compiler.compile_str(text, input_type="torch", extra_args=list(FLAGS))
    instance = rt.VmInstance()
    device = rt.get_driver("local-sync").create_default_device()
    modules = [rt.create_hal_module(instance, device), rt.VmModule.copy_buffer(instance, binary)]
    context = rt.VmContext(instance, modules)

    def aligned(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.detach().clone(memory_format=torch.contiguous_format)

    def call(name: str, arguments: Sequence[Any], like: Sequence[Any]) -> list[Any]:
        inputs, outputs = rt.VmVariantList(len(arguments)), rt.VmVariantList(len(like))
        keep = [aligned(a) if isinstance(a, torch.Tensor) else a for a in arguments]
        for argument in keep:
            if isinstance(argument, int):
                inputs.push_int(argument)
            else:
                inputs.push_ref(device.from_dlpack_capsule(torch.utils.dlpack.to_dlpack(argument)))
        context.invoke(modules[1].lookup_function(name), inputs, outputs)
        results = []
        for index, expected in enumerate(like):
            view = outputs.get_as_object(index, rt.HalBufferView)
            result = torch.from_dlpack(device.create_dlpack_capsule(view, 1, 0)).clone()
            if result.dtype != expected.dtype:
                result = result.view(expected.dtype)
            results.append(result)
        for position, (given, kept) in enumerate(zip(arguments, keep, strict=True)):
            overwritten = isinstance(given, torch.Tensor) and not torch.equal(_bits(given), _bits(kept))
            assert not overwritten, f"{name} wrote into its argument {position}"
        return results

    return call


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8) if tensor.numel() else tensor.detach()
