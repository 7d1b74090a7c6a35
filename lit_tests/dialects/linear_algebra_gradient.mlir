// RUN: flambeau-opt %s --autodiff --canonicalize | FileCheck %s

// Of x @ w^T no factor is transposed back and forth: dx = g @ w, and dw = (g^T @ x)^T^T.
// CHECK-LABEL: func.func @linear(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x8xf32>, %[[W:[a-z0-9]+]]: tensor<3x8xf32>, %[[G:[a-z0-9]+]]: tensor<?x3xf32>
// CHECK: %[[OUT:.*]] = "flambeau.mm"
// CHECK: %[[DX:.*]] = "flambeau.mm"(%[[G]], %[[W]])
// CHECK: %[[GT:.*]] = "flambeau.transpose"(%[[G]])
// CHECK: %[[DW:.*]] = "flambeau.mm"(%[[GT]], %[[X]]) : (tensor<3x?xf32>, tensor<?x8xf32>) -> tensor<3x8xf32>
// CHECK: return %[[OUT]], %[[DX]], %[[DW]]
func.func @linear(%x: tensor<?x8xf32>, %w: tensor<3x8xf32>) -> tensor<?x3xf32> {
  %0 = "flambeau.t"(%w) : (tensor<3x8xf32>) -> tensor<8x3xf32>
  %1 = "flambeau.mm"(%x, %0) : (tensor<?x8xf32>, tensor<8x3xf32>) -> tensor<?x3xf32>
  return %1 : tensor<?x3xf32>
}

// The gradient of the row that addmm adds is a sum over rows.
// CHECK-LABEL: func.func @addmm(
// CHECK-SAME: %[[G:[a-z0-9]+]]: tensor<4x3xf32> {{.*}}"tangent"
// CHECK: "flambeau.sum"(%[[G]]) {dims = array<i64: 0>, keepdim = false} : (tensor<4x3xf32>) -> tensor<3xf32>
func.func @addmm(%b: tensor<3xf32>, %x: tensor<4x8xf32>, %w: tensor<8x3xf32>) -> tensor<4x3xf32> {
  %0 = "flambeau.addmm"(%b, %x, %w) {alpha = 1 : i64, beta = 1 : i64} : (tensor<3xf32>, tensor<4x8xf32>, tensor<8x3xf32>) -> tensor<4x3xf32>
  return %0 : tensor<4x3xf32>
}
