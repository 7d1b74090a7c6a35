# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls that use IREE's worker threads, made so that the kernel's scheduler does not slow them. Linux only.

In: how a function is called, and the option `keep_awake`. Out: how to call it instead. Two things are cured:

1. The caller spins against the worker that wakes it. IREE 3.13's wait ends in a loop that spins until the waking worker
   has left its callback. A caller that is woken on the worker's own core preempts it, and spins for a whole time slice.
   A caller at SCHED_BATCH does not preempt; it is set for the time of the call.
2. Cores fall asleep. On many virtual machines an idle core takes most of a millisecond to wake up, and workers sleep
   several times in a call. One thread per core at SCHED_IDLE spins while calls come in; all other threads preempt it.

The spinning threads never enter Python: a thread at SCHED_IDLE that holds the interpreter lock on a busy core would
keep everybody waiting. Each is a thread of libc whose program is `pthread_spin_lock`; it ends when it gets its lock.
"""

import atexit
import contextlib
import ctypes
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

__all__ = [
    "KEEP_AWAKE",
    "Decision",
    "KeepAwake",
    "Spinners",
    "attended",
    "decide",
    "wake_up_seconds",
    "why_impossible",
]

KeepAwake = Literal["auto", "on", "off"]
KEEP_AWAKE: tuple[KeepAwake, ...] = get_args(KeepAwake)
Invoke = Callable[..., None]

_SLOW = 50e-6  # seconds; machines whose cores do not sleep deeply need 20 to 40 us
_TRIES = 20
_PAUSE = 1e-3  # seconds; a core that was idle for that long sleeps
_LINGER = 3e-3  # seconds; calls of a loop follow one another faster

_LINE = 64  # bytes; a lock has a cache line of its own
_ATTRIBUTE_BYTES = 128  # a pthread_attr_t has 56 or 64
_STACK = 256 << 10
_DETACHED = 1


@dataclass(frozen=True)
class Decision:
    """Whether calls keep the cores awake, and why or why not."""

    keeps: bool
    why: str


def attended(invoke: Invoke, option: KeepAwake) -> Invoke:
    """A function like `invoke` whose calls are cured, as far as the option, the system and the measurement say so."""
    if option == "off" or why_impossible():
        return invoke
    spinners = _spinners() if decide(option).keeps else None
    around: AbstractContextManager[Any] = spinners or contextlib.nullcontext()

    def call(*arguments: Any) -> None:
        if not _become_patient():
            return invoke(*arguments)
        try:
            with around:
                return invoke(*arguments)
        finally:
            _become_normal()

    return call


def decide(option: KeepAwake) -> Decision:
    """Whether calls of a function with this option keep the cores awake. "auto" measures, once per process."""
    if option == "off":
        return Decision(False, "keep_awake is off")
    if reason := why_impossible():
        return Decision(False, reason)
    if option == "on":
        return Decision(True, "keep_awake is on")
    cores = len(os.sched_getaffinity(0))
    if _granted_cores() < cores:
        return Decision(
            False, f"the process may use {_granted_cores():g} of {cores} cores, and would waste them"
        )
    seconds = wake_up_seconds()
    if seconds is None:
        return Decision(False, "wake-ups cannot be measured: there is one core")
    limit = f"{_SLOW * 1e6:.0f} us"
    if seconds > _SLOW:
        return Decision(True, f"a wake-up of more than {limit} is slow")
    return Decision(False, f"a wake-up of up to {limit} is fast")


@cache
def why_impossible() -> str:
    """Why nothing can be done here: another system, another libc, system calls that are refused. Empty if it can be."""
    try:
        policy = os.sched_getscheduler(0)
        os.sched_setscheduler(0, policy, os.sched_getparam(0))
        _libc()
    except (AttributeError, OSError) as error:
        return f"the system refuses: {error}"
    return ""


# --- The caller -----------------------------------------------------------------------------------------------------


def _become_patient() -> bool:
    """Set the calling thread to SCHED_BATCH. False, and nothing done, if it has a policy of its own or may not."""
    try:
        if os.sched_getscheduler(0) != os.SCHED_OTHER:
            return False
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:  # a sandbox that was entered since `why_impossible` was asked
        return False
    return True


def _become_normal() -> None:
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


# --- The cores ------------------------------------------------------------------------------------------------------


class Spinners:
    """A spinning thread on each core while calls, which may overlap, are inside of it, and `_LINGER` longer."""

    def __init__(self) -> None:
        """OSError or AttributeError if libc does not have what is needed. Nothing is started before a call."""
        self._libc = _libc()
        cores = sorted(os.sched_getaffinity(0))
        self._attributes = [_attributes(self._libc, core) for core in cores]
        self._all_locks = _taken_locks(self._libc, len(cores))
        self._watcher: threading.Thread | None = None
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._calls = 0  # that have begun and not ended
        self._last_end = 0.0
        self._spinning: list[int] = []  # the locks that threads spin on
        self._began = threading.Event()  # set while threads spin
        self._closed = False

    def __enter__(self) -> None:
        """A call begins, from a thread at SCHED_BATCH."""
        with self._lock:
            self._calls += 1
            if not self._spinning and not self._closed:
                self._start()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._calls -= 1
            self._last_end = time.monotonic()

    def close(self) -> None:
        """Nothing spins any more, and nothing will."""
        with self._lock:
            self._closed = True
            self._stop()
            self._began.set()
        if self._watcher is not None:
            self._watcher.join()

    def _forked(self) -> None:
        """In the child of a fork, which has neither these threads nor IREE's workers, nothing spins."""
        self._reset()
        self._closed = True

    def _start(self) -> None:
        """Start a thread per core. If that fails there are none, now and later.

        They begin with the policy of this thread, SCHED_BATCH, so they preempt nobody before they are idle ones.
        """
        try:
            if self._watcher is None:
                self._start_watcher()
        except RuntimeError:  # no more threads
            self._closed = True
            return
        for lock, attributes in zip(self._all_locks, self._attributes, strict=True):
            if not self._spin(lock, attributes):
                self._closed = True
                self._stop()
                return
        self._began.set()

    def _spin(self, lock: int, attributes: Any) -> bool:
        """Have a thread at SCHED_IDLE spin until it gets the lock. Whether that was done."""
        if not self._libc.pthread_spin_trylock(lock):
            # On a busy core the last thread may not have run since its lock was given up: it goes on.
            self._spinning.append(lock)
            return True
        thread, parameter = ctypes.c_ulong(), ctypes.c_int(0)
        program = ctypes.cast(self._libc.pthread_spin_lock, ctypes.c_void_p)
        if self._libc.pthread_create(ctypes.byref(thread), attributes, program, lock):
            return False
        self._spinning.append(lock)
        return not self._libc.pthread_setschedparam(thread, os.SCHED_IDLE, ctypes.byref(parameter))

    def _stop(self) -> None:
        """Give the locks up. The threads take them and end, and the locks are taken again."""
        for lock in self._spinning:
            self._libc.pthread_spin_unlock(lock)
        self._spinning = []
        self._began.clear()

    def _start_watcher(self) -> None:
        watcher = threading.Thread(target=self._watch, name="flambeau-keep-awake", daemon=True)
        watcher.start()
        self._watcher = watcher
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._forked)

    def _watch(self) -> None:
        while self._began.wait() and not self._closed:
            with self._lock:
                rest = _LINGER if self._calls else self._last_end + _LINGER - time.monotonic()
                if rest <= 0 and not self._closed:
                    self._stop()
            time.sleep(max(rest, 0))


_THE_SPINNERS: list[Spinners] = []


def _spinners() -> Spinners | None:
    """The one set of spinners of this process, None if libc refuses them."""
    if not _THE_SPINNERS:
        with contextlib.suppress(AttributeError, OSError):
            _THE_SPINNERS.append(
                Spinners()
            )  # of two threads one is the first in the list, and one's is never used
    return _THE_SPINNERS[0] if _THE_SPINNERS else None


def _taken_locks(libc: ctypes.CDLL, count: int) -> list[int]:
    """The addresses of new spin locks that are taken. Never freed: a thread may read one until the process is gone."""
    memory = libc.calloc(count + 1, _LINE)
    if not memory:
        raise OSError("out of memory")
    first = -(-memory // _LINE) * _LINE
    locks = [first + _LINE * index for index in range(count)]
    for lock in locks:
        libc.pthread_spin_init(lock, 0)
        libc.pthread_spin_lock(lock)
    return locks


def _attributes(libc: ctypes.CDLL, core: int) -> Any:
    """What a thread is made with: its core, a small stack, nobody joins it. OSError if libc refuses."""
    attributes = ctypes.create_string_buffer(_ATTRIBUTE_BYTES)
    mask = bytearray((core // 64 + 1) * 8)
    mask[core // 8] = 1 << core % 8
    refused = (
        libc.pthread_attr_init(attributes)
        or libc.pthread_attr_setdetachstate(attributes, _DETACHED)
        or libc.pthread_attr_setstacksize(attributes, _STACK)
        or libc.pthread_attr_setaffinity_np(attributes, len(mask), bytes(mask))
    )
    if refused:
        raise OSError(refused, os.strerror(refused))
    return attributes


@cache
def _libc() -> ctypes.CDLL:
    """The C library, with types. AttributeError or OSError if it lacks a function."""
    libc = ctypes.CDLL(None)
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    signatures: dict[str, Sequence[Any]] = {
        "calloc": (size, size),
        "pthread_attr_init": (pointer,),
        "pthread_attr_setaffinity_np": (pointer, size, ctypes.c_char_p),
        "pthread_attr_setdetachstate": (pointer, ctypes.c_int),
        "pthread_attr_setstacksize": (pointer, size),
        "pthread_create": (pointer, pointer, pointer, pointer),
        "pthread_setschedparam": (ctypes.c_ulong, ctypes.c_int, pointer),
        "pthread_spin_init": (pointer, ctypes.c_int),
        "pthread_spin_lock": (pointer,),
        "pthread_spin_trylock": (pointer,),
        "pthread_spin_unlock": (pointer,),
    }
    for name, arguments in signatures.items():
        getattr(libc, name).argtypes = arguments
    libc.calloc.restype = pointer
    return libc


# --- The measurement ------------------------------------------------------------------------------------------------


@cache
def wake_up_seconds() -> float | None:
    """How long an idle core takes to run a thread that is woken there: a median, measured once. None with one core."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return None
    times: list[float] = []
    with _pipe() as (asked, ask), _pipe() as (answered, answer):

        def sleeper() -> None:
            os.sched_setaffinity(0, {cores[1]})
            for _ in range(_TRIES):
                os.read(asked, 1)
                os.write(answer, time.perf_counter_ns().to_bytes(8, "little"))

        def waker() -> None:
            os.sched_setaffinity(0, {cores[0]})
            for _ in range(_TRIES):
                time.sleep(_PAUSE)
                start = time.perf_counter_ns()
                os.write(ask, b".")
                times.append((int.from_bytes(os.read(answered, 8), "little") - start) / 1e9)

        threads = [threading.Thread(target=work, daemon=True) for work in (sleeper, waker)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return statistics.median(times)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


def _granted_cores(root: str = "/sys/fs/cgroup", own: str = "/proc/self/cgroup") -> float:
    """How many cores the process may use at once, by the CPU quotas of its control groups; infinite without one.

    Containers have such quotas, and a thread that spins uses them up, at whatever priority.
    """
    granted = float("inf")
    with contextlib.suppress(OSError):
        for line in Path(own).read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            base = Path(root, controllers and "cpu")
            group = base / path.lstrip("/")
            for folder in (group, *group.parents[: len(group.parts) - len(base.parts)]):
                granted = min(granted, _quota(folder))
    return granted


def _quota(folder: Path) -> float:
    """The quota of one control group, in cores: version 2 has both numbers in one file, version 1 in two."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else float("inf")
    return float("inf")
