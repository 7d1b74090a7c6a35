// Stateful draws survive CSE and DCE; functionalize makes pure ones of them, which do not.
// RUN: flambeau-opt %s | flambeau-opt | FileCheck %s
// RUN: flambeau-opt %s --pass-pipeline='builtin.module(cse,canonicalize)' | FileCheck %s
// RUN: flambeau-opt %s --functionalize | FileCheck %s --check-prefix=PURE
// RUN: flambeau-opt %s --pass-pipeline='builtin.module(functionalize,canonicalize,cse,lower-to-torch)' | FileCheck %s --check-prefix=LOWER

// CHECK-LABEL: func.func @draws
// CHECK: "flambeau.native_dropout"
// CHECK: "flambeau.native_dropout"
// CHECK: "flambeau.randn"

// PURE-LABEL: func.func @draws
// PURE-SAME: tensor<2xi32> {flambeau.role = "seed"}
// PURE: dense<0> : tensor<i32>
// PURE: "flambeau.random_bits"
// PURE-SAME: bits = 24 : i64
// PURE: dense<1> : tensor<i32>
// PURE: "flambeau.random_bits"
// PURE: dense<2> : tensor<i32>
// PURE-NOT: native_dropout

// The unused randn is gone; two draws of one op are not one.
// LOWER-LABEL: func.func @draws
// LOWER: linalg.index
// LOWER: arith.shrui
// LOWER: linalg.index
// LOWER-NOT: torch.aten.cos
func.func @draws(%x: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %0, %1 = "flambeau.native_dropout"(%x) {p = 1.000000e-01 : f64, train = true} : (tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xi1>)
  %2, %3 = "flambeau.native_dropout"(%x) {p = 1.000000e-01 : f64, train = true} : (tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xi1>)
  %4 = "flambeau.randn"() {dtype = f32, shape = array<i64: 4>, operandSegmentSizes = array<i32: 0>} : () -> tensor<4xf32>
  return %0, %2 : tensor<?x8xf32>, tensor<?x8xf32>
}
