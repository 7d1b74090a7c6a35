// RUN: flambeau-opt %s --lower-to-torch | FileCheck %s

// IREE must not learn that all elements of what is summed are the same: it would add one of them per vector.
// CHECK-LABEL: func.func @ones
// CHECK: %[[FLAG:.*]] = "util.optimization_barrier"(%{{.*}}) : (tensor<i1>) -> tensor<i1>
// CHECK: %[[READ:.*]] = linalg.generic {{.*}} ins(%{{.*}}, %[[FLAG]] : tensor<7xf32>, tensor<i1>)
// CHECK: %[[X:.*]] = torch_c.from_builtin_tensor %[[READ]]
// CHECK: torch.aten.sum.dim_IntList %[[X]]
func.func @ones() -> tensor<f32> {
  %0 = "flambeau.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %1 = "flambeau.expand"(%0) {operandSegmentSizes = array<i32: 1, 0>, shape = array<i64: 7>} : (tensor<f32>) -> tensor<7xf32>
  %2 = "flambeau.exp"(%1) : (tensor<7xf32>) -> tensor<7xf32>
  %3 = "flambeau.sum"(%2) {dims = array<i64: 0>, keepdim = false} : (tensor<7xf32>) -> tensor<f32>
  return %3 : tensor<f32>
}

// CHECK-LABEL: func.func @depends_on_an_argument
// CHECK-NOT: barrier
func.func @depends_on_an_argument(%x: tensor<f32>) -> tensor<f32> {
  %1 = "flambeau.expand"(%x) {operandSegmentSizes = array<i32: 1, 0>, shape = array<i64: 7>} : (tensor<f32>) -> tensor<7xf32>
  %3 = "flambeau.sum"(%1) {dims = array<i64: 0>, keepdim = false} : (tensor<7xf32>) -> tensor<f32>
  return %3 : tensor<f32>
}
