// RUN: flambeau-opt %s | flambeau-opt | FileCheck %s
// RUN: flambeau-opt %s --lower-to-torch | FileCheck %s --check-prefix=LOWER

// CHECK-LABEL: func.func @forward
// CHECK: "flambeau.convolution"(%arg0, %arg1, %arg2)
// CHECK-SAME: groups = 1 : i64
// CHECK-SAME: (tensor<?x3x8x8xf32>, tensor<4x3x3x3xf32>, tensor<4xf32>) -> tensor<?x4x8x8xf32>

// The weight becomes (height, width, in, out) and the input channels last.
// LOWER-LABEL: func.func @forward
// LOWER: tensor.pad
// LOWER: linalg.conv_2d_nhwc_hwcf
// LOWER-SAME: tensor<?x10x10x3xf32>, tensor<3x3x3x4xf32>
func.func @forward(%x: tensor<?x3x8x8xf32>, %w: tensor<4x3x3x3xf32>, %b: tensor<4xf32>) -> tensor<?x4x8x8xf32> {
  %0 = "flambeau.convolution"(%x, %w, %b) {dilation = array<i64: 1, 1>, groups = 1 : i64, output_padding = array<i64: 0, 0>, padding = array<i64: 1, 1>, stride = array<i64: 1, 1>, transposed = false, operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<?x3x8x8xf32>, tensor<4x3x3x3xf32>, tensor<4xf32>) -> tensor<?x4x8x8xf32>
  return %0 : tensor<?x4x8x8xf32>
}

// CHECK-LABEL: func.func @input_grad
// CHECK: "flambeau.convolution_input_grad"
func.func @input_grad(%g: tensor<2x4x8x8xf32>, %w: tensor<4x3x3x3xf32>) -> tensor<2x3x8x8xf32> {
  %0 = "flambeau.convolution_input_grad"(%g, %w) {dilation = array<i64: 1, 1>, groups = 1 : i64, input_shape = array<i64: 2, 3, 8, 8>, output_padding = array<i64: 0, 0>, padding = array<i64: 1, 1>, stride = array<i64: 1, 1>, transposed = false, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<2x4x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<2x3x8x8xf32>
  return %0 : tensor<2x3x8x8xf32>
}

// CHECK-LABEL: func.func @weight_grad
// CHECK: "flambeau.convolution_weight_grad"
func.func @weight_grad(%g: tensor<2x4x8x8xf32>, %x: tensor<2x3x8x8xf32>) -> tensor<4x3x3x3xf32> {
  %0 = "flambeau.convolution_weight_grad"(%g, %x) {dilation = array<i64: 1, 1>, groups = 1 : i64, output_padding = array<i64: 0, 0>, padding = array<i64: 1, 1>, stride = array<i64: 1, 1>, transposed = false, weight_shape = array<i64: 4, 3, 3, 3>} : (tensor<2x4x8x8xf32>, tensor<2x3x8x8xf32>) -> tensor<4x3x3x3xf32>
  return %0 : tensor<4x3x3x3xf32>
}
