# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From a lowered module to results: IREE's compiler, artefacts loaded on a device, buffers, calls."""
