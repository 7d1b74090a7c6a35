// RUN: flambeau-opt %s --split-input-file --verify-diagnostics

func.func @channels(%x: tensor<2x5x8x8xf32>, %w: tensor<4x3x3x3xf32>) -> tensor<2x4x8x8xf32> {
  // expected-error @below {{input has 5 channels, but weight [4, 3, 3, 3] with 1 groups takes 3}}
  %0 = "flambeau.convolution"(%x, %w) {dilation = array<i64: 1, 1>, groups = 1 : i64, output_padding = array<i64: 0, 0>, padding = array<i64: 1, 1>, stride = array<i64: 1, 1>, transposed = false, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<2x5x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<2x4x8x8xf32>
  return %0 : tensor<2x4x8x8xf32>
}

// -----

func.func @stride(%x: tensor<2x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) -> tensor<2x4x8x8xf32> {
  // expected-error @below {{stride is [0, 1]; 2 numbers of at least 1 are needed}}
  %0 = "flambeau.convolution"(%x, %w) {dilation = array<i64: 1, 1>, groups = 1 : i64, output_padding = array<i64: 0, 0>, padding = array<i64: 1, 1>, stride = array<i64: 0, 1>, transposed = false, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<2x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<2x4x8x8xf32>
  return %0 : tensor<2x4x8x8xf32>
}

// -----

func.func @result(%g: tensor<2x4x7x8xf32>, %x: tensor<2x3x8x8xf32>) -> tensor<4x3x3x3xf32> {
  // expected-error @below {{but the convolution's result has sizes [2, 4, 8, 8]}}
  %0 = "flambeau.convolution_weight_grad"(%g, %x) {dilation = array<i64: 1, 1>, groups = 1 : i64, output_padding = array<i64: 0, 0>, padding = array<i64: 1, 1>, stride = array<i64: 1, 1>, transposed = false, weight_shape = array<i64: 4, 3, 3, 3>} : (tensor<2x4x7x8xf32>, tensor<2x3x8x8xf32>) -> tensor<4x3x3x3xf32>
  return %0 : tensor<4x3x3x3xf32>
}
