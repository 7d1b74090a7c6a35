// RUN: flambeau-opt %s | flambeau-opt | FileCheck %s

// CHECK-LABEL: func.func @softmax(
// CHECK: "flambeau.softmax"(%arg0)
// CHECK-SAME: (tensor<4x5xf32>) -> tensor<4x5xf32>
func.func @softmax(%arg0: tensor<4x5xf32>) -> tensor<4x5xf32> {
  %0 = "flambeau.softmax"(%arg0) {dim = 1 : i64} : (tensor<4x5xf32>) -> tensor<4x5xf32>
  return %0 : tensor<4x5xf32>
}

// CHECK-LABEL: func.func @log_softmax(
// CHECK: "flambeau.log_softmax"(%arg0)
// CHECK-SAME: (tensor<4x5xf32>) -> tensor<4x5xf32>
func.func @log_softmax(%arg0: tensor<4x5xf32>) -> tensor<4x5xf32> {
  %0 = "flambeau.log_softmax"(%arg0) {dim = 1 : i64} : (tensor<4x5xf32>) -> tensor<4x5xf32>
  return %0 : tensor<4x5xf32>
}

// CHECK-LABEL: func.func @safe_softmax(
// CHECK: "flambeau.safe_softmax"(%arg0)
// CHECK-SAME: (tensor<4x5xf32>) -> tensor<4x5xf32>
func.func @safe_softmax(%arg0: tensor<4x5xf32>) -> tensor<4x5xf32> {
  %0 = "flambeau.safe_softmax"(%arg0) {dim = 1 : i64} : (tensor<4x5xf32>) -> tensor<4x5xf32>
  return %0 : tensor<4x5xf32>
}

// CHECK-LABEL: func.func @native_layer_norm(
// CHECK: "flambeau.native_layer_norm"(%arg0, %arg1, %arg2)
// CHECK-SAME: (tensor<4x6xf32>, tensor<6xf32>, tensor<6xf32>) -> (tensor<4x6xf32>, tensor<4x1xf32>, tensor<4x1xf32>)
func.func @native_layer_norm(%arg0: tensor<4x6xf32>, %arg1: tensor<6xf32>, %arg2: tensor<6xf32>) -> (tensor<4x6xf32>, tensor<4x1xf32>, tensor<4x1xf32>) {
  %0:3 = "flambeau.native_layer_norm"(%arg0, %arg1, %arg2) {eps = 1.000000e-05 : f64, normalized_shape = array<i64: 6>, operandSegmentSizes = array<i32: 1, 0, 1, 1>} : (tensor<4x6xf32>, tensor<6xf32>, tensor<6xf32>) -> (tensor<4x6xf32>, tensor<4x1xf32>, tensor<4x1xf32>)
  return %0#0, %0#1, %0#2 : tensor<4x6xf32>, tensor<4x1xf32>, tensor<4x1xf32>
}

// CHECK-LABEL: func.func @native_group_norm(
// CHECK: "flambeau.native_group_norm"(%arg0, %arg1, %arg2)
// CHECK-SAME: (tensor<2x6x3x4xf32>, tensor<6xf32>, tensor<6xf32>) -> (tensor<2x6x3x4xf32>, tensor<2x3xf32>, tensor<2x3xf32>)
func.func @native_group_norm(%arg0: tensor<2x6x3x4xf32>, %arg1: tensor<6xf32>, %arg2: tensor<6xf32>) -> (tensor<2x6x3x4xf32>, tensor<2x3xf32>, tensor<2x3xf32>) {
  %0:3 = "flambeau.native_group_norm"(%arg0, %arg1, %arg2) {c = 6 : i64, eps = 1.000000e-05 : f64, group = 3 : i64, hxw = 12 : i64, n = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0>} : (tensor<2x6x3x4xf32>, tensor<6xf32>, tensor<6xf32>) -> (tensor<2x6x3x4xf32>, tensor<2x3xf32>, tensor<2x3xf32>)
  return %0#0, %0#1, %0#2 : tensor<2x6x3x4xf32>, tensor<2x3xf32>, tensor<2x3xf32>
}

// CHECK-LABEL: func.func @native_batch_norm(
// CHECK: "flambeau.native_batch_norm"(%arg0, %arg1, %arg2, %arg3, %arg4)
// CHECK-SAME: (tensor<4x3x2x5xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) -> (tensor<4x3x2x5xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>)
func.func @native_batch_norm(%arg0: tensor<4x3x2x5xf32>, %arg1: tensor<3xf32>, %arg2: tensor<3xf32>, %arg3: tensor<3xf32>, %arg4: tensor<3xf32>) -> (tensor<4x3x2x5xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) {
  %0:5 = "flambeau.native_batch_norm"(%arg0, %arg1, %arg2, %arg3, %arg4) {eps = 1.000000e-05 : f64, momentum = 1.000000e-01 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>} : (tensor<4x3x2x5xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) -> (tensor<4x3x2x5xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>)
  return %0#0, %0#1, %0#2, %0#3, %0#4 : tensor<4x3x2x5xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>
}

// CHECK-LABEL: func.func @native_batch_norm_no_stats(
// CHECK: "flambeau.native_batch_norm_no_stats"(%arg0, %arg1, %arg2)
// CHECK-SAME: (tensor<4x3x2x5xf32>, tensor<3xf32>, tensor<3xf32>) -> (tensor<4x3x2x5xf32>, tensor<3xf32>, tensor<3xf32>)
func.func @native_batch_norm_no_stats(%arg0: tensor<4x3x2x5xf32>, %arg1: tensor<3xf32>, %arg2: tensor<3xf32>) -> (tensor<4x3x2x5xf32>, tensor<3xf32>, tensor<3xf32>) {
  %0:3 = "flambeau.native_batch_norm_no_stats"(%arg0, %arg1, %arg2) {eps = 1.000000e-05 : f64, momentum = 1.000000e-01 : f64, operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<4x3x2x5xf32>, tensor<3xf32>, tensor<3xf32>) -> (tensor<4x3x2x5xf32>, tensor<3xf32>, tensor<3xf32>)
  return %0#0, %0#1, %0#2 : tensor<4x3x2x5xf32>, tensor<3xf32>, tensor<3xf32>
}

// CHECK-LABEL: func.func @native_batch_norm_no_training(
// CHECK: "flambeau.native_batch_norm_no_training"(%arg0, %arg1, %arg2, %arg3, %arg4)
// CHECK-SAME: (tensor<4x3x2x5xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) -> (tensor<4x3x2x5xf32>, tensor<0xf32>, tensor<0xf32>)
func.func @native_batch_norm_no_training(%arg0: tensor<4x3x2x5xf32>, %arg1: tensor<3xf32>, %arg2: tensor<3xf32>, %arg3: tensor<3xf32>, %arg4: tensor<3xf32>) -> (tensor<4x3x2x5xf32>, tensor<0xf32>, tensor<0xf32>) {
  %0:3 = "flambeau.native_batch_norm_no_training"(%arg0, %arg1, %arg2, %arg3, %arg4) {eps = 1.000000e-05 : f64, momentum = 1.000000e-01 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>} : (tensor<4x3x2x5xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) -> (tensor<4x3x2x5xf32>, tensor<0xf32>, tensor<0xf32>)
  return %0#0, %0#1, %0#2 : tensor<4x3x2x5xf32>, tensor<0xf32>, tensor<0xf32>
}
