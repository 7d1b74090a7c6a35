// RUN: flambeau-opt %s --form-kernels --split-input-file | FileCheck %s

// A row sum read along both axes: it is finished by a kernel of its own.
// CHECK-LABEL: func.func private @pairwise_row
// CHECK-SAME: attributes {flambeau.kernel = "row"}
// CHECK-NEXT: "flambeau.sum"
// CHECK-NEXT: return
// CHECK: func.func private @pairwise_pointwise
// CHECK-SAME: (%arg0: tensor<4xf32>) -> tensor<4x4xf32> attributes {flambeau.kernel = "pointwise"}
// CHECK: func.func @pairwise(%arg0: tensor<4x4xf32>)
// CHECK-NEXT: %[[SUMS:.*]] = call @pairwise_row(%arg0)
// CHECK-NEXT: %[[OUT:.*]] = call @pairwise_pointwise(%[[SUMS]])
// CHECK-NEXT: return %[[OUT]]
func.func @pairwise(%q: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %s = "flambeau.sum"(%q) {dims = array<i64: 1>, keepdim = false} : (tensor<4x4xf32>) -> tensor<4xf32>
  %a = "flambeau.unsqueeze"(%s) {dim = 0 : i64} : (tensor<4xf32>) -> tensor<1x4xf32>
  %b = "flambeau.unsqueeze"(%s) {dim = 1 : i64} : (tensor<4xf32>) -> tensor<4x1xf32>
  %c = "flambeau.expand"(%a) {operandSegmentSizes = array<i32: 1, 0>, shape = array<i64: 4, 4>} : (tensor<1x4xf32>) -> tensor<4x4xf32>
  %d = "flambeau.expand"(%b) {operandSegmentSizes = array<i32: 1, 0>, shape = array<i64: 4, 4>} : (tensor<4x1xf32>) -> tensor<4x4xf32>
  %o = "flambeau.add"(%c, %d) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  return %o : tensor<4x4xf32>
}

// -----

// Each row less its sum, dynamic: one kernel, whose arguments carry the names of their sizes.
// CHECK-LABEL: func.func private @centered_row
// CHECK-SAME: (%arg0: tensor<?x8xf32> {flambeau.dims = ["s0", 8]}, %arg1: index {flambeau.dims = ["s0"], flambeau.role = "symbol"})
// CHECK: func.func @centered
// CHECK: call @centered_row
// CHECK-NEXT: return
func.func @centered(%x: tensor<?x8xf32> {flambeau.dims = ["s0", 8]}) -> tensor<?x8xf32> {
  %n = "flambeau.dim"(%x) {index = 0 : i64} : (tensor<?x8xf32>) -> index
  %s = "flambeau.sum"(%x) {dims = array<i64: 1>, keepdim = true} : (tensor<?x8xf32>) -> tensor<?x1xf32>
  %e = "flambeau.expand"(%s, %n) {operandSegmentSizes = array<i32: 1, 1>, shape = array<i64: -1, 8>} : (tensor<?x1xf32>, index) -> tensor<?x8xf32>
  %o = "flambeau.sub"(%x, %e) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// -----

// A product, its bias and its activation are one kernel; the views that lead to it are copied into it. A second reader of
// the product gets it from there.
// CHECK-LABEL: func.func private @linear_contraction
// CHECK-SAME: -> (tensor<4x3xf32>, tensor<2x2x3xf32>) attributes {flambeau.kernel = "contraction"}
// CHECK-NEXT: "flambeau.transpose"
// CHECK-NEXT: "flambeau.mm"
// CHECK: "flambeau.view"
// CHECK: "flambeau.add"
// CHECK: "flambeau.tanh"
// CHECK: func.func @linear
// CHECK-NEXT: %[[LINEAR:.*]]:2 = call @linear_contraction
// CHECK-NEXT: return %[[LINEAR]]#0, %[[LINEAR]]#1
func.func @linear(%x: tensor<4x8xf32>, %w: tensor<3x8xf32>, %b: tensor<3xf32>) -> (tensor<4x3xf32>, tensor<2x2x3xf32>) {
  %t = "flambeau.transpose"(%w) {dim0 = 0 : i64, dim1 = 1 : i64} : (tensor<3x8xf32>) -> tensor<8x3xf32>
  %m = "flambeau.mm"(%x, %t) : (tensor<4x8xf32>, tensor<8x3xf32>) -> tensor<4x3xf32>
  %v = "flambeau.view"(%m) {operandSegmentSizes = array<i32: 1, 0>, shape = array<i64: 2, 2, 3>} : (tensor<4x3xf32>) -> tensor<2x2x3xf32>
  %e = "flambeau.expand"(%b) {operandSegmentSizes = array<i32: 1, 0>, shape = array<i64: 2, 2, 3>} : (tensor<3xf32>) -> tensor<2x2x3xf32>
  %a = "flambeau.add"(%v, %e) : (tensor<2x2x3xf32>, tensor<2x2x3xf32>) -> tensor<2x2x3xf32>
  %o = "flambeau.tanh"(%a) : (tensor<2x2x3xf32>) -> tensor<2x2x3xf32>
  return %m, %o : tensor<4x3xf32>, tensor<2x2x3xf32>
}

// -----

// What runs on the host stays where it is.
// CHECK-LABEL: func.func private @on_host
// CHECK-NEXT: "flambeau.tanh"
// CHECK-NEXT: return
func.func private @on_host(%x: tensor<3xf32>) -> tensor<3xf32> attributes {flambeau.host} {
  %0 = "flambeau.tanh"(%x) : (tensor<3xf32>) -> tensor<3xf32>
  return %0 : tensor<3xf32>
}
