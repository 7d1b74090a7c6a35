# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The registry of backends."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from importlib.metadata import EntryPoint

import pytest

from flambeau.runtime import backends
from flambeau.runtime.backends import Backend, list_backends, lookup_backend, register_backend
from flambeau.runtime.errors import UnknownBackendError


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(backends, "_REGISTRY", dict(backends._REGISTRY))
    backends._declared.cache_clear()
    yield
    backends._declared.cache_clear()


def test_built_in() -> None:
    assert list_backends() == ["cpu", "cuda", "vulkan"]
    assert list_backends(exclude_tags=[]) == [
        "cpu",
        "cuda",
        "functional",
        "imported",
        "partitioned",
        "vulkan",
    ]
    assert list_backends(exclude_tags=None) == list_backends(exclude_tags=())
    assert lookup_backend("functional").device == "interpreter"
    assert all(lookup_backend(name).description for name in list_backends(exclude_tags=None))


def test_a_record_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        lookup_backend("cpu").flags = ()  # type: ignore[misc]


def test_register_record() -> None:
    record = Backend(
        "fast", pipeline="lower-to-torch", target="llvm-cpu", device="local", tags=("experimental",)
    )
    assert register_backend(record) is record
    assert lookup_backend("fast") is record
    assert "fast" not in list_backends()
    assert "fast" in list_backends(exclude_tags=("debug",))


def test_register_function() -> None:
    @register_backend
    def mine(module: object, signature: object) -> object:
        """Do it my way."""
        return None

    @register_backend(name="other", pipeline="functional", tags=["debug"])
    def function(module: object, signature: object) -> object:
        return None

    assert lookup_backend("mine").compile_fn is mine
    assert lookup_backend("mine").description == "Do it my way."
    other = lookup_backend("other")
    assert (other.compile_fn, other.pipeline, other.tags) == (function, "functional", ("debug",))


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="'cpu' is already registered"):
        register_backend(Backend("cpu", pipeline="x"))


def test_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(UnknownBackendError) as caught:
        lookup_backend("vulcan")
    assert "'vulcan' (did you mean 'vulkan'?)" in str(caught.value)
    assert "cpu, cuda, functional, imported, partitioned, vulkan" in str(caught.value)


def test_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = EntryPoint("plugged", "flambeau.runtime.backends:BUILT_IN", backends.ENTRY_POINT_GROUP)
    monkeypatch.setattr(backends, "entry_points", lambda group: [declared])
    assert "plugged" in list_backends()
    assert lookup_backend("plugged").compile_fn is backends.BUILT_IN


def test_loads_neither_torch_nor_iree() -> None:
    code = "import sys, flambeau.runtime.backends as b; b.list_backends(); print({'torch', 'iree'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
