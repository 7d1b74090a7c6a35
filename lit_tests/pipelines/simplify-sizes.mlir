// RUN: flambeau-opt %s --split-input-file --simplify-sizes | FileCheck %s
// RUN: flambeau-opt %s --split-input-file --pass-pipeline='builtin.module(autodiff,simplify-sizes,cse,partition,cse)' | FileCheck %s --check-prefix=PARTITIONED

// Sizes of computed tensors become sizes of arguments; arguments that name their sizes alike share them.
// CHECK-LABEL: func.func @named
// CHECK-SAME: (%[[X:.*]]: tensor<?x3xf32> {{.*}}, %[[Y:.*]]: tensor<?x3xf32> {{.*}})
// CHECK: %[[S:.*]] = "flambeau.dim"(%[[X]]) {index = 0 : i64}
// CHECK-NOT: flambeau.dim
// CHECK: return %[[S]], %[[S]], %[[S]] : index, index, index
func.func @named(%x: tensor<?x3xf32> {flambeau.dims = ["s0", 3]}, %y: tensor<?x3xf32> {flambeau.dims = ["s0", 3]}) -> (index, index, index) {
  %0 = "flambeau.dim"(%x) {index = 0 : i64} : (tensor<?x3xf32>) -> index
  %1 = "flambeau.dim"(%y) {index = 0 : i64} : (tensor<?x3xf32>) -> index
  %2 = "flambeau.tanh"(%y) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %3 = "flambeau.transpose"(%2) {dim0 = 0 : i64, dim1 = 1 : i64} : (tensor<?x3xf32>) -> tensor<3x?xf32>
  %4 = "flambeau.dim"(%3) {index = 1 : i64} : (tensor<3x?xf32>) -> index
  return %0, %1, %4 : index, index, index
}

// -----

// Without names, and where a size is computed from others, sizes are what they are.
// CHECK-LABEL: func.func @unnamed
// CHECK: "flambeau.dim"(%arg0)
// CHECK: "flambeau.dim"(%arg1)
// CHECK: "flambeau.cat"
// CHECK: "flambeau.dim"(%{{[0-9]+}})
func.func @unnamed(%x: tensor<?xf32>, %y: tensor<?xf32>) -> (index, index, index) {
  %0 = "flambeau.dim"(%x) {index = 0 : i64} : (tensor<?xf32>) -> index
  %1 = "flambeau.dim"(%y) {index = 0 : i64} : (tensor<?xf32>) -> index
  %2 = "flambeau.cat"(%x, %y) {dim = 0 : i64} : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
  %3 = "flambeau.dim"(%2) {index = 0 : i64} : (tensor<?xf32>) -> index
  return %0, %1, %3 : index, index, index
}

// -----

// The backward takes the size over as one of the tangent: neither `x` nor a number is saved for it.
// PARTITIONED-LABEL: func.func @backward
// PARTITIONED-SAME: (%[[G:.*]]: tensor<?xf32> {{{.*}}flambeau.role = "tangent"})
// PARTITIONED: "flambeau.dim"(%[[G]])
func.func @sum_of_rows(%x: tensor<?x3xf32>) -> tensor<?xf32> {
  %0 = "flambeau.sum"(%x) {dims = array<i64: 1>, keepdim = false} : (tensor<?x3xf32>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// -----

// A size that the forward computes is not asked of the tangent, which only the backward has.
// PARTITIONED-LABEL: func.func @forward
// PARTITIONED: %[[CAT:.*]] = "flambeau.cat"
// PARTITIONED: "flambeau.dim"(%[[CAT]])
// PARTITIONED-LABEL: func.func @backward
func.func @scaled(%x: tensor<?xf32>, %y: tensor<?xf32>, %s: tensor<f32>) -> tensor<?xf32> {
  %0 = "flambeau.cat"(%x, %y) {dim = 0 : i64} : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
  %1 = "flambeau.dim"(%0) {index = 0 : i64} : (tensor<?xf32>) -> index
  %2 = "flambeau.expand"(%s, %1) {operandSegmentSizes = array<i32: 1, 1>, shape = array<i64: -1>} : (tensor<f32>, index) -> tensor<?xf32>
  %3 = "flambeau.mul"(%0, %2) : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
  return %3 : tensor<?xf32>
}
