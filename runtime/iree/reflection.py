# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Artefacts that say what is in them: written into a module before it is compiled, read from the .vmfb.

IREE's own files name neither the types of functions nor the device that they were compiled for.
"""

import json
from dataclasses import dataclass

import iree.runtime

from flambeau.dialects.bindings import ir
from flambeau.runtime.backends import Backend
from flambeau.runtime.devices import vm_instance
from flambeau.runtime.devices.targets import Target
from flambeau.runtime.errors import LoadError
from flambeau.runtime.iree.keep_arguments import FunctionSignature

__all__ = ["Description", "describe", "read_description"]

_KEY = "flambeau"


@dataclass(frozen=True)
class Description:
    """What an artefact is.

    backend: the name of the backend that it was compiled for.
    device: the value of `--iree-hal-target-device`.
    cpu_features: what the CPU must have.
    functions: the signatures of its public functions by name.
    """

    backend: str
    device: str
    cpu_features: tuple[str, ...]
    functions: dict[str, FunctionSignature]


def describe(module: ir.Module, backend: Backend, target: Target) -> None:
    """Note on each public function its types, and what it is compiled for. In the last step before the compiler."""
    with module.context:
        for op in module.body.operations:
            if op.operation.name == "func.func" and "sym_visibility" not in op.attributes:
                type_ = ir.FunctionType(ir.TypeAttr(op.attributes["function_type"]).value)
                record = {
                    "backend": backend.name,
                    "device": target.device,
                    "cpu_features": target.cpu_features,
                    "arguments": [str(t) for t in type_.inputs],
                    "results": [str(t) for t in type_.results],
                }
                text = ir.StringAttr.get(json.dumps(record))
                op.attributes["iree.reflection"] = ir.DictAttr.get({_KEY: text})


def read_description(vmfb: bytes) -> Description:
    """The description in an artefact. LoadError if it is none of IREE's, or `flambeau-compile` has not written it."""
    try:
        module = iree.runtime.VmModule.copy_buffer(vm_instance(), vmfb)
    except (RuntimeError, ValueError) as error:
        raise LoadError(f"not an artefact of IREE's: {error}") from error
    texts = {name: module.lookup_function(name).reflection.get(_KEY) for name in module.function_names}
    records = {name: json.loads(text) for name, text in texts.items() if text and "$" not in name}
    if not records:
        raise LoadError("the artefact does not say what its functions take: compile it with flambeau-compile")
    functions = {
        name: FunctionSignature(tuple(record["arguments"]), tuple(record["results"]))
        for name, record in records.items()
    }
    any_ = next(iter(records.values()))
    return Description(any_["backend"], any_["device"], tuple(any_["cpu_features"]), functions)
