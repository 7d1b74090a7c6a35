// RUN: flambeau-opt %s --autodiff --cse --partition="partitioner=min-cut" --cse --split-input-file | FileCheck %s

// Cheap ops are computed again: only the argument crosses.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: -> tensor<8xf32> {
// CHECK-LABEL: func.func @backward
// CHECK-SAME: (%[[X:[a-z0-9]+]]: tensor<8xf32> {flambeau.of_argument = 0 : i64, flambeau.role = "saved"}, %{{[a-z0-9]+}}: tensor<8xf32> {flambeau.of_result = 0 : i64, flambeau.role = "tangent"})
// CHECK: "flambeau.cos"(%[[X]])
func.func @cosines(%x: tensor<8xf32>) -> tensor<8xf32> {
  %a = "flambeau.cos"(%x) : (tensor<8xf32>) -> tensor<8xf32>
  %b = "flambeau.cos"(%a) : (tensor<8xf32>) -> tensor<8xf32>
  %c = "flambeau.cos"(%b) : (tensor<8xf32>) -> tensor<8xf32>
  return %c : tensor<8xf32>
}

// -----

// One sum instead of its four terms.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: -> (tensor<8xf32>, tensor<8xf32> {flambeau.saved}) {
// CHECK-LABEL: func.func @backward
// CHECK-SAME: flambeau.of_result = 1 : i64, flambeau.role = "saved"
// CHECK-NOT: flambeau.of_argument
// CHECK: return
func.func @sum_of_four(%a: tensor<8xf32>, %b: tensor<8xf32>, %c: tensor<8xf32>, %d: tensor<8xf32>) -> tensor<8xf32> {
  %0 = "flambeau.add"(%a, %b) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %1 = "flambeau.add"(%0, %c) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %2 = "flambeau.add"(%1, %d) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %3 = "flambeau.cos"(%2) : (tensor<8xf32>) -> tensor<8xf32>
  %4 = "flambeau.cos"(%3) : (tensor<8xf32>) -> tensor<8xf32>
  return %4 : tensor<8xf32>
}

// -----

// What is needed only for its sizes is not saved: the sizes are.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: -> (tensor<f32>, index {flambeau.saved}, index {flambeau.saved}) {
// CHECK-LABEL: func.func @backward
// CHECK-SAME: index {flambeau.of_result = 1 : i64, flambeau.role = "saved"}
// CHECK-SAME: index {flambeau.of_result = 2 : i64, flambeau.role = "saved"}
func.func @sizes(%x: tensor<?x?xf32>) -> tensor<f32> {
  %s = "flambeau.sum"(%x) {dims = array<i64: 0, 1>, keepdim = false} : (tensor<?x?xf32>) -> tensor<f32>
  return %s : tensor<f32>
}

// -----

// A matmul is never computed again.
// CHECK-LABEL: func.func @forward
// CHECK: flambeau.mm
// CHECK-LABEL: func.func @backward
// CHECK-NOT: "flambeau.mm"(%{{.*}}, %{{.*}}) : (tensor<8x8xf32>, tensor<8x4xf32>)
// CHECK: flambeau.mm
// CHECK: return
func.func @matmul(%x: tensor<8x8xf32>, %w: tensor<8x4xf32>) -> tensor<8x4xf32> {
  %0 = "flambeau.mm"(%x, %w) : (tensor<8x8xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  %1 = "flambeau.tanh"(%0) : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %2 = "flambeau.sin"(%1) : (tensor<8x4xf32>) -> tensor<8x4xf32>
  return %2 : tensor<8x4xf32>
}
