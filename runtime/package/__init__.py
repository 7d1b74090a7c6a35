# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The package that deployment uses: a folder with code, weights, a signature and a program that runs it.

model.vmfb      what IREE compiled, as IREE's runtime loads it
weights.irpa    parameters and buffers, in IREE's parameter archive, under their names in scope "model"
signature.json  inputs, outputs, sizes, target and versions; docs/deployment.md describes it
run.py          runs it with iree-base-runtime and numpy: a copy of standalone.py
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import iree.runtime
import numpy

from flambeau.runtime.package import standalone

__all__ = ["FORMAT", "SCOPE", "is_package", "read_signature", "refuse_other", "write_package"]

# Raised when a reader of the old one would misread the new one.
FORMAT = 1

# The bytes of a tensor, whatever its shape and dtype.
Bytes = numpy.ndarray[tuple[int], numpy.dtype[numpy.uint8]]

# The name of the archive among the parameters of a process.
SCOPE = "model"

_SIGNATURE = "signature.json"


def write_package(
    path: Path, *, code: bytes, weights: Mapping[str, Bytes], signature: Mapping[str, Any]
) -> None:
    """Write a package, all of it or nothing; one that is there is replaced.

    `weights` are the bytes of the tensors, `code` is a .vmfb. FileExistsError if `path` is there and is no package.
    """
    refuse_other(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        (folder / "model.vmfb").write_bytes(code)
        _write_weights(folder / "weights.irpa", weights)
        text = json.dumps({"format": FORMAT, **signature}, indent=2)
        (folder / _SIGNATURE).write_text(f"{text}\n")
        shutil.copyfile(standalone.__file__, folder / "run.py")
        mask = _umask()
        folder.chmod(0o777 & ~mask)
        (folder / "weights.irpa").chmod(0o666 & ~mask)  # IREE lets others not read it
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
            os.replace(path, old)
            os.replace(folder, path)
            shutil.rmtree(old)
        else:
            os.replace(folder, path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def refuse_other(path: Path) -> None:
    """FileExistsError if something that is no package is at `path`."""
    if path.exists() and not is_package(path):
        raise FileExistsError(f"{path} is there and is no package: give another path, or remove it")


def read_signature(path: Path) -> dict[str, Any]:
    """The signature of a package. ValueError if `path` is none, or one of another format."""
    try:
        signature = json.loads((path / _SIGNATURE).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a package: {error}") from error
    if not isinstance(signature, dict) or signature.get("format") != FORMAT:
        raise ValueError(f"{path} is not a package of format {FORMAT}")
    return signature


def is_package(path: Path) -> bool:
    """Whether a package lies there, of whatever format."""
    return (path / _SIGNATURE).is_file() and (path / "model.vmfb").is_file()


def _write_weights(path: Path, weights: Mapping[str, Bytes]) -> None:
    index = iree.runtime.ParameterIndex()
    for name, value in weights.items():
        index.add_buffer(name, value)
    index.create_archive_file(str(path))


def _umask() -> int:
    """The process's mask for new files, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
