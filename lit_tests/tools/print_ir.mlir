// --mlir-print-ir-*: what the pass manager prints, on standard error.
// RUN: flambeau-opt %s --cse --canonicalize --mlir-print-ir-before=canonicalize -o %t 2>&1 | FileCheck %s --check-prefix=BEFORE
// RUN: flambeau-opt %s --pass-pipeline='builtin.module(func.func(cse,canonicalize))' --mlir-print-ir-after=cse -o %t 2>&1 | FileCheck %s --check-prefix=AFTER
// RUN: flambeau-opt %s --cse --canonicalize --mlir-print-ir-before-all -o %t 2>&1 | FileCheck %s --check-prefix=BEFORE-ALL
// RUN: flambeau-opt %s --cse --canonicalize --mlir-print-ir-after-all -o %t 2>&1 | FileCheck %s --check-prefix=AFTER-ALL
// RUN: flambeau-opt %s --cse --symbol-dce --mlir-print-ir-after-change -o %t 2>&1 | FileCheck %s --check-prefix=CHANGE
// RUN: flambeau-opt %s --pass-pipeline='builtin.module(func.func(cse))' --mlir-print-ir-after-all --mlir-print-ir-module-scope -o %t 2>&1 | FileCheck %s --check-prefix=SCOPE
// RUN: flambeau-opt %s --cse --mlir-print-ir-after-all --mlir-print-debuginfo -o %t 2>&1 | FileCheck %s --check-prefix=DEBUG
// RUN: not flambeau-opt %s --load-pass-plugin=%S/Inputs/broken_passes.py --cse --broken=how=invalid --mlir-print-ir-after-failure 2>&1 | FileCheck %s --check-prefix=FAILURE
// RUN: not flambeau-opt %s --cse --mlir-print-ir-after=canonicalise 2>&1 | FileCheck %s --check-prefix=UNKNOWN

// BEFORE-NOT: IR Dump Before CSE
// BEFORE: IR Dump Before CanonicalizerPass
// BEFORE-NOT: IR Dump

// AFTER-NOT: IR Dump Before
// AFTER: IR Dump After CSEPass
// AFTER: func.func @f
// AFTER-NOT: IR Dump

// BEFORE-ALL: IR Dump Before CSEPass
// BEFORE-ALL: IR Dump Before CanonicalizerPass
// BEFORE-ALL-NOT: IR Dump After

// AFTER-ALL-NOT: IR Dump Before
// AFTER-ALL: IR Dump After CSEPass
// AFTER-ALL: IR Dump After CanonicalizerPass

// CHANGE: IR Dump After CSEPass
// CHANGE-NOT: IR Dump After SymbolDCE

// SCOPE: IR Dump After CSEPass
// SCOPE-NEXT: module {

// DEBUG: IR Dump After CSEPass
// DEBUG: loc("{{.*}}print_ir.mlir":

// FAILURE-NOT: IR Dump After CSEPass
// FAILURE: IR Dump After Broken Failed: broken

// UNKNOWN: flambeau-opt: error: unknown pass to print at 'canonicalise'; valid: cse
func.func @f(%a: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>) {
  %0 = arith.mulf %a, %a : tensor<2xf32>
  %1 = arith.mulf %a, %a : tensor<2xf32>
  return %0, %1 : tensor<2xf32>, tensor<2xf32>
}
