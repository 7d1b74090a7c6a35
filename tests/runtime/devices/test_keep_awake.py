# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""keep_awake: when cores are kept awake, that they are let go again, and that nothing depends on its working."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

import flambeau
from flambeau.frontend.options import Options, read_options
from flambeau.runtime.devices import keep_awake
from flambeau.runtime.devices.keep_awake import KEEP_AWAKE, Spinners, attended, decide

pytestmark = pytest.mark.skipif(bool(keep_awake.why_impossible()), reason=keep_awake.why_impossible())


@pytest.fixture
def spinners() -> Iterator[Spinners]:
    """Spinners of the test's own, closed at its end."""
    spinners = Spinners()
    yield spinners
    spinners.close()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`machine(wake_up=, cores=, granted=)`: what the decision sees of this machine is invented."""

    def machine(wake_up: float | None, cores: int = 4, granted: float = float("inf")) -> None:
        monkeypatch.setattr(keep_awake, "wake_up_seconds", lambda: wake_up)
        monkeypatch.setattr(keep_awake, "_granted_cores", lambda: granted)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))

    return machine


def idle_threads() -> list[str]:
    """The threads of this process that have SCHED_IDLE."""
    found = []
    for thread in os.listdir("/proc/self/task"):
        try:
            if os.sched_getscheduler(int(thread)) == os.SCHED_IDLE:
                found.append(thread)
        except ProcessLookupError:  # it has ended meanwhile
            pass
    return found


def soon(condition: Callable[[], bool]) -> bool:
    """Whether a condition comes true, within much longer than it may take."""
    end = time.monotonic() + 30
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """Nothing spins any more for the test before."""
    assert soon(lambda: not idle_threads())


def in_a_call(spinners: Spinners, work: Callable[[], Any]) -> Any:
    """What `work` returns, done as a call is: at SCHED_BATCH, cores kept awake."""
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        with spinners:
            return work()
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


# --- The decision ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wake_up", "keeps"), [(20e-6, False), (50e-6, False), (51e-6, True), (3e-3, True)])
def test_auto_keeps_slow_cores_awake(machine: Callable[..., None], wake_up: float, keeps: bool) -> None:
    machine(wake_up)
    assert decide("auto").keeps is keeps
    assert "50 us" in decide("auto").why


def test_on_and_off_do_not_ask_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_awake, "wake_up_seconds", lambda: pytest.fail("measured"))
    assert decide("on").keeps
    assert not decide("off").keeps


def test_one_core_is_left_alone(machine: Callable[..., None]) -> None:
    machine(None, cores=1)
    assert not decide("auto").keeps


@pytest.mark.parametrize(("granted", "keeps"), [(2.0, False), (3.9, False), (4.0, True), (8.0, True)])
def test_quota_is_not_wasted(machine: Callable[..., None], granted: float, keeps: bool) -> None:
    machine(1e-3, cores=4, granted=granted)
    assert decide("auto").keeps is keeps
    assert decide("on").keeps


def test_refusing_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_awake, "why_impossible", lambda: "the system refuses: no")
    for option in KEEP_AWAKE:
        assert not decide(option).keeps
        assert attended(print, option) is print


@pytest.mark.parametrize(
    ("own", "files", "granted"),
    [
        ("0::/a/b\n", {}, float("inf")),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n"}, float("inf")),
        ("0::/a/b\n", {"a/cpu.max": "250000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2.5),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
        (
            "3:cpu,cpuacct:/a\n2:memory:/m\n",
            {"cpu/a/cpu.cfs_quota_us": "400000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            4.0,
        ),
        (
            "3:cpu:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            float("inf"),
        ),
        ("2:memory:/a\n", {"memory/a/cpu.max": "50000 100000\n"}, float("inf")),
    ],
)
def test_quota_of_the_control_groups(own: str, files: dict[str, str], granted: float, tmp_path: Path) -> None:
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        file = tmp_path / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert keep_awake._granted_cores(str(tmp_path / "root"), str(tmp_path / "own")) == granted


def test_wake_up_is_measured_once() -> None:
    seconds = keep_awake.wake_up_seconds()
    assert keep_awake.wake_up_seconds() is seconds
    assert (seconds is None) == (len(os.sched_getaffinity(0)) == 1)
    assert seconds is None or seconds > 0


# --- The caller -----------------------------------------------------------------------------------------------------


def test_caller_is_patient_during_the_call_only() -> None:
    seen: list[int] = []
    attended(lambda: seen.append(os.sched_getscheduler(0)), "auto")()
    assert seen == [os.SCHED_BATCH]
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_caller_is_as_before_after_an_error() -> None:
    calls = []

    def fail() -> None:
        calls.append(1)
        raise PermissionError("of the call itself")

    with pytest.raises(PermissionError, match="of the call itself"):
        attended(fail, "on")()
    assert len(calls) == 1
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_policy_of_the_user_stays() -> None:
    seen: list[Any] = []

    def work() -> None:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        attended(lambda: seen.append((os.sched_getscheduler(0), len(idle_threads()))), "on")()
        seen.append(os.sched_getscheduler(0))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(os.SCHED_IDLE, 1), os.SCHED_IDLE]  # the one is the caller itself


def test_system_call_refused_later(monkeypatch: pytest.MonkeyPatch) -> None:
    call = attended(lambda: done.append(1), "on")
    done: list[int] = []

    def refuse(*_: object) -> None:
        raise PermissionError("seccomp")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    call()
    assert done == [1]


# --- The spinners ---------------------------------------------------------------------------------------------------


def test_each_core_has_a_spinner_during_a_call(spinners: Spinners) -> None:
    found = in_a_call(spinners, lambda: [os.sched_getaffinity(int(t)) for t in idle_threads()])
    assert sorted(found, key=min) == [{core} for core in sorted(os.sched_getaffinity(0))]


def test_spinners_end_after_the_last_call(spinners: Spinners) -> None:
    in_a_call(spinners, lambda: None)
    assert soon(lambda: not idle_threads())
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.1  # one that spins would have taken all of it


def test_spinners_last_as_long_as_a_call(spinners: Spinners) -> None:
    def long_call() -> int:
        time.sleep(20 * keep_awake._LINGER)
        return len(idle_threads())

    assert in_a_call(spinners, long_call) == len(os.sched_getaffinity(0))


def test_spinner_that_did_not_end_yet_goes_on(spinners: Spinners) -> None:
    """On a busy core it may take long until the thread runs that its lock was given up for."""
    in_a_call(spinners, lambda: None)
    assert soon(lambda: not idle_threads())
    for lock in spinners._all_locks:
        spinners._libc.pthread_spin_unlock(lock)  # as such a thread leaves it
    assert in_a_call(spinners, lambda: (idle_threads(), spinners._spinning)) == ([], spinners._all_locks)


def test_spinners_do_not_pile_up(spinners: Spinners) -> None:
    """Also when the next call comes at any moment of their end."""
    cores = len(os.sched_getaffinity(0))
    for index in range(60):
        assert in_a_call(spinners, lambda: len(idle_threads())) <= cores
        time.sleep(keep_awake._LINGER * (0.5 + index / 40))
    assert soon(lambda: not idle_threads())


def test_calls_of_several_threads(spinners: Spinners) -> None:
    counts: list[int] = []

    def calls() -> None:
        for _ in range(50):
            in_a_call(spinners, lambda: counts.append(len(idle_threads())))

    threads = [threading.Thread(target=calls) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == 200 and max(counts) <= len(os.sched_getaffinity(0))
    assert soon(lambda: not idle_threads())


def test_thread_that_cannot_be_made(spinners: Spinners, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spinners, "_spin", lambda *_: False)
    assert in_a_call(spinners, idle_threads) == []
    monkeypatch.undo()
    assert in_a_call(spinners, idle_threads) == []  # it is not tried again


def test_thread_that_cannot_be_idle(spinners: Spinners, monkeypatch: pytest.MonkeyPatch) -> None:
    """It spins at the usual priority, so it is ended at once."""
    monkeypatch.setattr(os, "SCHED_IDLE", 99)  # libc refuses it
    threads = len(os.listdir("/proc/self/task"))
    in_a_call(spinners, lambda: None)
    monkeypatch.undo()
    assert soon(lambda: len(os.listdir("/proc/self/task")) <= threads + 1)  # the watcher is left
    assert in_a_call(spinners, idle_threads) == []


def test_libc_without_the_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object) -> None:
        raise AttributeError("undefined symbol: pthread_spin_lock")

    monkeypatch.setattr(keep_awake, "_THE_SPINNERS", [])
    monkeypatch.setattr(keep_awake, "_libc", nothing)
    seen: list[Any] = []
    attended(lambda: seen.append(idle_threads()), "on")()
    assert seen == [[]]


def run(script: str) -> str:
    """What a script prints in a process of its own; it must end well."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


_CALL = """
import os, sys, time
from flambeau.runtime.devices.keep_awake import attended

def idle():
    return sum(os.sched_getscheduler(int(t)) == os.SCHED_IDLE for t in os.listdir("/proc/self/task"))

counts = []
call = attended(lambda: counts.append(idle()), "on")
call()
"""


@pytest.mark.parametrize("pause", [0, 0.1])  # seconds; the parent's cores spin, or do so no more
def test_forked_child_has_none(pause: float) -> None:
    counts = run(
        _CALL
        + f"time.sleep({pause})"
        + """
if os.fork() == 0:
    call()
    print(idle(), counts[-1], flush=True)
    sys.exit(0)  # with its atexit functions
assert os.wait()[1] == 0
call()
print(counts[-1])
"""
    )
    assert counts.split() == ["0", "0", str(len(os.sched_getaffinity(0)))]


def test_interpreter_ends_right_after_a_call() -> None:
    assert run(_CALL + "print(counts[0])") == str(len(os.sched_getaffinity(0)))


def test_interpreter_ends_with_a_thread_in_a_call() -> None:
    script = """
import threading
def calls():
    while True:
        call()
threading.Thread(target=calls, daemon=True).start()
time.sleep(0.05)
print("done")
"""
    assert run(_CALL + script) == "done"


# --- The option -----------------------------------------------------------------------------------------------------


def test_option_is_validated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Options().keep_awake == "auto"
    assert [read_options({"keep_awake": value}).keep_awake for value in get_args(keep_awake.KeepAwake)] == [
        "auto",
        "on",
        "off",
    ]
    with pytest.raises(ValueError, match="keep_awake"):
        flambeau.compile(torch.sin, options={"keep_awake": "often"})
    with pytest.raises(ValueError, match="keep_awake"):
        flambeau.compile(torch.sin, options={"keep_awake": True})
    monkeypatch.setenv("FLAMBEAU_KEEP_AWAKE", "on")
    assert read_options().keep_awake == "on"
    assert read_options({"keep_awake": "off"}).keep_awake == "off"


def test_option_is_of_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each compiled function passes its own option on, unless it does without workers; results are the same."""
    asked: list[str] = []

    def recorded(invoke: Callable[..., None], option: keep_awake.KeepAwake) -> Callable[..., None]:
        asked.append(option)
        return attended(invoke, option)

    monkeypatch.setattr("flambeau.runtime.iree.executable.attended", recorded)
    x = torch.randn(192, 256)
    results = []
    for option in KEEP_AWAKE:

        def product(x: torch.Tensor) -> torch.Tensor:
            return (x @ x.T).tanh() @ x

        compiled = flambeau.compile(product, options={"keep_awake": option, "fallback": "error"})
        results.append(compiled(x))
        torch.testing.assert_close(results[-1], product(x), rtol=1e-4, atol=1e-4)
    assert asked == list(KEEP_AWAKE)
    assert all(torch.equal(result, results[0]) for result in results)

    small = flambeau.compile(torch.sin, options={"keep_awake": "on", "fallback": "error"})
    small(torch.randn(3))
    assert asked == list(KEEP_AWAKE)
