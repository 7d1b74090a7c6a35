// RUN: flambeau-opt %s --promote-half | FileCheck %s
// RUN: flambeau-opt %s --pass-pipeline='builtin.module(promote-half,autodiff,cse)' | FileCheck %s --check-prefix=JOINT

// One rounding, at the end.
// CHECK-LABEL: func.func @pointwise
// CHECK: %[[X:.*]] = "flambeau.to_dtype"(%{{.*}}) {dtype = f32} : (tensor<3xf16>) -> tensor<3xf32>
// CHECK: %[[Y:.*]] = "flambeau.tanh"(%[[X]]) : (tensor<3xf32>) -> tensor<3xf32>
// CHECK: %[[R:.*]] = "flambeau.to_dtype"(%[[Y]]) {dtype = f16} : (tensor<3xf32>) -> tensor<3xf16>
// CHECK: return %[[R]]

// The derivative too.
// JOINT-LABEL: func.func @pointwise
// JOINT: %[[G:.*]] = "flambeau.to_dtype"(%arg1) {dtype = f32} : (tensor<3xf16>) -> tensor<3xf32>
// JOINT: "flambeau.mul"(%[[G]], %{{.*}}) : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
func.func @pointwise(%x: tensor<3xf16>) -> tensor<3xf16> {
  %0 = "flambeau.tanh"(%x) : (tensor<3xf16>) -> tensor<3xf16>
  return %0 : tensor<3xf16>
}

// Attributes are kept, and so is a condition.
// CHECK-LABEL: func.func @fields
// CHECK: "flambeau.pow_scalar"(%{{.*}}) {exponent = 3.500000e+00 : f64} : (tensor<?xf32>) -> tensor<?xf32>
func.func @fields(%x: tensor<?xbf16>) -> tensor<?xbf16> {
  %0 = "flambeau.pow_scalar"(%x) {exponent = 3.5 : f64} : (tensor<?xbf16>) -> tensor<?xbf16>
  return %0 : tensor<?xbf16>
}

// Exact, or rounded once as it is; other element types.
// CHECK-LABEL: func.func @unchanged
// CHECK-NOT: to_dtype
func.func @unchanged(%x: tensor<3xf16>, %y: tensor<3xf32>) -> (tensor<3xf16>, tensor<3xf32>) {
  %0 = "flambeau.add"(%x, %x) : (tensor<3xf16>, tensor<3xf16>) -> tensor<3xf16>
  %1 = "flambeau.tanh"(%y) : (tensor<3xf32>) -> tensor<3xf32>
  return %0, %1 : tensor<3xf16>, tensor<3xf32>
}
