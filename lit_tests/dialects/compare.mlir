// RUN: flambeau-opt %s | flambeau-opt | FileCheck %s
// Comparisons, logical and bitwise operations, choices: every op survives printing and parsing, with `?` dims.

// CHECK-LABEL: func.func @eq(
// CHECK: "flambeau.eq"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xi1>
func.func @eq(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xi1> {
  %0 = "flambeau.eq"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xi1>
  return %0 : tensor<?x?xi1>
}

// CHECK-LABEL: func.func @ne(
// CHECK: "flambeau.ne"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xi1>
func.func @ne(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xi1> {
  %0 = "flambeau.ne"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xi1>
  return %0 : tensor<?x?xi1>
}

// CHECK-LABEL: func.func @lt(
// CHECK: "flambeau.lt"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xi1>
func.func @lt(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xi1> {
  %0 = "flambeau.lt"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xi1>
  return %0 : tensor<?x?xi1>
}

// CHECK-LABEL: func.func @le(
// CHECK: "flambeau.le"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xi1>
func.func @le(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xi1> {
  %0 = "flambeau.le"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xi1>
  return %0 : tensor<?x?xi1>
}

// CHECK-LABEL: func.func @gt(
// CHECK: "flambeau.gt"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xi1>
func.func @gt(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xi1> {
  %0 = "flambeau.gt"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xi1>
  return %0 : tensor<?x?xi1>
}

// CHECK-LABEL: func.func @ge(
// CHECK: "flambeau.ge"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xi1>
func.func @ge(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xi1> {
  %0 = "flambeau.ge"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xi1>
  return %0 : tensor<?x?xi1>
}

// CHECK-LABEL: func.func @isnan(
// CHECK: "flambeau.isnan"(%arg0) : (tensor<?xf32>) -> tensor<?xi1>
func.func @isnan(%arg0: tensor<?xf32>) -> tensor<?xi1> {
  %0 = "flambeau.isnan"(%arg0) : (tensor<?xf32>) -> tensor<?xi1>
  return %0 : tensor<?xi1>
}

// CHECK-LABEL: func.func @isinf(
// CHECK: "flambeau.isinf"(%arg0) : (tensor<?xf32>) -> tensor<?xi1>
func.func @isinf(%arg0: tensor<?xf32>) -> tensor<?xi1> {
  %0 = "flambeau.isinf"(%arg0) : (tensor<?xf32>) -> tensor<?xi1>
  return %0 : tensor<?xi1>
}

// CHECK-LABEL: func.func @isfinite(
// CHECK: "flambeau.isfinite"(%arg0) : (tensor<?xf32>) -> tensor<?xi1>
func.func @isfinite(%arg0: tensor<?xf32>) -> tensor<?xi1> {
  %0 = "flambeau.isfinite"(%arg0) : (tensor<?xf32>) -> tensor<?xi1>
  return %0 : tensor<?xi1>
}

// CHECK-LABEL: func.func @signbit(
// CHECK: "flambeau.signbit"(%arg0) : (tensor<?xf32>) -> tensor<?xi1>
func.func @signbit(%arg0: tensor<?xf32>) -> tensor<?xi1> {
  %0 = "flambeau.signbit"(%arg0) : (tensor<?xf32>) -> tensor<?xi1>
  return %0 : tensor<?xi1>
}

// CHECK-LABEL: func.func @logical_and(
// CHECK: "flambeau.logical_and"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xi1>
func.func @logical_and(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xi1> {
  %0 = "flambeau.logical_and"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xi1>
  return %0 : tensor<?x?xi1>
}

// CHECK-LABEL: func.func @logical_or(
// CHECK: "flambeau.logical_or"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xi1>
func.func @logical_or(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xi1> {
  %0 = "flambeau.logical_or"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xi1>
  return %0 : tensor<?x?xi1>
}

// CHECK-LABEL: func.func @logical_xor(
// CHECK: "flambeau.logical_xor"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xi1>
func.func @logical_xor(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xi1> {
  %0 = "flambeau.logical_xor"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xi1>
  return %0 : tensor<?x?xi1>
}

// CHECK-LABEL: func.func @logical_not(
// CHECK: "flambeau.logical_not"(%arg0) : (tensor<?xf32>) -> tensor<?xi1>
func.func @logical_not(%arg0: tensor<?xf32>) -> tensor<?xi1> {
  %0 = "flambeau.logical_not"(%arg0) : (tensor<?xf32>) -> tensor<?xi1>
  return %0 : tensor<?xi1>
}

// CHECK-LABEL: func.func @bitwise_and(
// CHECK: "flambeau.bitwise_and"(%arg0, %arg1) : (tensor<3x4xi64>, tensor<3x4xi64>) -> tensor<3x4xi64>
func.func @bitwise_and(%arg0: tensor<3x4xi64>, %arg1: tensor<3x4xi64>) -> tensor<3x4xi64> {
  %0 = "flambeau.bitwise_and"(%arg0, %arg1) : (tensor<3x4xi64>, tensor<3x4xi64>) -> tensor<3x4xi64>
  return %0 : tensor<3x4xi64>
}

// CHECK-LABEL: func.func @bitwise_or(
// CHECK: "flambeau.bitwise_or"(%arg0, %arg1) : (tensor<3x4xi64>, tensor<3x4xi64>) -> tensor<3x4xi64>
func.func @bitwise_or(%arg0: tensor<3x4xi64>, %arg1: tensor<3x4xi64>) -> tensor<3x4xi64> {
  %0 = "flambeau.bitwise_or"(%arg0, %arg1) : (tensor<3x4xi64>, tensor<3x4xi64>) -> tensor<3x4xi64>
  return %0 : tensor<3x4xi64>
}

// CHECK-LABEL: func.func @bitwise_xor(
// CHECK: "flambeau.bitwise_xor"(%arg0, %arg1) : (tensor<3x4xi64>, tensor<3x4xi64>) -> tensor<3x4xi64>
func.func @bitwise_xor(%arg0: tensor<3x4xi64>, %arg1: tensor<3x4xi64>) -> tensor<3x4xi64> {
  %0 = "flambeau.bitwise_xor"(%arg0, %arg1) : (tensor<3x4xi64>, tensor<3x4xi64>) -> tensor<3x4xi64>
  return %0 : tensor<3x4xi64>
}

// CHECK-LABEL: func.func @bitwise_not(
// CHECK: "flambeau.bitwise_not"(%arg0) : (tensor<3x4xi64>) -> tensor<3x4xi64>
func.func @bitwise_not(%arg0: tensor<3x4xi64>) -> tensor<3x4xi64> {
  %0 = "flambeau.bitwise_not"(%arg0) : (tensor<3x4xi64>) -> tensor<3x4xi64>
  return %0 : tensor<3x4xi64>
}

// CHECK-LABEL: func.func @bitwise_left_shift(
// CHECK: "flambeau.bitwise_left_shift"(%arg0, %arg1) : (tensor<?x?xi64>, tensor<?x?xi64>) -> tensor<?x?xi64>
func.func @bitwise_left_shift(%arg0: tensor<?x?xi64>, %arg1: tensor<?x?xi64>) -> tensor<?x?xi64> {
  %0 = "flambeau.bitwise_left_shift"(%arg0, %arg1) : (tensor<?x?xi64>, tensor<?x?xi64>) -> tensor<?x?xi64>
  return %0 : tensor<?x?xi64>
}

// CHECK-LABEL: func.func @bitwise_right_shift(
// CHECK: "flambeau.bitwise_right_shift"(%arg0, %arg1) : (tensor<?x?xi64>, tensor<?x?xi64>) -> tensor<?x?xi64>
func.func @bitwise_right_shift(%arg0: tensor<?x?xi64>, %arg1: tensor<?x?xi64>) -> tensor<?x?xi64> {
  %0 = "flambeau.bitwise_right_shift"(%arg0, %arg1) : (tensor<?x?xi64>, tensor<?x?xi64>) -> tensor<?x?xi64>
  return %0 : tensor<?x?xi64>
}

// CHECK-LABEL: func.func @where(
// CHECK: "flambeau.where"(%arg0, %arg1, %arg2) : (tensor<?x?xi1>, tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @where(%arg0: tensor<?x?xi1>, %arg1: tensor<?x?xf32>, %arg2: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.where"(%arg0, %arg1, %arg2) : (tensor<?x?xi1>, tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @heaviside(
// CHECK: "flambeau.heaviside"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @heaviside(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.heaviside"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}
