// RUN: flambeau-opt %s | flambeau-opt | FileCheck %s

// CHECK-LABEL: func.func @index_select(
// CHECK: "flambeau.index_select"
// CHECK-SAME: {dim = 0 : i64}
// CHECK-SAME: : (tensor<5x3xf32>, tensor<3xi64>) -> tensor<3x3xf32>
func.func @index_select(%arg0: tensor<5x3xf32>, %arg1: tensor<3xi64>) -> tensor<3x3xf32> {
  %0 = "flambeau.index_select"(%arg0, %arg1) {dim = 0 : i64} : (tensor<5x3xf32>, tensor<3xi64>) -> tensor<3x3xf32>
  return %0 : tensor<3x3xf32>
}

// CHECK-LABEL: func.func @index_add(
// CHECK: "flambeau.index_add"
// CHECK-SAME: {dim = 0 : i64}
// CHECK-SAME: : (tensor<?x?xf32>, tensor<?xi64>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @index_add(%arg0: tensor<?x?xf32>, %arg1: tensor<?xi64>, %arg2: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.index_add"(%arg0, %arg1, %arg2) {dim = 0 : i64} : (tensor<?x?xf32>, tensor<?xi64>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @index_copy(
// CHECK: "flambeau.index_copy"
// CHECK-SAME: {dim = 0 : i64}
// CHECK-SAME: : (tensor<5x3xf32>, tensor<2xi64>, tensor<2x3xf32>) -> tensor<5x3xf32>
func.func @index_copy(%arg0: tensor<5x3xf32>, %arg1: tensor<2xi64>, %arg2: tensor<2x3xf32>) -> tensor<5x3xf32> {
  %0 = "flambeau.index_copy"(%arg0, %arg1, %arg2) {dim = 0 : i64} : (tensor<5x3xf32>, tensor<2xi64>, tensor<2x3xf32>) -> tensor<5x3xf32>
  return %0 : tensor<5x3xf32>
}

// CHECK-LABEL: func.func @index_fill(
// CHECK: "flambeau.index_fill"
// CHECK-SAME: {dim = 0 : i64, value = 2.500000e+00 : f64}
// CHECK-SAME: : (tensor<5x3xf32>, tensor<2xi64>) -> tensor<5x3xf32>
func.func @index_fill(%arg0: tensor<5x3xf32>, %arg1: tensor<2xi64>) -> tensor<5x3xf32> {
  %0 = "flambeau.index_fill"(%arg0, %arg1) {dim = 0 : i64, value = 2.500000e+00 : f64} : (tensor<5x3xf32>, tensor<2xi64>) -> tensor<5x3xf32>
  return %0 : tensor<5x3xf32>
}

// CHECK-LABEL: func.func @index_static(
// CHECK: "flambeau.index"
// CHECK-SAME: {dims = array<i64: 0, 2>, operandSegmentSizes = array<i32: 1, 2>}
// CHECK-SAME: : (tensor<5x3x4xf32>, tensor<2x2xi64>, tensor<2x2xi64>) -> tensor<2x2x3xf32>
func.func @index_static(%arg0: tensor<5x3x4xf32>, %arg1: tensor<2x2xi64>, %arg2: tensor<2x2xi64>) -> tensor<2x2x3xf32> {
  %0 = "flambeau.index"(%arg0, %arg1, %arg2) {dims = array<i64: 0, 2>, operandSegmentSizes = array<i32: 1, 2>} : (tensor<5x3x4xf32>, tensor<2x2xi64>, tensor<2x2xi64>) -> tensor<2x2x3xf32>
  return %0 : tensor<2x2x3xf32>
}

// CHECK-LABEL: func.func @index_put(
// CHECK: "flambeau.index_put"
// CHECK-SAME: {accumulate = true, dims = array<i64: 0>, operandSegmentSizes = array<i32: 1, 1, 1>}
// CHECK-SAME: : (tensor<?x?xf32>, tensor<?xi64>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @index_put(%arg0: tensor<?x?xf32>, %arg1: tensor<?xi64>, %arg2: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.index_put"(%arg0, %arg1, %arg2) {accumulate = true, dims = array<i64: 0>, operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<?x?xf32>, tensor<?xi64>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @take(
// CHECK: "flambeau.take"
// CHECK-SAME: : (tensor<3x4xf32>, tensor<2x2xi64>) -> tensor<2x2xf32>
func.func @take(%arg0: tensor<3x4xf32>, %arg1: tensor<2x2xi64>) -> tensor<2x2xf32> {
  %0 = "flambeau.take"(%arg0, %arg1) : (tensor<3x4xf32>, tensor<2x2xi64>) -> tensor<2x2xf32>
  return %0 : tensor<2x2xf32>
}

// CHECK-LABEL: func.func @gather(
// CHECK: "flambeau.gather"
// CHECK-SAME: {dim = 1 : i64}
// CHECK-SAME: : (tensor<?x?xf32>, tensor<?x?xi64>) -> tensor<?x?xf32>
func.func @gather(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xi64>) -> tensor<?x?xf32> {
  %0 = "flambeau.gather"(%arg0, %arg1) {dim = 1 : i64} : (tensor<?x?xf32>, tensor<?x?xi64>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @scatter(
// CHECK: "flambeau.scatter"
// CHECK-SAME: {dim = 1 : i64}
// CHECK-SAME: : (tensor<3x4xf32>, tensor<2x2xi64>, tensor<2x2xf32>) -> tensor<3x4xf32>
func.func @scatter(%arg0: tensor<3x4xf32>, %arg1: tensor<2x2xi64>, %arg2: tensor<2x2xf32>) -> tensor<3x4xf32> {
  %0 = "flambeau.scatter"(%arg0, %arg1, %arg2) {dim = 1 : i64} : (tensor<3x4xf32>, tensor<2x2xi64>, tensor<2x2xf32>) -> tensor<3x4xf32>
  return %0 : tensor<3x4xf32>
}

// CHECK-LABEL: func.func @scatter_value(
// CHECK: "flambeau.scatter_value"
// CHECK-SAME: {dim = 1 : i64, value = 2.500000e+00 : f64}
// CHECK-SAME: : (tensor<3x4xf32>, tensor<2x2xi64>) -> tensor<3x4xf32>
func.func @scatter_value(%arg0: tensor<3x4xf32>, %arg1: tensor<2x2xi64>) -> tensor<3x4xf32> {
  %0 = "flambeau.scatter_value"(%arg0, %arg1) {dim = 1 : i64, value = 2.500000e+00 : f64} : (tensor<3x4xf32>, tensor<2x2xi64>) -> tensor<3x4xf32>
  return %0 : tensor<3x4xf32>
}

// CHECK-LABEL: func.func @scatter_add(
// CHECK: "flambeau.scatter_add"
// CHECK-SAME: {dim = 0 : i64}
// CHECK-SAME: : (tensor<?x?xf32>, tensor<?x?xi64>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @scatter_add(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xi64>, %arg2: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.scatter_add"(%arg0, %arg1, %arg2) {dim = 0 : i64} : (tensor<?x?xf32>, tensor<?x?xi64>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @embedding(
// CHECK: "flambeau.embedding"
// CHECK-SAME: {padding_idx = -1 : i64, scale_grad_by_freq = false}
// CHECK-SAME: : (tensor<5x3xf32>, tensor<2x2xi64>) -> tensor<2x2x3xf32>
func.func @embedding(%arg0: tensor<5x3xf32>, %arg1: tensor<2x2xi64>) -> tensor<2x2x3xf32> {
  %0 = "flambeau.embedding"(%arg0, %arg1) {padding_idx = -1 : i64, scale_grad_by_freq = false} : (tensor<5x3xf32>, tensor<2x2xi64>) -> tensor<2x2x3xf32>
  return %0 : tensor<2x2x3xf32>
}

// CHECK-LABEL: func.func @embedding_dense_backward(
// CHECK: "flambeau.embedding_dense_backward"
// CHECK-SAME: {num_weights, operandSegmentSizes = array<i32: 1, 1, 1>, padding_idx = 4 : i64, scale_grad_by_freq = false}
// CHECK-SAME: : (tensor<?x?xf32>, tensor<?xi64>, index) -> tensor<?x?xf32>
func.func @embedding_dense_backward(%arg0: tensor<?x?xf32>, %arg1: tensor<?xi64>, %arg2: index) -> tensor<?x?xf32> {
  %0 = "flambeau.embedding_dense_backward"(%arg0, %arg1, %arg2) {num_weights, operandSegmentSizes = array<i32: 1, 1, 1>, padding_idx = 4 : i64, scale_grad_by_freq = false} : (tensor<?x?xf32>, tensor<?xi64>, index) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @sort(
// CHECK: "flambeau.sort"
// CHECK-SAME: {descending = false, dim = 1 : i64}
// CHECK-SAME: : (tensor<3x8xf32>) -> (tensor<3x8xf32>, tensor<3x8xi64>)
func.func @sort(%arg0: tensor<3x8xf32>) -> (tensor<3x8xf32>, tensor<3x8xi64>) {
  %0:2 = "flambeau.sort"(%arg0) {descending = false, dim = 1 : i64} : (tensor<3x8xf32>) -> (tensor<3x8xf32>, tensor<3x8xi64>)
  return %0#0, %0#1 : tensor<3x8xf32>, tensor<3x8xi64>
}

// CHECK-LABEL: func.func @topk(
// CHECK: "flambeau.topk"
// CHECK-SAME: {dim = 1 : i64, k, largest = true, operandSegmentSizes = array<i32: 1, 1>, sorted = true}
// CHECK-SAME: : (tensor<?x?xf32>, index) -> (tensor<?x?xf32>, tensor<?x?xi64>)
func.func @topk(%arg0: tensor<?x?xf32>, %arg1: index) -> (tensor<?x?xf32>, tensor<?x?xi64>) {
  %0:2 = "flambeau.topk"(%arg0, %arg1) {dim = 1 : i64, k, largest = true, operandSegmentSizes = array<i32: 1, 1>, sorted = true} : (tensor<?x?xf32>, index) -> (tensor<?x?xf32>, tensor<?x?xi64>)
  return %0#0, %0#1 : tensor<?x?xf32>, tensor<?x?xi64>
}

// CHECK-LABEL: func.func @bucketize(
// CHECK: "flambeau.bucketize"
// CHECK-SAME: {right = false}
// CHECK-SAME: : (tensor<2x2xf32>, tensor<3xf32>) -> tensor<2x2xi64>
func.func @bucketize(%arg0: tensor<2x2xf32>, %arg1: tensor<3xf32>) -> tensor<2x2xi64> {
  %0 = "flambeau.bucketize"(%arg0, %arg1) {right = false} : (tensor<2x2xf32>, tensor<3xf32>) -> tensor<2x2xi64>
  return %0 : tensor<2x2xi64>
}

// CHECK-LABEL: func.func @embedding_bag(
// CHECK: "flambeau.embedding_bag"
// CHECK-SAME: {include_last_offset = false, mode = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0>, padding_idx = -1 : i64}
// CHECK-SAME: : (tensor<5x3xf32>, tensor<?xi64>, tensor<4xi64>) -> tensor<4x3xf32>
func.func @embedding_bag(%arg0: tensor<5x3xf32>, %arg1: tensor<?xi64>, %arg2: tensor<4xi64>) -> tensor<4x3xf32> {
  %0 = "flambeau.embedding_bag"(%arg0, %arg1, %arg2) {include_last_offset = false, mode = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0>, padding_idx = -1 : i64} : (tensor<5x3xf32>, tensor<?xi64>, tensor<4xi64>) -> tensor<4x3xf32>
  return %0 : tensor<4x3xf32>
}
