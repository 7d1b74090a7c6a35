# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls in the IR: what runs on the host, custom derivatives, choices; how each is written and read."""
