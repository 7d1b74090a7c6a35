// RUN: flambeau-opt %s --allow-unregistered-dialect | FileCheck %s
// RUN: not flambeau-opt %s 2>&1 | FileCheck %s --check-prefix=REFUSED

// CHECK: "elsewhere.op"() : () -> ()
// REFUSED: unregistered.mlir:6:15: error: operation being parsed with an unregistered dialect
"elsewhere.op"() : () -> ()
