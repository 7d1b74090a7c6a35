// RUN: flambeau-opt %s --simplify-reductions --cse | FileCheck %s

// The sum of ones is their count.
// CHECK-LABEL: func.func @count
// CHECK-NOT: tensor<2x3xf32>) -> tensor<f32>
// CHECK: "flambeau.sum"
// CHECK-SAME: (tensor<1x1xf32>) -> tensor<f32>
// CHECK: dense<6.000000e+00>
// CHECK: "flambeau.mul"
func.func @count() -> tensor<f32> {
  %c = "flambeau.constant"() {value = dense<1.0> : tensor<2x3xf32>} : () -> tensor<2x3xf32>
  %d = "autograd.detach"(%c) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %s = "flambeau.sum"(%d) {dims = array<i64>, keepdim = false} : (tensor<2x3xf32>) -> tensor<f32>
  return %s : tensor<f32>
}

// A row that is repeated is summed once, and its sum multiplied.
// CHECK-LABEL: func.func @repeated
// CHECK: "flambeau.exp"(%{{.*}}) : (tensor<1x3xf32>) -> tensor<1x3xf32>
// CHECK: "flambeau.sum"
// CHECK-SAME: (tensor<1x3xf32>) -> tensor<f32>
// CHECK: dense<5.000000e+00>
func.func @repeated(%x: tensor<3xf32>) -> tensor<f32> {
  %e = "flambeau.expand"(%x) {operandSegmentSizes = array<i32: 1, 0>, shape = array<i64: 5, 3>} : (tensor<3xf32>) -> tensor<5x3xf32>
  %f = "flambeau.exp"(%e) : (tensor<5x3xf32>) -> tensor<5x3xf32>
  %s = "flambeau.sum"(%f) {dims = array<i64: 0, 1>, keepdim = false} : (tensor<5x3xf32>) -> tensor<f32>
  return %s : tensor<f32>
}

// The largest of equal ones is any; the mean of none is not a number.
// CHECK-LABEL: func.func @dynamic
// CHECK: "flambeau.amax"
// CHECK-SAME: (tensor<1xf32>) -> tensor<f32>
// CHECK: "flambeau.mean"
// CHECK-SAME: (tensor<1xf32>) -> tensor<f32>
// CHECK: "flambeau.where"
func.func @dynamic(%x: tensor<f32>, %n: index) -> (tensor<f32>, tensor<f32>) {
  %e = "flambeau.expand"(%x, %n) {operandSegmentSizes = array<i32: 1, 1>, shape = array<i64: -1>} : (tensor<f32>, index) -> tensor<?xf32>
  %a = "flambeau.amax"(%e) {dims = array<i64: 0>, keepdim = false} : (tensor<?xf32>) -> tensor<f32>
  %m = "flambeau.mean"(%e) {dims = array<i64: 0>, keepdim = false} : (tensor<?xf32>) -> tensor<f32>
  return %a, %m : tensor<f32>, tensor<f32>
}

// A row that is computed is summed as it is.
// CHECK-LABEL: func.func @plain
// CHECK-NEXT: "flambeau.sum"(%arg0)
// CHECK-NEXT: return
func.func @plain(%x: tensor<3xf32>) -> tensor<f32> {
  %s = "flambeau.sum"(%x) {dims = array<i64: 0>, keepdim = false} : (tensor<3xf32>) -> tensor<f32>
  return %s : tensor<f32>
}

// A sum is negated, not what is summed.
// CHECK-LABEL: func.func @negated
// CHECK-NOT: flambeau.neg
// CHECK: "flambeau.sum"(%arg0)
// CHECK: "flambeau.neg"
func.func @negated(%x: tensor<3xf32>) -> tensor<f32> {
  %n = "flambeau.neg"(%x) : (tensor<3xf32>) -> tensor<3xf32>
  %s = "flambeau.sum"(%n) {dims = array<i64: 0>, keepdim = false} : (tensor<3xf32>) -> tensor<f32>
  return %s : tensor<f32>
}
