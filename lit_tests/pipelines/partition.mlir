// RUN: flambeau-opt %s --autodiff --cse --partition="partitioner=save-all" --cse --split-input-file | FileCheck %s

// The backward takes over arguments as they are, and what the forward computed as extra results.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: (%[[X:[a-z0-9]+]]: tensor<2x4xf32> {flambeau.role = "input"}, %[[W:[a-z0-9]+]]: tensor<4x3xf32>
// CHECK-SAME: -> (tensor<2x3xf32>, tensor<2x3xf32> {flambeau.saved})
// CHECK: %[[M:.*]] = "flambeau.mm"(%[[X]], %[[W]])
// CHECK: %[[H:.*]] = "flambeau.tanh"(%[[M]])
// CHECK: %[[Y:.*]] = "flambeau.neg"(%[[H]])
// CHECK: return %[[Y]], %[[H]]
// CHECK-LABEL: func.func @backward
// CHECK-SAME: (%[[X:[a-z0-9]+]]: tensor<2x4xf32> {flambeau.of_argument = 0 : i64, flambeau.role = "saved"}
// CHECK-SAME: %[[H:[a-z0-9]+]]: tensor<2x3xf32> {flambeau.of_result = 1 : i64, flambeau.role = "saved"}
// CHECK-SAME: %[[G:[a-z0-9]+]]: tensor<2x3xf32> {flambeau.of_result = 0 : i64, flambeau.role = "tangent"})
// CHECK-SAME: -> (tensor<4x3xf32> {flambeau.gradient_of = 1 : i64, flambeau.of_tangents = array<i64: 0>})
// CHECK-NOT: flambeau.tanh
// CHECK: flambeau.mm
func.func @graph(%x: tensor<2x4xf32> {flambeau.role = "input"}, %w: tensor<4x3xf32> {flambeau.role = "parameter", autograd.requires_grad}) -> tensor<2x3xf32> {
  %m = "flambeau.mm"(%x, %w) : (tensor<2x4xf32>, tensor<4x3xf32>) -> tensor<2x3xf32>
  %h = "flambeau.tanh"(%m) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %y = "flambeau.neg"(%h) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}

// -----

// Views, sizes and constants are made again instead of saved: only the arguments cross.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: -> tensor<?x3xf32>
// CHECK-LABEL: func.func @backward
// CHECK-SAME: flambeau.of_argument = 0 : i64
// CHECK-SAME: flambeau.of_argument = 1 : i64
// CHECK: flambeau.dim
// CHECK: flambeau.expand
func.func @graph(%x: tensor<?x3xf32> {flambeau.role = "input", autograd.requires_grad}, %b: tensor<3xf32> {flambeau.role = "parameter", autograd.requires_grad}) -> tensor<?x3xf32> {
  %n = "flambeau.dim"(%x) {index = 0 : i64} : (tensor<?x3xf32>) -> index
  %e = "flambeau.expand"(%b, %n) {operandSegmentSizes = array<i32: 1, 1>, shape = array<i64: -1, 3>} : (tensor<3xf32>, index) -> tensor<?x3xf32>
  %y = "flambeau.mul"(%x, %e) : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// -----

// Where only a size is used, the size is saved: neither the argument nor an intermediate is kept alive for it.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: -> (tensor<f32>, index {flambeau.saved})
// CHECK-LABEL: func.func @backward
// CHECK-SAME: (%{{[a-z0-9]+}}: index {flambeau.of_result = 1 : i64, flambeau.role = "saved"}, %{{[a-z0-9]+}}: tensor<f32>
func.func @graph(%x: tensor<?xf32> {flambeau.role = "input", autograd.requires_grad}) -> tensor<f32> {
  %y = "flambeau.sum"(%x) {dims = array<i64: 0>, keepdim = false} : (tensor<?xf32>) -> tensor<f32>
  return %y : tensor<f32>
}

// -----

// Gradients say which tangents they depend on.
// CHECK-LABEL: func.func @backward
// CHECK-SAME: {flambeau.gradient_of = 0 : i64, flambeau.of_tangents = array<i64: 0, 1>}
// CHECK-SAME: {flambeau.gradient_of = 1 : i64, flambeau.of_tangents = array<i64: 1>}
func.func @graph(%a: tensor<3xf32> {flambeau.role = "input", autograd.requires_grad}, %b: tensor<3xf32> {flambeau.role = "input", autograd.requires_grad}) -> (tensor<3xf32>, tensor<3xf32>) {
  %y = "flambeau.exp"(%a) : (tensor<3xf32>) -> tensor<3xf32>
  %z = "flambeau.mul"(%a, %b) : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
  return %y, %z : tensor<3xf32>, tensor<3xf32>
}

// -----

// Without tangents there is nothing to split: @forward alone.
// CHECK-LABEL: func.func @forward
// CHECK-NOT: func.func @backward
func.func @graph(%x: tensor<3xi64>) -> tensor<3xi64> {
  %y = "flambeau.neg"(%x) : (tensor<3xi64>) -> tensor<3xi64>
  return %y : tensor<3xi64>
}
