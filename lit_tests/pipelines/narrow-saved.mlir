// RUN: flambeau-opt %s --pass-pipeline='builtin.module(autodiff,cse,partition{partitioner=save-all},narrow-saved)' --split-input-file | FileCheck %s

// What is saved is rounded last, and widened first.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: -> (tensor<2x3xf32>, tensor<2x3xbf16> {flambeau.saved})
// CHECK: %[[H:.*]] = "flambeau.tanh"
// CHECK: %[[Y:.*]] = "flambeau.neg"(%[[H]])
// CHECK: %[[R:.*]] = "flambeau.to_dtype"(%[[H]]) {{.*}} -> tensor<2x3xbf16>
// CHECK: return %[[Y]], %[[R]]
// CHECK-LABEL: func.func @backward
// CHECK-SAME: (%[[R:[a-z0-9]+]]: tensor<2x3xbf16> {flambeau.of_result = 1 : i64, flambeau.role = "saved"}
// CHECK-NEXT: %[[H:.*]] = "flambeau.to_dtype"(%[[R]]) {{.*}} -> tensor<2x3xf32>
// CHECK: "flambeau.mul"(%[[H]], %[[H]])
func.func @graph(%x: tensor<2x3xf32> {flambeau.role = "input", autograd.requires_grad}) -> tensor<2x3xf32> {
  %h = "flambeau.tanh"(%x) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %y = "flambeau.neg"(%h) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}

// -----

// An output is not stored twice, and arguments are the caller's.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: -> tensor<2x3xf32>
// CHECK-NOT: bf16
func.func @graph(%x: tensor<2x3xf32> {flambeau.role = "input", autograd.requires_grad}) -> tensor<2x3xf32> {
  %s = "flambeau.mul"(%x, %x) : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  %h = "flambeau.tanh"(%s) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return %h : tensor<2x3xf32>
}

// -----

// The backward compares %h with its maxima; other types are not for this pass.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: tensor<2x3xf32> {flambeau.saved}
// CHECK-NOT: bf16
func.func @graph(%x: tensor<2x3xf32> {flambeau.role = "input", autograd.requires_grad}, %z: tensor<4xf64> {flambeau.role = "input", autograd.requires_grad}) -> (tensor<2xf32>, tensor<4xf64>) {
  %h = "flambeau.neg"(%x) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %m = "flambeau.amax"(%h) {dims = array<i64: 1>, keepdim = false} : (tensor<2x3xf32>) -> tensor<2xf32>
  %t = "flambeau.tanh"(%z) : (tensor<4xf64>) -> tensor<4xf64>
  %y = "flambeau.neg"(%t) : (tensor<4xf64>) -> tensor<4xf64>
  return %m, %y : tensor<2xf32>, tensor<4xf64>
}
