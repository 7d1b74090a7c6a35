// RUN: flambeau-opt %s --split-input-file --verify-diagnostics

func.func @reduction(%x: tensor<3x4xf32>, %y: tensor<3x4xf32>) -> tensor<f32> {
  // expected-error @below {{reduction is 3, but must be 0 (none), 1 (mean) or 2 (sum)}}
  %0 = "flambeau.mse_loss"(%x, %y) {reduction = 3 : i64} : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<f32>
  return %0 : tensor<f32>
}

// -----

func.func @shapes(%x: tensor<3x4xf32>, %y: tensor<4xf32>) -> tensor<f32> {
  // expected-error @below {{operands 'x' and 'target' differ: tensor<3x4xf32> and tensor<4xf32>}}
  %0 = "flambeau.mse_loss"(%x, %y) {reduction = 1 : i64} : (tensor<3x4xf32>, tensor<4xf32>) -> tensor<f32>
  return %0 : tensor<f32>
}

// -----

func.func @result(%x: tensor<3x4xf32>, %y: tensor<3x4xf32>) -> tensor<3x4xf32> {
  // expected-error @below {{result #0 is tensor<3x4xf32>, inferred tensor<f32>}}
  %0 = "flambeau.mse_loss"(%x, %y) {reduction = 1 : i64} : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
  return %0 : tensor<3x4xf32>
}

// -----

func.func @beta(%x: tensor<3x4xf32>, %y: tensor<3x4xf32>) -> tensor<f32> {
  // expected-error @below {{beta is 0.0, but must be positive (with 0, the loss is l1_loss)}}
  %0 = "flambeau.smooth_l1_loss"(%x, %y) {beta = 0.0 : f64, reduction = 1 : i64} : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<f32>
  return %0 : tensor<f32>
}

// -----

func.func @weight(%x: tensor<3x4xf32>, %y: tensor<3x4xf32>, %w: tensor<3xf32>) -> tensor<f32> {
  // expected-error @below {{operand 'weight' of type tensor<3xf32> does not broadcast to shape [3, 4]}}
  %0 = "flambeau.binary_cross_entropy"(%x, %y, %w) {reduction = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<3x4xf32>, tensor<3x4xf32>, tensor<3xf32>) -> tensor<f32>
  return %0 : tensor<f32>
}

// -----

func.func @classes(%x: tensor<3x4xf32>, %t: tensor<3xi32>) -> tensor<f32> {
  // expected-error @below {{operand 'target' must hold int64 or uint8 classes, found tensor<3xi32>}}
  %0:2 = "flambeau.nll_loss_forward"(%x, %t) {ignore_index = -100 : i64, reduction = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<3x4xf32>, tensor<3xi32>) -> (tensor<f32>, tensor<f32>)
  return %0#0 : tensor<f32>
}

// -----

func.func @targets(%x: tensor<3x4xf32>, %t: tensor<4xi64>) -> tensor<f32> {
  // expected-error @below {{operand 'target' must have shape [3] for tensor<3x4xf32>, found tensor<4xi64>}}
  %0:2 = "flambeau.nll_loss_forward"(%x, %t) {ignore_index = -100 : i64, reduction = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<3x4xf32>, tensor<4xi64>) -> (tensor<f32>, tensor<f32>)
  return %0#0 : tensor<f32>
}
