# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Module text or bytecode in, IREE artefact out; a failure or crash of the compiler becomes a CompileError.

The compiler runs as a child process: that costs 20 to 50 ms per module against calling it in this process, and in
return a crash harms nobody and its diagnostics can be read (IREE's Python API prints them to the console).
"""

import dataclasses
import importlib.util
import os
import re
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flambeau.runtime.backends import Backend
from flambeau.runtime.counters import counters
from flambeau.runtime.devices import target_flags
from flambeau.runtime.errors import CompileError
from flambeau.runtime.iree.keep_arguments import FunctionSignature, keep_arguments

__all__ = ["LADDERS", "Artefact", "Attempt", "Rung", "compile_module"]

# For every target.
_COMMON_FLAGS = (
    "--iree-input-type=torch",
    "--iree-input-demote-f64-to-f32=false",  # by default IREE makes f64 into f32, in the signature too
)

DATA_TILING = "--iree-opt-data-tiling"


@dataclass(frozen=True)
class Rung:
    """One way to compile: flags to add, flags of the caller to leave out."""

    name: str
    flags: tuple[str, ...]
    without: tuple[str, ...] = ()


# Up to 1 MiB of stack per work group: attention and scatter want more than the 32 KiB that are allowed by default.
# devices.py gives the worker threads enough.
_CPU_STACK = "--iree-llvmcpu-stack-allocation-limit=1048576"
_CPU_O2 = ("--iree-opt-level=O2", "--iree-dispatch-creation-enable-split-reduction", _CPU_STACK)

_NO_FUSION = "--iree-dispatch-creation-enable-aggressive-fusion=false"

# What to try, fastest code first; a module goes down until one compiles. O2 is twice as fast as O0 on softmax and
# norms, and fails on some graphs that O0 takes; aggressive fusion is the better half of it.
LADDERS: dict[str, tuple[Rung, ...]] = {
    "llvm-cpu": (
        Rung("O2", _CPU_O2),
        Rung("O2-no-data-tiling", _CPU_O2, without=(DATA_TILING,)),
        Rung("O2-no-fusion", (*_CPU_O2, _NO_FUSION), without=(DATA_TILING,)),
        Rung(
            "O0-fusion",
            ("--iree-opt-level=O0", "--iree-dispatch-creation-enable-aggressive-fusion", _CPU_STACK),
            without=(DATA_TILING,),
        ),
        Rung("O0", ("--iree-opt-level=O0", _CPU_STACK), without=(DATA_TILING,)),
    ),
    # On a GPU a matrix product that is fused with a pointwise op and a reduction, both of which are results, comes out
    # wrong (IREE 3.13, seen on Vulkan): never aggressive fusion.
    "vulkan-spirv": (
        Rung("O2-no-fusion", ("--iree-opt-level=O2", _NO_FUSION)),
        Rung("O0", ("--iree-opt-level=O0",)),
    ),
    "cuda": (
        Rung("O2-no-fusion", ("--iree-opt-level=O2", _NO_FUSION)),
        Rung("O0", ("--iree-opt-level=O0",)),
    ),
}
_DEFAULT_LADDER = (Rung("default", ()),)

# Fused with what follows it, a reduction may keep its input on the stack. IREE bounds this buffer by multiplying sizes,
# and two unknown ones overflow: it compiles, overwrites memory and returns wrong numbers. With one it refuses.
_TWO_DYNAMIC_DIMS = re.compile(r"tensor<\[?[^>\]]*\?[^>\]]*\?")

# Failures that no flag mends: an op that the torch input path does not know, a flag that does not exist, a function of
# the C library that IREE does not bring.
_HOPELESS = re.compile(
    r"failed to legalize operation 'torch\.|is unknown|dialect .* not found|Unknown command line argument"
    r"|undefined symbol"
)


@dataclass(frozen=True)
class Attempt:
    """One run of the compiler: its rung, seconds, and the first diagnostic if it failed."""

    rung: str
    seconds: float
    failure: str = ""


@dataclass(frozen=True)
class Artefact:
    """A compiled module.

    vmfb: what IREE's runtime loads.
    functions: the signatures of its public functions by name.
    target: the value of `--iree-hal-target-device` it was compiled for.
    flags: all compiler flags of the rung that succeeded.
    attempts: the runs of the compiler, the successful one last.
    """

    vmfb: bytes = field(repr=False)
    functions: dict[str, FunctionSignature]
    target: str
    flags: tuple[str, ...]
    attempts: tuple[Attempt, ...]

    @property
    def rung(self) -> str:
        """The rung of the ladder that succeeded."""
        return self.attempts[-1].rung

    def facts(self) -> dict[str, Any]:
        """All but the vmfb, as JSON can write it."""
        facts = dataclasses.asdict(self)
        del facts["vmfb"]
        return facts

    @classmethod
    def of_facts(cls, vmfb: bytes, facts: Mapping[str, Any]) -> "Artefact":
        """The artefact that said `facts`."""
        functions = {
            name: FunctionSignature(tuple(f["arguments"]), tuple(f["results"]))
            for name, f in facts["functions"].items()
        }
        attempts = tuple(Attempt(**attempt) for attempt in facts["attempts"])
        return cls(vmfb, functions, facts["target"], tuple(facts["flags"]), attempts)


def compile_module(
    asm: str | bytes,
    backend: Backend,
    *,
    extra_flags: Sequence[str] = (),
    reproducer_dir: Path | str | None = None,
    timeout: float = 900.0,
) -> Artefact:
    """Compile a module whose functions have torch-dialect or builtin tensor types.

    `extra_flags` win over the ladder's and the backend's. The rung that succeeds is counted as `compile.<rung>`.
    CompileError if no rung succeeds; it reports the first rung's failure, and a reproducer is written to
    `reproducer_dir` (default: a new temporary folder). `timeout`: seconds per rung.
    """
    prepared = keep_arguments(asm)
    text = prepared.text
    failures: list[_Failure] = []
    attempts: list[Attempt] = []
    tried: set[tuple[str, ...]] = set()
    for rung in LADDERS.get(backend.target, _DEFAULT_LADDER):
        flags = _merge(
            _COMMON_FLAGS,
            target_flags(backend),
            backend.flags,
            rung.flags,
            (_NO_FUSION,) if _TWO_DYNAMIC_DIMS.search(text) else (),
            (flag for flag in extra_flags if flag not in rung.without),
        )
        if flags in tried:
            continue
        tried.add(flags)
        start = time.perf_counter()
        result = _run(text, flags, timeout)
        seconds = time.perf_counter() - start
        if isinstance(result, bytes):
            counters.add(f"compile.{rung.name}")
            attempts.append(Attempt(rung.name, seconds))
            return Artefact(result, prepared.functions, _value(flags, _TARGET), flags, tuple(attempts))
        attempts.append(Attempt(rung.name, seconds, result.summary))
        failures.append(result)
        if _HOPELESS.search(result.diagnostics):
            break
    counters.add("compile.failed")
    first = failures[0]
    reproducer, command = _write_reproducer(text, first, reproducer_dir)
    raise CompileError(
        f"IREE could not compile for backend {backend.name!r}: {first.summary}",
        op=first.op,
        location=first.location,
        diagnostics=first.diagnostics,
        reproducer=reproducer,
        command=command,
        attempts=tuple(attempt.rung for attempt in attempts),
    )


_TARGET = "--iree-hal-target-device"

# More compilers than cores only fight for memory.
_SLOTS = threading.BoundedSemaphore(os.cpu_count() or 1)

_ERROR = re.compile(
    r"^(?:(?P<place>[^\s:][^:\n]*:\d+:\d+): )?(?:error|iree-compile): (?P<text>.*)$", re.MULTILINE
)
_OP = re.compile(r"'([a-z_]\w*(?:\.\w+)+)'|undefined symbol: (\w+)")
_WRAPPED_OP = re.compile(r'\bname = "([\w.]+)"')  # in torch.operator, which stands for ops without a class


@dataclass(frozen=True)
class _Failure:
    """A failed run: one line that says what happened, what its diagnostics name, and its flags."""

    summary: str
    diagnostics: str
    flags: tuple[str, ...]
    op: str | None = None
    location: str | None = None


def _run(text: str, flags: tuple[str, ...], timeout: float) -> bytes | _Failure:
    """Run the compiler once on a module; the artefact, or how it failed."""
    with _SLOTS:
        try:
            process = subprocess.run(
                [_compiler(), "-", *flags, "-o", "-"],
                input=text.encode(),
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            diagnostics = (error.stderr or b"").decode(errors="replace")
            return _Failure(f"the compiler did not end within {timeout:g} s", diagnostics, flags)
    if process.returncode == 0:
        return process.stdout
    return _read_diagnostics(process.returncode, process.stderr.decode(errors="replace"), flags)


def _read_diagnostics(returncode: int, stderr: str, flags: tuple[str, ...]) -> _Failure:
    """What a failed compiler said: its first error, the op in it, and the first place outside the module itself."""
    errors = list(_ERROR.finditer(stderr))
    summary = errors[0]["text"] if errors else (stderr.strip().partition("\n")[0] or "no diagnostics")
    if returncode < 0:
        number = -returncode
        name = signal.Signals(number).name if number in signal.valid_signals() else f"signal {number}"
        summary = f"the compiler crashed ({name}): {summary}"
    op = _OP.search(summary)
    if op and op[1] == "torch.operator":
        op = _WRAPPED_OP.search(summary) or op
    places = [match["place"] for match in errors if match["place"]]
    user_places = [place for place in places if not place.startswith(("-:", "<stdin>:"))]
    return _Failure(
        summary,
        stderr,
        flags,
        op=next(filter(None, op.groups())) if op else None,
        location=next(iter([*user_places, *places]), None),
    )


def _write_reproducer(text: str, failure: _Failure, folder: Path | str | None) -> tuple[Path | None, str]:
    """Write the module; the file, if it could be written, and the command line that fails on it."""
    command = shlex.join([_compiler(), *failure.flags, "-o", os.devnull])
    try:
        if folder is None:
            folder = tempfile.mkdtemp(prefix="flambeau-")
        Path(folder).mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(suffix=".mlir", prefix="reproducer-", dir=folder)
        with open(handle, "w") as file:
            file.write(f"// {command} THIS_FILE\n{text}")
    except OSError as error:
        return None, f"{command} (no reproducer: {error})"
    return Path(name), f"{command} {shlex.quote(name)}"


def _compiler() -> str:
    """The path of `iree-compile`, found without loading IREE's compiler into this process."""
    spec = importlib.util.find_spec("iree.compiler")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "_mlir_libs" / "iree-compile"
        if path.exists():
            return str(path)
    raise CompileError("iree-compile is not installed: pip install iree-base-compiler==3.13.0")


def _merge(*groups: Iterable[str]) -> tuple[str, ...]:
    """All flags in order; of an option that is given more than once, the last."""
    merged: dict[str, str] = {}
    for flag in (flag for group in groups for flag in group):
        option = flag.partition("=")[0]
        merged.pop(option, None)
        merged[option] = flag
    return tuple(merged.values())


def _value(flags: tuple[str, ...], option: str) -> str:
    """The value of `option=value` among the flags."""
    return next(flag.partition("=")[2] for flag in flags if flag.partition("=")[0] == option)
