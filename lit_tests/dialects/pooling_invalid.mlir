// RUN: flambeau-opt %s --split-input-file --verify-diagnostics

func.func @padding(%x: tensor<2x3x8x8xf32>) -> tensor<2x3x6x6xf32> {
  // expected-error @below {{padding 2 is more than half of kernel_size 2}}
  %0 = "flambeau.avg_pool2d"(%x) {ceil_mode = false, count_include_pad = true, divisor_override = unit, kernel_size = array<i64: 2, 2>, padding = array<i64: 2, 2>, stride = array<i64: 2, 2>} : (tensor<2x3x8x8xf32>) -> tensor<2x3x6x6xf32>
  return %0 : tensor<2x3x6x6xf32>
}

// -----

func.func @dynamic(%x: tensor<2x3x?x8xf32>) -> (tensor<2x3x2x4xf32>, tensor<2x3x2x4xi64>) {
  // expected-error @below {{adaptive maxima need static spatial sizes, found [2, 3, -1, 8]}}
  %0:2 = "flambeau.adaptive_max_pool2d"(%x) {output_size = array<i64: 2, 4>} : (tensor<2x3x?x8xf32>) -> (tensor<2x3x2x4xf32>, tensor<2x3x2x4xi64>)
  return %0#0, %0#1 : tensor<2x3x2x4xf32>, tensor<2x3x2x4xi64>
}

// -----

func.func @kind(%x: tensor<2x3x8x8xi64>) -> (tensor<2x3x4x4xi64>, tensor<2x3x4x4xi64>) {
  // expected-error @below {{pooling needs a float tensor, found tensor<2x3x8x8xi64>}}
  %0, %1 = "flambeau.max_pool2d_with_indices"(%x) {ceil_mode = false, dilation = array<i64: 1>, kernel_size = array<i64: 2, 2>, padding = array<i64: 0>, stride = array<i64>} : (tensor<2x3x8x8xi64>) -> (tensor<2x3x4x4xi64>, tensor<2x3x4x4xi64>)
  return %0, %1 : tensor<2x3x4x4xi64>, tensor<2x3x4x4xi64>
}

// -----

func.func @offsets_too_wide(%g: tensor<2x3x4x4xf32>, %o: tensor<2x3x4x4xi64>) -> tensor<2x3x8x8xf32> {
  // expected-error @below {{offsets are tensor<2x3x4x4xi64>, but must be of i8}}
  %0 = "flambeau.max_pool_grad"(%g, %o) {dilation = array<i64: 1, 1>, input_shape = array<i64: 2, 3, 8, 8>, kernel_size = array<i64: 2, 2>, padding = array<i64: 0, 0>, stride = array<i64: 2, 2>, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<2x3x4x4xf32>, tensor<2x3x4x4xi64>) -> tensor<2x3x8x8xf32>
  return %0 : tensor<2x3x8x8xf32>
}
