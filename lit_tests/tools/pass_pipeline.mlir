// --pass-pipeline, with one dash or two, anchored or not, nested, with options; by = or as the next argument.
// RUN: flambeau-opt %s --pass-pipeline='builtin.module(func.func(cse))' | FileCheck %s
// RUN: flambeau-opt %s -pass-pipeline='cse' | FileCheck %s
// RUN: flambeau-opt %s --pass-pipeline 'builtin.module(cse,canonicalize{max-iterations=2 top-down=false})' | FileCheck %s
// RUN: flambeau-opt %s --pass-pipeline='builtin.module()' | FileCheck %s --check-prefix=NONE
// RUN: flambeau-opt %s | FileCheck %s --check-prefix=NONE

// CHECK-LABEL: func.func @twice
// CHECK: %[[SUM:.*]] = arith.addf %arg0, %arg0
// CHECK-NEXT: %[[FOUR:.*]] = arith.addf %[[SUM]], %[[SUM]]
// CHECK-NEXT: return %[[FOUR]]

// NONE-LABEL: func.func @twice
// NONE: arith.addf %arg0, %arg0
// NONE-NEXT: arith.addf %arg0, %arg0
func.func @twice(%a: tensor<2xf32>) -> tensor<2xf32> {
  %0 = arith.addf %a, %a : tensor<2xf32>
  %1 = arith.addf %a, %a : tensor<2xf32>
  %2 = arith.addf %0, %1 : tensor<2xf32>
  return %2 : tensor<2xf32>
}
