// RUN: flambeau-opt %s --split-input-file --verify-diagnostics

func.func @dim(%x: tensor<3x5xf32>) -> tensor<3x5xf32> {
  // expected-error @below {{dim 2 is out of range for rank 2}}
  %0 = "flambeau.softmax"(%x) {dim = 2 : i64} : (tensor<3x5xf32>) -> tensor<3x5xf32>
  return %0 : tensor<3x5xf32>
}

// -----

func.func @integers(%x: tensor<3x5xi64>) -> tensor<3x5xi64> {
  // expected-error @below {{operand 'x' must be of float elements, found tensor<3x5xi64>}}
  %0 = "flambeau.log_softmax"(%x) {dim = 1 : i64} : (tensor<3x5xi64>) -> tensor<3x5xi64>
  return %0 : tensor<3x5xi64>
}

// -----

func.func @layer_norm(%x: tensor<3x5xf32>) -> tensor<3x5xf32> {
  // expected-error @below {{normalized_shape [4] must be the last sizes of tensor<3x5xf32>, at least one}}
  %0:3 = "flambeau.native_layer_norm"(%x) {eps = 1.0e-05 : f64, normalized_shape = array<i64: 4>, operandSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<3x5xf32>) -> (tensor<3x5xf32>, tensor<3x1xf32>, tensor<3x1xf32>)
  return %0#0 : tensor<3x5xf32>
}

// -----

func.func @statistics(%x: tensor<3x5xf32>) -> tensor<3x5xf32> {
  // expected-error @below {{result #1 is tensor<3xf32>, inferred tensor<3x1xf32>}}
  %0:3 = "flambeau.native_layer_norm"(%x) {eps = 1.0e-05 : f64, normalized_shape = array<i64: 5>, operandSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<3x5xf32>) -> (tensor<3x5xf32>, tensor<3xf32>, tensor<3x1xf32>)
  return %0#0 : tensor<3x5xf32>
}

// -----

func.func @group(%x: tensor<2x6x4xf32>) -> tensor<2x6x4xf32> {
  // expected-error @below {{group is 4, but must divide the number of channels, 6}}
  %0:3 = "flambeau.native_group_norm"(%x) {c = 6 : i64, eps = 1.0e-05 : f64, group = 4 : i64, hxw = 4 : i64, n = 2 : i64, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0>} : (tensor<2x6x4xf32>) -> (tensor<2x6x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>)
  return %0#0 : tensor<2x6x4xf32>
}

// -----

func.func @parameter(%x: tensor<2x6xf32>, %w: tensor<5xf32>) -> tensor<2x6xf32> {
  // expected-error @below {{operand 'weight' must have shape [6], found tensor<5xf32>}}
  %0:3 = "flambeau.native_batch_norm_no_stats"(%x, %w) {eps = 1.0e-05 : f64, momentum = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<2x6xf32>, tensor<5xf32>) -> (tensor<2x6xf32>, tensor<6xf32>, tensor<6xf32>)
  return %0#0 : tensor<2x6xf32>
}

// -----

func.func @mixed(%x: tensor<2x6xf32>, %w: tensor<6xf16>) -> tensor<2x6xf32> {
  // expected-error @below {{parameters of f16 do not go with tensor<2x6xf32>}}
  %0:3 = "flambeau.native_batch_norm_no_stats"(%x, %w) {eps = 1.0e-05 : f64, momentum = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<2x6xf32>, tensor<6xf16>) -> (tensor<2x6xf32>, tensor<6xf16>, tensor<6xf16>)
  return %0#0 : tensor<2x6xf32>
}
