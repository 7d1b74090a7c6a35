// A module to an artefact, which says what it takes; the interpreter as its judge.
// RUN: flambeau-compile %s -o %t.vmfb | FileCheck %s --check-prefix=COMPILE
// RUN: flambeau-run %t.vmfb --input=2xf32=1,2 --input=3 --output=%t.npy | FileCheck %s --check-prefix=SIZE
// RUN: flambeau-run %s --stage=functional --input=2xf32=1,2 --input=3 --expect=%t.npy --expect=3 | FileCheck %s --check-prefix=SAME
// RUN: not flambeau-compile %s --pass-pipeline=cse -o %t.other 2>&1 | FileCheck %s --check-prefix=RAW

// COMPILE: .vmfb: @f for cpu
// SIZE-NOT: result 0
// SIZE: result 1: int
// SIZE-NEXT: 3
// SAME: result 0: as expected
// SAME: result 1: as expected
// RAW: compile_run.mlir:16:8: error: 'flambeau.reciprocal' is left by the passes
// RAW: flambeau-compile: error: the passes must lead to the torch dialect
func.func @f(%x: tensor<2xf32>, %n: index) -> (tensor<2xf32>, index) {
  %y = "flambeau.reciprocal"(%x) : (tensor<2xf32>) -> tensor<2xf32>
  return %y, %n : tensor<2xf32>, index
}
