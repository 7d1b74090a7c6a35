# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Where an op comes from in the user's program, and the errors that name an op and that place."""

from flambeau.dialects.bindings import ir


def file_location(location: ir.Location) -> tuple[str, int, int] | None:
    """File, line and column of a location: the first that a fused, named or call-site location holds, else None."""
    if type(location) is ir.Location:  # as diagnostics give it: not yet of its own class
        location = ir.Location.from_attr(location.attr, location.context)
    if isinstance(location, ir.FileLineColLoc):
        return location.filename, location.start_line, location.start_col
    if isinstance(location, ir.NameLoc):
        return file_location(location.child_loc)
    if isinstance(location, ir.CallSiteLoc):
        return file_location(location.callee) or file_location(location.caller)
    if isinstance(location, ir.FusedLoc):
        return next(filter(None, map(file_location, location.locations)), None)
    return None


def source_line(location: ir.Location) -> str:
    """`file:line` of a location; of a fused or call-site one, its first file location. Empty if unknown."""
    place = file_location(location)
    return f"{place[0]}:{place[1]}" if place else ""


def made_by_autodiff(location: ir.Location) -> bool:
    """Whether an op with this location is part of a derivative; its location then is that of the differentiated op."""
    return isinstance(location, ir.NameLoc) and location.name_str == "backward"


def module_name(location: ir.Location) -> str:
    """The nn.Module that an op comes from, as the importer names it. Empty if unknown."""
    while made_by_autodiff(location):
        location = location.child_loc
    return str(location.name_str) if isinstance(location, ir.NameLoc) else ""


class UnsupportedOpError(Exception):
    """An op that a pass cannot handle."""

    def __init__(self, op: ir.Operation, reason: str):
        self.op = op
        self.op_name = op.name
        self.reason = reason
        self.source = source_line(op.location)
        where = f" at {self.source}" if self.source else ""
        super().__init__(f"{op.name}{where}: {reason}")


class MissingVjpError(UnsupportedOpError):
    """Differentiation met an op without a VJP rule."""
