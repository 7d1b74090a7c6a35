# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From module text to results: backends, devices, the IREE compiler and session, buffers, the reference interpreter."""
