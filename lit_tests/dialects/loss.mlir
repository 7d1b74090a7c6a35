// RUN: flambeau-opt %s | flambeau-opt | FileCheck %s

// CHECK-LABEL: func.func @mse_loss(
// CHECK: "flambeau.mse_loss"(%arg0, %arg1)
// CHECK-SAME: (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<f32>
func.func @mse_loss(%arg0: tensor<3x4xf32>, %arg1: tensor<3x4xf32>) -> tensor<f32> {
  %0 = "flambeau.mse_loss"(%arg0, %arg1) {reduction = 1 : i64} : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<f32>
  return %0 : tensor<f32>
}

// CHECK-LABEL: func.func @smooth_l1_loss(
// CHECK: "flambeau.smooth_l1_loss"(%arg0, %arg1)
// CHECK-SAME: (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<f32>
func.func @smooth_l1_loss(%arg0: tensor<3x4xf32>, %arg1: tensor<3x4xf32>) -> tensor<f32> {
  %0 = "flambeau.smooth_l1_loss"(%arg0, %arg1) {beta = 0.69999999999999996 : f64, reduction = 1 : i64} : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<f32>
  return %0 : tensor<f32>
}

// CHECK-LABEL: func.func @huber_loss(
// CHECK: "flambeau.huber_loss"(%arg0, %arg1)
// CHECK-SAME: (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<f32>
func.func @huber_loss(%arg0: tensor<3x4xf32>, %arg1: tensor<3x4xf32>) -> tensor<f32> {
  %0 = "flambeau.huber_loss"(%arg0, %arg1) {delta = 1.300000e+00 : f64, reduction = 1 : i64} : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<f32>
  return %0 : tensor<f32>
}

// CHECK-LABEL: func.func @soft_margin_loss(
// CHECK: "flambeau.soft_margin_loss"(%arg0, %arg1)
// CHECK-SAME: (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<f32>
func.func @soft_margin_loss(%arg0: tensor<3x4xf32>, %arg1: tensor<3x4xf32>) -> tensor<f32> {
  %0 = "flambeau.soft_margin_loss"(%arg0, %arg1) {reduction = 1 : i64} : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<f32>
  return %0 : tensor<f32>
}

// CHECK-LABEL: func.func @binary_cross_entropy(
// CHECK: "flambeau.binary_cross_entropy"(%arg0, %arg1)
// CHECK-SAME: (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<f32>
func.func @binary_cross_entropy(%arg0: tensor<3x4xf32>, %arg1: tensor<3x4xf32>) -> tensor<f32> {
  %0 = "flambeau.binary_cross_entropy"(%arg0, %arg1) {operandSegmentSizes = array<i32: 1, 1, 0>, reduction = 1 : i64} : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<f32>
  return %0 : tensor<f32>
}

// CHECK-LABEL: func.func @binary_cross_entropy_with_logits(
// CHECK: "flambeau.binary_cross_entropy_with_logits"(%arg0, %arg1)
// CHECK-SAME: (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<f32>
func.func @binary_cross_entropy_with_logits(%arg0: tensor<3x4xf32>, %arg1: tensor<3x4xf32>) -> tensor<f32> {
  %0 = "flambeau.binary_cross_entropy_with_logits"(%arg0, %arg1) {operandSegmentSizes = array<i32: 1, 1, 0, 0>, reduction = 1 : i64} : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<f32>
  return %0 : tensor<f32>
}

// CHECK-LABEL: func.func @nll_loss_forward(
// CHECK: "flambeau.nll_loss_forward"(%arg0, %arg1)
// CHECK-SAME: (tensor<5x4xf32>, tensor<5xi64>) -> (tensor<f32>, tensor<f32>)
func.func @nll_loss_forward(%arg0: tensor<5x4xf32>, %arg1: tensor<5xi64>) -> (tensor<f32>, tensor<f32>) {
  %0:2 = "flambeau.nll_loss_forward"(%arg0, %arg1) {ignore_index = -100 : i64, operandSegmentSizes = array<i32: 1, 1, 0>, reduction = 1 : i64} : (tensor<5x4xf32>, tensor<5xi64>) -> (tensor<f32>, tensor<f32>)
  return %0#0, %0#1 : tensor<f32>, tensor<f32>
}

// CHECK-LABEL: func.func @nll_loss2d_forward(
// CHECK: "flambeau.nll_loss2d_forward"(%arg0, %arg1, %arg2)
// CHECK-SAME: (tensor<2x4x3x2xf32>, tensor<2x3x2xi64>, tensor<4xf32>) -> (tensor<f32>, tensor<f32>)
func.func @nll_loss2d_forward(%arg0: tensor<2x4x3x2xf32>, %arg1: tensor<2x3x2xi64>, %arg2: tensor<4xf32>) -> (tensor<f32>, tensor<f32>) {
  %0:2 = "flambeau.nll_loss2d_forward"(%arg0, %arg1, %arg2) {ignore_index = -100 : i64, operandSegmentSizes = array<i32: 1, 1, 1>, reduction = 1 : i64} : (tensor<2x4x3x2xf32>, tensor<2x3x2xi64>, tensor<4xf32>) -> (tensor<f32>, tensor<f32>)
  return %0#0, %0#1 : tensor<f32>, tensor<f32>
}
