# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A program that fails -> the smallest one found that fails too, by trying simpler ones until none fails any more."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from tests.random_programs.program import Program, Statement


def shrink(program: Program, fails: Callable[[Program], bool], seconds: float = 120) -> Program:
    """`fails` says whether a program still shows the failure; one that eager does not accept does not."""
    end = time.monotonic() + seconds
    tried = {_key(program)}
    progress = True
    while progress:
        progress = False
        for simpler in simplifications(program):
            if time.monotonic() > end:
                return program
            if _key(simpler) in tried:
                continue
            tried.add(_key(simpler))
            if fails(simpler):
                program, progress = simpler, True
                break
    return program


def _key(program: Program) -> str:
    how = (program.afterwards, program.partitioner, program.dynamic, program.calls, program.caller)
    return f"{program.text()}{how}"


def simplifications(program: Program) -> Iterator[Program]:
    """Programs with a little less, those with much less first."""
    for index in range(len(program.outputs)):
        if len(program.outputs) > 1:
            yield replace(program, outputs=_without(program.outputs, index))
    size = len(program.statements)
    while size:
        for start in range(len(program.statements) - size, -1, -size):
            yield _removed(program, start, size)
        size //= 2
    for index, statement in enumerate(program.statements):
        yield from _bypassed(program, index, statement)
    yield from _simpler_inputs(program)
    yield replace(program, afterwards="nothing")
    yield replace(program, dynamic=False)
    yield replace(program, partitioner="min-cut")
    yield replace(program, calls=1)
    yield replace(program, caller="")
    for index, statement in enumerate(program.statements):
        if statement.mode:
            yield _with_statement(program, index, replace(statement, mode=""))
    for index, leaf in enumerate(program.leaves):
        simpler = []
        if leaf.parameter:
            simpler.append(replace(leaf, parameter=False))
        if leaf.requires_grad:
            simpler.append(replace(leaf, requires_grad=False, parameter=False))
        if leaf.dtype.is_floating_point and leaf.dtype != torch.float64:
            simpler.append(replace(leaf, dtype=torch.float64))
        for dim, size in enumerate(leaf.sizes):
            if size > 2:
                simpler.append(replace(leaf, sizes=(*leaf.sizes[:dim], 2, *leaf.sizes[dim + 1 :])))
        simpler += [replace(leaf, sizes=_without(leaf.sizes, dim)) for dim in range(len(leaf.sizes))]
        for new in simpler:
            yield replace(program, leaves=(*program.leaves[:index], new, *program.leaves[index + 1 :]))


def _without(items: tuple, index: int) -> tuple:
    return items[:index] + items[index + 1 :]


def _with_statement(program: Program, index: int, statement: Statement) -> Program:
    return replace(
        program, statements=(*program.statements[:index], statement, *program.statements[index + 1 :])
    )


def _removed(program: Program, start: int, size: int) -> Program:
    """Without some lines and all that needs them; outputs that are gone become one that is left."""
    gone = {name for s in program.statements[start : start + size] for name in s.targets}
    kept = list(program.statements[:start])
    for statement in program.statements[start + size :]:
        if gone.intersection(statement.uses):
            gone.update(statement.targets)
        else:
            kept.append(statement)
    outputs = tuple(name for name in program.outputs if name not in gone)
    left = [name for s in kept for name in s.targets] or list(program.parameters)
    return replace(program, statements=tuple(kept), outputs=outputs or (left[-1],))


def _bypassed(program: Program, index: int, statement: Statement) -> Iterator[Program]:
    """Without a line, with something that it uses in place of what it makes."""
    for used in statement.uses if statement.targets else ():
        names = dict.fromkeys(statement.targets, used)
        later = tuple(s.renamed(names) for s in program.statements[index + 1 :])
        outputs = tuple(names.get(name, name) for name in program.outputs)
        yield replace(program, statements=program.statements[:index] + later, outputs=outputs)


def _simpler_inputs(program: Program) -> Iterator[Program]:
    """Without an argument, a leaf or a line of `make`."""
    used = {name for s in program.statements for name in s.uses} | set(program.outputs)
    for index, name in enumerate(program.parameters):
        if name not in used and len(program.arguments) > 1:
            later = {f"x{i}": f"x{i - 1}" for i in range(index + 1, len(program.arguments))}
            yield replace(
                program,
                arguments=_without(program.arguments, index),
                statements=tuple(s.renamed(later) for s in program.statements),
                outputs=tuple(later.get(n, n) for n in program.outputs),
            )
    needed = {name for s in program.setup for name in s.uses} | set(program.arguments)
    for index, statement in enumerate(program.setup):
        names = dict.fromkeys(statement.targets, statement.uses[0])
        yield replace(
            program,
            setup=program.setup[:index] + tuple(s.renamed(names) for s in program.setup[index + 1 :]),
            arguments=tuple(names.get(name, name) for name in program.arguments),
        )
    for index, leaf in enumerate(program.leaves):
        if leaf.name not in needed:
            yield replace(program, leaves=_without(program.leaves, index))
