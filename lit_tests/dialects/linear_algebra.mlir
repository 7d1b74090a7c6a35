// RUN: flambeau-opt %s | flambeau-opt | FileCheck %s

// CHECK-LABEL: func.func @mm(
// CHECK: "flambeau.mm"(%arg0, %arg1)
// CHECK-SAME: (tensor<3x5xf32>, tensor<5x4xf32>) -> tensor<3x4xf32>
func.func @mm(%arg0: tensor<3x5xf32>, %arg1: tensor<5x4xf32>) -> tensor<3x4xf32> {
  %0 = "flambeau.mm"(%arg0, %arg1) : (tensor<3x5xf32>, tensor<5x4xf32>) -> tensor<3x4xf32>
  return %0 : tensor<3x4xf32>
}

// CHECK-LABEL: func.func @bmm(
// CHECK: "flambeau.bmm"(%arg0, %arg1)
// CHECK-SAME: (tensor<2x3x5xf32>, tensor<2x5x4xf32>) -> tensor<2x3x4xf32>
func.func @bmm(%arg0: tensor<2x3x5xf32>, %arg1: tensor<2x5x4xf32>) -> tensor<2x3x4xf32> {
  %0 = "flambeau.bmm"(%arg0, %arg1) : (tensor<2x3x5xf32>, tensor<2x5x4xf32>) -> tensor<2x3x4xf32>
  return %0 : tensor<2x3x4xf32>
}

// CHECK-LABEL: func.func @addmm(
// CHECK: "flambeau.addmm"(%arg0, %arg1, %arg2)
// CHECK-SAME: (tensor<4xf32>, tensor<3x5xf32>, tensor<5x4xf32>) -> tensor<3x4xf32>
func.func @addmm(%arg0: tensor<4xf32>, %arg1: tensor<3x5xf32>, %arg2: tensor<5x4xf32>) -> tensor<3x4xf32> {
  %0 = "flambeau.addmm"(%arg0, %arg1, %arg2) {alpha = 1 : i64, beta = 1 : i64} : (tensor<4xf32>, tensor<3x5xf32>, tensor<5x4xf32>) -> tensor<3x4xf32>
  return %0 : tensor<3x4xf32>
}

// CHECK-LABEL: func.func @baddbmm(
// CHECK: "flambeau.baddbmm"(%arg0, %arg1, %arg2)
// CHECK-SAME: (tensor<2x3x4xf32>, tensor<2x3x5xf32>, tensor<2x5x4xf32>) -> tensor<2x3x4xf32>
func.func @baddbmm(%arg0: tensor<2x3x4xf32>, %arg1: tensor<2x3x5xf32>, %arg2: tensor<2x5x4xf32>) -> tensor<2x3x4xf32> {
  %0 = "flambeau.baddbmm"(%arg0, %arg1, %arg2) {alpha = 2.000000e+00 : f64, beta = 5.000000e-01 : f64} : (tensor<2x3x4xf32>, tensor<2x3x5xf32>, tensor<2x5x4xf32>) -> tensor<2x3x4xf32>
  return %0 : tensor<2x3x4xf32>
}

// CHECK-LABEL: func.func @addbmm(
// CHECK: "flambeau.addbmm"(%arg0, %arg1, %arg2)
// CHECK-SAME: (tensor<3x4xf32>, tensor<2x3x5xf32>, tensor<2x5x4xf32>) -> tensor<3x4xf32>
func.func @addbmm(%arg0: tensor<3x4xf32>, %arg1: tensor<2x3x5xf32>, %arg2: tensor<2x5x4xf32>) -> tensor<3x4xf32> {
  %0 = "flambeau.addbmm"(%arg0, %arg1, %arg2) {alpha = 2.000000e+00 : f64, beta = 5.000000e-01 : f64} : (tensor<3x4xf32>, tensor<2x3x5xf32>, tensor<2x5x4xf32>) -> tensor<3x4xf32>
  return %0 : tensor<3x4xf32>
}

// CHECK-LABEL: func.func @mv(
// CHECK: "flambeau.mv"(%arg0, %arg1)
// CHECK-SAME: (tensor<3x5xf32>, tensor<5xf32>) -> tensor<3xf32>
func.func @mv(%arg0: tensor<3x5xf32>, %arg1: tensor<5xf32>) -> tensor<3xf32> {
  %0 = "flambeau.mv"(%arg0, %arg1) : (tensor<3x5xf32>, tensor<5xf32>) -> tensor<3xf32>
  return %0 : tensor<3xf32>
}

// CHECK-LABEL: func.func @addmv(
// CHECK: "flambeau.addmv"(%arg0, %arg1, %arg2)
// CHECK-SAME: (tensor<3xf32>, tensor<3x5xf32>, tensor<5xf32>) -> tensor<3xf32>
func.func @addmv(%arg0: tensor<3xf32>, %arg1: tensor<3x5xf32>, %arg2: tensor<5xf32>) -> tensor<3xf32> {
  %0 = "flambeau.addmv"(%arg0, %arg1, %arg2) {alpha = 2.000000e+00 : f64, beta = 5.000000e-01 : f64} : (tensor<3xf32>, tensor<3x5xf32>, tensor<5xf32>) -> tensor<3xf32>
  return %0 : tensor<3xf32>
}

// CHECK-LABEL: func.func @dot(
// CHECK: "flambeau.dot"(%arg0, %arg1)
// CHECK-SAME: (tensor<5xf32>, tensor<5xf32>) -> tensor<f32>
func.func @dot(%arg0: tensor<5xf32>, %arg1: tensor<5xf32>) -> tensor<f32> {
  %0 = "flambeau.dot"(%arg0, %arg1) : (tensor<5xf32>, tensor<5xf32>) -> tensor<f32>
  return %0 : tensor<f32>
}

// CHECK-LABEL: func.func @addr(
// CHECK: "flambeau.addr"(%arg0, %arg1, %arg2)
// CHECK-SAME: (tensor<3x4xf32>, tensor<3xf32>, tensor<4xf32>) -> tensor<3x4xf32>
func.func @addr(%arg0: tensor<3x4xf32>, %arg1: tensor<3xf32>, %arg2: tensor<4xf32>) -> tensor<3x4xf32> {
  %0 = "flambeau.addr"(%arg0, %arg1, %arg2) {alpha = 2.000000e+00 : f64, beta = 5.000000e-01 : f64} : (tensor<3x4xf32>, tensor<3xf32>, tensor<4xf32>) -> tensor<3x4xf32>
  return %0 : tensor<3x4xf32>
}
