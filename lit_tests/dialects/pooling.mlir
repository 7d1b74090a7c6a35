// RUN: flambeau-opt %s | flambeau-opt | FileCheck %s
// RUN: flambeau-opt %s --decompose --autodiff | FileCheck %s --check-prefix=GRADIENT
// RUN: flambeau-opt %s --decompose | FileCheck %s --check-prefix=DECOMPOSE

// CHECK-LABEL: func.func @maximum
// CHECK: "flambeau.max_pool2d_with_indices"
// CHECK-SAME: -> (tensor<?x3x4x4xf32>, tensor<?x3x4x4xi64>)
func.func @maximum(%x: tensor<?x3x8x8xf32>) -> (tensor<?x3x4x4xf32>, tensor<?x3x4x4xi64>) {
  %0, %1 = "flambeau.max_pool2d_with_indices"(%x) {ceil_mode = false, dilation = array<i64: 1>, kernel_size = array<i64: 2, 2>, padding = array<i64: 0>, stride = array<i64>} : (tensor<?x3x8x8xf32>) -> (tensor<?x3x4x4xf32>, tensor<?x3x4x4xi64>)
  return %0, %1 : tensor<?x3x4x4xf32>, tensor<?x3x4x4xi64>
}

// CHECK-LABEL: func.func @average
// CHECK: "flambeau.avg_pool2d"
// CHECK-SAME: divisor_override, kernel_size
func.func @average(%x: tensor<2x3x8x8xf32>) -> tensor<2x3x4x4xf32> {
  %0 = "flambeau.avg_pool2d"(%x) {ceil_mode = false, count_include_pad = true, divisor_override = unit, kernel_size = array<i64: 3, 3>, padding = array<i64: 1, 1>, stride = array<i64: 2, 2>} : (tensor<2x3x8x8xf32>) -> tensor<2x3x4x4xf32>
  return %0 : tensor<2x3x4x4xf32>
}

// CHECK-LABEL: func.func @adaptive
// CHECK: "flambeau.adaptive_avg_pool2d"
// DECOMPOSE-LABEL: func.func @adaptive
// DECOMPOSE-NOT: adaptive_avg_pool2d
// DECOMPOSE: "flambeau.avg_pool2d"
// DECOMPOSE-SAME: kernel_size = array<i64: 4, 2>
func.func @adaptive(%x: tensor<2x3x8x8xf32>) -> tensor<2x3x2x4xf32> {
  %0 = "flambeau.adaptive_avg_pool2d"(%x) {output_size = array<i64: 2, 4>} : (tensor<2x3x8x8xf32>) -> tensor<2x3x2x4xf32>
  return %0 : tensor<2x3x2x4xf32>
}

// The gradient of maxima takes positions in windows, which are bytes; its own gradient takes them back.
// GRADIENT-LABEL: func.func @gradient_of_maximum
// GRADIENT: %[[M:.*]]:2 = "flambeau.max_pool2d_with_indices"
// GRADIENT: %[[O:.*]] = "flambeau.max_pool_offsets"(%[[M]]#1, {{.*}} -> tensor<?x3x4x4xi8>
// GRADIENT: "flambeau.max_pool_grad"(%{{.*}}, %[[O]]
func.func @gradient_of_maximum(%x: tensor<?x3x8x8xf32>) -> tensor<?x3x4x4xf32> {
  %0, %1 = "flambeau.max_pool2d_with_indices"(%x) {ceil_mode = false, dilation = array<i64: 1>, kernel_size = array<i64: 2, 2>, padding = array<i64: 0>, stride = array<i64>} : (tensor<?x3x8x8xf32>) -> (tensor<?x3x4x4xf32>, tensor<?x3x4x4xi64>)
  return %0 : tensor<?x3x4x4xf32>
}

// GRADIENT-LABEL: func.func @gradient_of_gradient
// GRADIENT: "flambeau.max_pool_indices"(%arg1){{.*}} -> tensor<2x3x4x4xi64>
// GRADIENT: "flambeau.gather"
func.func @gradient_of_gradient(%g: tensor<2x3x4x4xf32>, %o: tensor<2x3x4x4xi8>) -> tensor<2x3x8x8xf32> {
  %0 = "flambeau.max_pool_grad"(%g, %o) {dilation = array<i64: 1, 1>, input_shape = array<i64: 2, 3, 8, 8>, kernel_size = array<i64: 2, 2>, padding = array<i64: 0, 0>, stride = array<i64: 2, 2>, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<2x3x4x4xf32>, tensor<2x3x4x4xi8>) -> tensor<2x3x8x8xf32>
  return %0 : tensor<2x3x8x8xf32>
}
