// --verify-roundtrip and --emit-bytecode.
// RUN: flambeau-opt %s --verify-roundtrip | FileCheck %s
// RUN: flambeau-opt %s --emit-bytecode -o %t.mlirbc
// RUN: flambeau-opt %t.mlirbc | FileCheck %s
// RUN: flambeau-opt --emit-bytecode < %s | flambeau-opt | FileCheck %s
// RUN: flambeau-opt %t.mlirbc --mlir-print-debuginfo | FileCheck %s --check-prefix=LOC
// RUN: not flambeau-opt %t.mlirbc --split-input-file 2>&1 | FileCheck %s --check-prefix=SPLIT

// CHECK-LABEL: func.func @f
// CHECK: arith.addf %arg0, %arg0 : tensor<?x3xf32>
// LOC: loc("model.py":3:9)
// SPLIT: flambeau-opt: error: --split-input-file and --verify-diagnostics need text, the input is bytecode
func.func @f(%a: tensor<?x3xf32>) -> tensor<?x3xf32> {
  %0 = arith.addf %a, %a : tensor<?x3xf32> loc(fused["here", "model.py":3:9])
  return %0 : tensor<?x3xf32>
}
