// RUN: flambeau-opt %s --autodiff --keep-gradients --cse --split-input-file | FileCheck %s
// RUN: flambeau-opt %s --autodiff --keep-gradients='gradients=1 tangents=' --cse --split-input-file | FileCheck %s --check-prefix=ONE
// RUN: flambeau-opt %s --autodiff --keep-gradients --cse --autodiff --canonicalize --split-input-file | FileCheck %s --check-prefix=SECOND

// Tangents are inputs, gradients are outputs, what only the old outputs needed is gone.
// CHECK-LABEL: func.func @graph
// CHECK-SAME: (%[[X:[a-z0-9]+]]: tensor<3xf32> {autograd.requires_grad, flambeau.of_argument = 0 : i64, flambeau.role = "input"}
// CHECK-SAME: %[[W:[a-z0-9]+]]: tensor<3xf32> {autograd.requires_grad, flambeau.of_argument = 1 : i64, flambeau.role = "parameter"}
// CHECK-SAME: %[[G:[a-z0-9]+]]: tensor<3xf32> {autograd.requires_grad, flambeau.of_result = 0 : i64, flambeau.role = "input"}
// CHECK-SAME: -> (tensor<3xf32> {flambeau.output = 0 : i64}, tensor<3xf32> {flambeau.output = 1 : i64})
// CHECK-NOT: flambeau.neg
// CHECK: %[[GX:.*]] = "flambeau.mul"(%[[G]], %[[W]])
// CHECK: %[[GW:.*]] = "flambeau.mul"(%[[G]], %[[X]])
// CHECK: return %[[GX]], %[[GW]]

// One of the gradients, by a tangent that is a constant: an argument that it does not depend on is gone.
// ONE-LABEL: func.func @graph
// ONE-SAME: (%[[X:[a-z0-9]+]]: tensor<3xf32> {autograd.requires_grad, flambeau.of_argument = 0 : i64, flambeau.role = "input"}
// ONE-SAME: %[[G:[a-z0-9]+]]: tensor<3xf32> {flambeau.of_result = 0 : i64, flambeau.role = "input"}
// ONE-SAME: -> (tensor<3xf32> {flambeau.output = 0 : i64})
// ONE: %[[GW:.*]] = "flambeau.mul"(%[[G]], %[[X]])
// ONE: return %[[GW]]

// Differentiated again: gradients of the arguments, and of the tangent.
// SECOND-LABEL: func.func @graph
// SECOND-SAME: {flambeau.of_result = 0 : i64, flambeau.role = "tangent"}
// SECOND-SAME: {flambeau.of_result = 1 : i64, flambeau.role = "tangent"}
// SECOND-SAME: {flambeau.gradient_of = 0 : i64}, tensor<3xf32> {flambeau.gradient_of = 1 : i64}, tensor<3xf32> {flambeau.gradient_of = 2 : i64}
func.func @graph(%x: tensor<3xf32> {flambeau.role = "input", autograd.requires_grad}, %w: tensor<3xf32> {flambeau.role = "parameter", autograd.requires_grad}, %b: tensor<3xf32> {flambeau.role = "buffer"}) -> (tensor<3xf32>, tensor<3xf32>) {
  %y = "flambeau.mul"(%x, %w) : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
  %z = "flambeau.neg"(%b) : (tensor<3xf32>) -> tensor<3xf32>
  return %y, %z : tensor<3xf32>, tensor<3xf32>
}

// -----

// Nothing to differentiate: as it was.
// CHECK-LABEL: func.func @graph
// CHECK: flambeau.neg
func.func @graph(%x: tensor<3xf32> {flambeau.role = "input"}) -> tensor<3xf32> {
  %y = "flambeau.neg"(%x) : (tensor<3xf32>) -> tensor<3xf32>
  return %y : tensor<3xf32>
}

// -----

// The gradient of batch norm needs no old statistics.
// CHECK-LABEL: func.func @batch_norm
// CHECK-SAME: (%[[X:[a-z0-9]+]]: tensor<2x3xf32> {autograd.requires_grad, flambeau.of_argument = 0 : i64, flambeau.role = "input"}
// CHECK-SAME: %{{[a-z0-9]+}}: tensor<2x3xf32> {autograd.requires_grad, flambeau.of_result = 0 : i64
// CHECK-SAME: -> (tensor<2x3xf32> {flambeau.output = 0 : i64})
// CHECK: "flambeau.native_batch_norm_no_stats"(%[[X]])
func.func @batch_norm(%x: tensor<2x3xf32> {flambeau.role = "input", autograd.requires_grad}, %mean: tensor<3xf32> {flambeau.role = "buffer"}, %var: tensor<3xf32> {flambeau.role = "buffer"}) -> (tensor<2x3xf32>, tensor<3xf32> {flambeau.updates = 1 : i64}, tensor<3xf32> {flambeau.updates = 2 : i64}) {
  %y:5 = "flambeau.native_batch_norm"(%x, %mean, %var) {momentum = 0.1 : f64, eps = 1.0e-05 : f64, operandSegmentSizes = array<i32: 1, 0, 0, 1, 1>} : (tensor<2x3xf32>, tensor<3xf32>, tensor<3xf32>) -> (tensor<2x3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>)
  return %y#0, %y#3, %y#4 : tensor<2x3xf32>, tensor<3xf32>, tensor<3xf32>
}

// -----

// PyTorch differentiates the derivative of relu to zeros, so there are zeros here, not nothing.
// SECOND-LABEL: func.func @relu
// SECOND-SAME: -> (tensor<3xf32> {flambeau.output = 0 : i64}, tensor<3xf32> {flambeau.gradient_of = 0 : i64}, tensor<3xf32> {flambeau.gradient_of = 1 : i64})
// SECOND: %[[ZERO:.*]] = "flambeau.constant"() {value = dense<0.000000e+00> : tensor<f32>}
// SECOND: %[[ZEROS:.*]] = "flambeau.expand"(%[[ZERO]]) {{.*}}
// SECOND: return %{{[0-9]+}}, %{{[0-9]+}}, %{{[0-9]+}}
func.func @relu(%x: tensor<3xf32> {flambeau.role = "input", autograd.requires_grad}) -> tensor<3xf32> {
  %y = "flambeau.relu"(%x) : (tensor<3xf32>) -> tensor<3xf32>
  return %y : tensor<3xf32>
}
