// RUN: flambeau-opt %s --pass-pipeline='builtin.module(autodiff,decompose{before=partition},cse,partition,cse)' | FileCheck %s

// What is saved of a batch norm is its statistics: the backward normalizes again, to know where the relu is 0.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: -> (tensor<f32>, tensor<3xf32> {flambeau.updates = 3 : i64}, tensor<3xf32> {flambeau.updates = 4 : i64},
// CHECK-SAME: tensor<1x3x1x1xf32> {flambeau.saved}, tensor<1x3x1x1xf32> {flambeau.saved}) {
// CHECK: %[[S:.*]]:2 = "flambeau.var_mean"(%arg0)
// CHECK: %[[R:.*]] = "flambeau.rsqrt"
// CHECK: return %{{.*}}, %{{.*}}, %{{.*}}, %[[S]]#1, %[[R]]
// CHECK-LABEL: func.func @backward
// CHECK-NOT: flambeau.var_mean
// CHECK: "flambeau.relu"
// CHECK: "flambeau.le"
func.func @graph(%x: tensor<4x3x8x8xf32> {autograd.requires_grad}, %w: tensor<3xf32> {autograd.requires_grad}, %b: tensor<3xf32> {autograd.requires_grad}, %mean: tensor<3xf32> {flambeau.role = "buffer"}, %var: tensor<3xf32> {flambeau.role = "buffer"}) -> (tensor<f32>, tensor<3xf32> {flambeau.updates = 3 : i64}, tensor<3xf32> {flambeau.updates = 4 : i64}) {
  %y:5 = "flambeau.native_batch_norm"(%x, %w, %b, %mean, %var) {momentum = 0.1 : f64, eps = 1.0e-5 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>} : (tensor<4x3x8x8xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) -> (tensor<4x3x8x8xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>)
  %r = "flambeau.relu"(%y#0) : (tensor<4x3x8x8xf32>) -> tensor<4x3x8x8xf32>
  %s = "flambeau.sum"(%r) {dims = array<i64: 0, 1, 2, 3>, keepdim = false} : (tensor<4x3x8x8xf32>) -> tensor<f32>
  return %s, %y#3, %y#4 : tensor<f32>, tensor<3xf32>, tensor<3xf32>
}
