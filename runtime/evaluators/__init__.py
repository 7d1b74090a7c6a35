# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Evaluators of ops that no single ATen overload computes, one file per op family; the interpreter imports them."""
