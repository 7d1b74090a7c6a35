// RUN: flambeau-opt %s --pass-pipeline='builtin.module(autodiff,cse,join-slices,partition)' --split-input-file | FileCheck %s

// The gradient of two halves is a join, to which other terms are added.
// CHECK-LABEL: func.func @backward
// CHECK-NOT: slice_scatter
// CHECK: "flambeau.cat"(%{{.*}}, %{{.*}}) {dim = 1 : i64} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x6xf32>
// CHECK-NOT: slice_scatter
func.func @halves(%x: tensor<2x6xf32>) -> tensor<2x3xf32> {
  %0 = "flambeau.slice"(%x) {dim = 1 : i64, start = 0 : i64, end = 3 : i64, step = 1 : i64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<2x6xf32>) -> tensor<2x3xf32>
  %1 = "flambeau.slice"(%x) {dim = 1 : i64, start = 3 : i64, end = 6 : i64, step = 1 : i64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<2x6xf32>) -> tensor<2x3xf32>
  %2 = "flambeau.mul"(%0, %1) : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  return %2 : tensor<2x3xf32>
}

// -----

// Where nothing stands, there are zeros; selected rows are parts of length 1; other sizes may be dynamic.
// CHECK-LABEL: func.func @backward
// CHECK: "flambeau.cat"{{.*}} (tensor<1x?xf32>, tensor<2x?xf32>) -> tensor<3x?xf32>
// CHECK: "flambeau.cat"{{.*}} (tensor<3x?xf32>, tensor<1x?xf32>) -> tensor<4x?xf32>
func.func @rows(%x: tensor<4x?xf32>) -> tensor<?xf32> {
  %0 = "flambeau.select"(%x) {dim = 0 : i64, index = 0 : i64, operandSegmentSizes = array<i32: 1, 0>} : (tensor<4x?xf32>) -> tensor<?xf32>
  %1 = "flambeau.select"(%x) {dim = 0 : i64, index = 3 : i64, operandSegmentSizes = array<i32: 1, 0>} : (tensor<4x?xf32>) -> tensor<?xf32>
  %2 = "flambeau.mul"(%0, %1) : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
  return %2 : tensor<?xf32>
}

// -----

// Parts that overlap are added.
// CHECK-LABEL: func.func @backward
// CHECK: "flambeau.slice_scatter"
// CHECK: "flambeau.slice_scatter"
// CHECK: "flambeau.add"
func.func @overlap(%x: tensor<6xf32>) -> tensor<4xf32> {
  %0 = "flambeau.slice"(%x) {dim = 0 : i64, start = 0 : i64, end = 4 : i64, step = 1 : i64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<6xf32>) -> tensor<4xf32>
  %1 = "flambeau.slice"(%x) {dim = 0 : i64, start = 2 : i64, end = 6 : i64, step = 1 : i64, operandSegmentSizes = array<i32: 1, 0, 0>} : (tensor<6xf32>) -> tensor<4xf32>
  %2 = "flambeau.mul"(%0, %1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %2 : tensor<4xf32>
}
