// RUN: flambeau-opt %s | flambeau-opt | FileCheck %s

// CHECK-LABEL: func.func @expand(
// CHECK: "flambeau.expand"
// CHECK-SAME: {operandSegmentSizes = array<i32: 1, 0>, shape = array<i64: 2, 3, 4>}
// CHECK-SAME: : (tensor<3x1xf32>) -> tensor<2x3x4xf32>
func.func @expand(%arg0: tensor<3x1xf32>) -> tensor<2x3x4xf32> {
  %0 = "flambeau.expand"(%arg0) {operandSegmentSizes = array<i32: 1, 0>, shape = array<i64: 2, 3, 4>} : (tensor<3x1xf32>) -> tensor<2x3x4xf32>
  return %0 : tensor<2x3x4xf32>
}

// CHECK-LABEL: func.func @expand_dynamic(
// CHECK: "flambeau.expand"
// CHECK-SAME: {operandSegmentSizes = array<i32: 1, 2>, shape = array<i64: -1, -1>}
// CHECK-SAME: : (tensor<?xf32>, index, index) -> tensor<?x?xf32>
func.func @expand_dynamic(%arg0: tensor<?xf32>, %arg1: index, %arg2: index) -> tensor<?x?xf32> {
  %0 = "flambeau.expand"(%arg0, %arg1, %arg2) {operandSegmentSizes = array<i32: 1, 2>, shape = array<i64: -1, -1>} : (tensor<?xf32>, index, index) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @view(
// CHECK: "flambeau.view"
// CHECK-SAME: {operandSegmentSizes = array<i32: 1, 0>, shape = array<i64: 2, 2, 3, 2>}
// CHECK-SAME: : (tensor<4x6xf32>) -> tensor<2x2x3x2xf32>
func.func @view(%arg0: tensor<4x6xf32>) -> tensor<2x2x3x2xf32> {
  %0 = "flambeau.view"(%arg0) {operandSegmentSizes = array<i32: 1, 0>, shape = array<i64: 2, 2, 3, 2>} : (tensor<4x6xf32>) -> tensor<2x2x3x2xf32>
  return %0 : tensor<2x2x3x2xf32>
}

// CHECK-LABEL: func.func @view_dynamic(
// CHECK: "flambeau.view"
// CHECK-SAME: {operandSegmentSizes = array<i32: 1, 2>, shape = array<i64: -1, -1>}
// CHECK-SAME: : (tensor<?x?x?xf32>, index, index) -> tensor<?x?xf32>
func.func @view_dynamic(%arg0: tensor<?x?x?xf32>, %arg1: index, %arg2: index) -> tensor<?x?xf32> {
  %0 = "flambeau.view"(%arg0, %arg1, %arg2) {operandSegmentSizes = array<i32: 1, 2>, shape = array<i64: -1, -1>} : (tensor<?x?x?xf32>, index, index) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @unsqueeze(
// CHECK: "flambeau.unsqueeze"
// CHECK-SAME: {dim = 1 : i64}
// CHECK-SAME: : (tensor<?x?xf32>) -> tensor<?x1x?xf32>
func.func @unsqueeze(%arg0: tensor<?x?xf32>) -> tensor<?x1x?xf32> {
  %0 = "flambeau.unsqueeze"(%arg0) {dim = 1 : i64} : (tensor<?x?xf32>) -> tensor<?x1x?xf32>
  return %0 : tensor<?x1x?xf32>
}

// CHECK-LABEL: func.func @squeeze(
// CHECK: "flambeau.squeeze"
// CHECK-SAME: {dims = array<i64: 0, 2>}
// CHECK-SAME: : (tensor<1x3x1xf32>) -> tensor<3xf32>
func.func @squeeze(%arg0: tensor<1x3x1xf32>) -> tensor<3xf32> {
  %0 = "flambeau.squeeze"(%arg0) {dims = array<i64: 0, 2>} : (tensor<1x3x1xf32>) -> tensor<3xf32>
  return %0 : tensor<3xf32>
}

// CHECK-LABEL: func.func @permute(
// CHECK: "flambeau.permute"
// CHECK-SAME: {dims = array<i64: 2, 0, 1>}
// CHECK-SAME: : (tensor<?x?x?xf32>) -> tensor<?x?x?xf32>
func.func @permute(%arg0: tensor<?x?x?xf32>) -> tensor<?x?x?xf32> {
  %0 = "flambeau.permute"(%arg0) {dims = array<i64: 2, 0, 1>} : (tensor<?x?x?xf32>) -> tensor<?x?x?xf32>
  return %0 : tensor<?x?x?xf32>
}

// CHECK-LABEL: func.func @transpose(
// CHECK: "flambeau.transpose"
// CHECK-SAME: {dim0 = 0 : i64, dim1 = 2 : i64}
// CHECK-SAME: : (tensor<?x?x?xf32>) -> tensor<?x?x?xf32>
func.func @transpose(%arg0: tensor<?x?x?xf32>) -> tensor<?x?x?xf32> {
  %0 = "flambeau.transpose"(%arg0) {dim0 = 0 : i64, dim1 = 2 : i64} : (tensor<?x?x?xf32>) -> tensor<?x?x?xf32>
  return %0 : tensor<?x?x?xf32>
}

// CHECK-LABEL: func.func @t(
// CHECK: "flambeau.t"
// CHECK-SAME: : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @t(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.t"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @slice(
// CHECK: "flambeau.slice"
// CHECK-SAME: {dim = 1 : i64, end = 6 : i64, operandSegmentSizes = array<i32: 1, 0, 0>, start = 1 : i64, step = 2 : i64}
// CHECK-SAME: : (tensor<5x7xf32>) -> tensor<5x3xf32>
func.func @slice(%arg0: tensor<5x7xf32>) -> tensor<5x3xf32> {
  %0 = "flambeau.slice"(%arg0) {dim = 1 : i64, end = 6 : i64, operandSegmentSizes = array<i32: 1, 0, 0>, start = 1 : i64, step = 2 : i64} : (tensor<5x7xf32>) -> tensor<5x3xf32>
  return %0 : tensor<5x3xf32>
}

// CHECK-LABEL: func.func @slice_dynamic(
// CHECK: "flambeau.slice"
// CHECK-SAME: {dim = 0 : i64, end, operandSegmentSizes = array<i32: 1, 1, 1>, start, step = 1 : i64}
// CHECK-SAME: : (tensor<?x?xf32>, index, index) -> tensor<?x?xf32>
func.func @slice_dynamic(%arg0: tensor<?x?xf32>, %arg1: index, %arg2: index) -> tensor<?x?xf32> {
  %0 = "flambeau.slice"(%arg0, %arg1, %arg2) {dim = 0 : i64, end, operandSegmentSizes = array<i32: 1, 1, 1>, start, step = 1 : i64} : (tensor<?x?xf32>, index, index) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @slice_scatter(
// CHECK: "flambeau.slice_scatter"
// CHECK-SAME: {dim = 0 : i64, end = 4 : i64, operandSegmentSizes = array<i32: 1, 1, 0, 0>, start = 1 : i64, step = 1 : i64}
// CHECK-SAME: : (tensor<5x3xf32>, tensor<3x3xf32>) -> tensor<5x3xf32>
func.func @slice_scatter(%arg0: tensor<5x3xf32>, %arg1: tensor<3x3xf32>) -> tensor<5x3xf32> {
  %0 = "flambeau.slice_scatter"(%arg0, %arg1) {dim = 0 : i64, end = 4 : i64, operandSegmentSizes = array<i32: 1, 1, 0, 0>, start = 1 : i64, step = 1 : i64} : (tensor<5x3xf32>, tensor<3x3xf32>) -> tensor<5x3xf32>
  return %0 : tensor<5x3xf32>
}

// CHECK-LABEL: func.func @select(
// CHECK: "flambeau.select"
// CHECK-SAME: {dim = 0 : i64, index, operandSegmentSizes = array<i32: 1, 1>}
// CHECK-SAME: : (tensor<?x?xf32>, index) -> tensor<?xf32>
func.func @select(%arg0: tensor<?x?xf32>, %arg1: index) -> tensor<?xf32> {
  %0 = "flambeau.select"(%arg0, %arg1) {dim = 0 : i64, index, operandSegmentSizes = array<i32: 1, 1>} : (tensor<?x?xf32>, index) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// CHECK-LABEL: func.func @select_scatter(
// CHECK: "flambeau.select_scatter"
// CHECK-SAME: {dim = 0 : i64, index = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 0>}
// CHECK-SAME: : (tensor<5x3xf32>, tensor<3xf32>) -> tensor<5x3xf32>
func.func @select_scatter(%arg0: tensor<5x3xf32>, %arg1: tensor<3xf32>) -> tensor<5x3xf32> {
  %0 = "flambeau.select_scatter"(%arg0, %arg1) {dim = 0 : i64, index = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<5x3xf32>, tensor<3xf32>) -> tensor<5x3xf32>
  return %0 : tensor<5x3xf32>
}

// CHECK-LABEL: func.func @cat(
// CHECK: "flambeau.cat"
// CHECK-SAME: {dim = 0 : i64}
// CHECK-SAME: : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @cat(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.cat"(%arg0, %arg1) {dim = 0 : i64} : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @diagonal(
// CHECK: "flambeau.diagonal"
// CHECK-SAME: {dim1 = 0 : i64, dim2 = 1 : i64, offset = 2 : i64}
// CHECK-SAME: : (tensor<3x4xf32>) -> tensor<2xf32>
func.func @diagonal(%arg0: tensor<3x4xf32>) -> tensor<2xf32> {
  %0 = "flambeau.diagonal"(%arg0) {dim1 = 0 : i64, dim2 = 1 : i64, offset = 2 : i64} : (tensor<3x4xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// CHECK-LABEL: func.func @diagonal_scatter(
// CHECK: "flambeau.diagonal_scatter"
// CHECK-SAME: {dim1 = 0 : i64, dim2 = 1 : i64, offset = 2 : i64}
// CHECK-SAME: : (tensor<3x4xf32>, tensor<2xf32>) -> tensor<3x4xf32>
func.func @diagonal_scatter(%arg0: tensor<3x4xf32>, %arg1: tensor<2xf32>) -> tensor<3x4xf32> {
  %0 = "flambeau.diagonal_scatter"(%arg0, %arg1) {dim1 = 0 : i64, dim2 = 1 : i64, offset = 2 : i64} : (tensor<3x4xf32>, tensor<2xf32>) -> tensor<3x4xf32>
  return %0 : tensor<3x4xf32>
}

// CHECK-LABEL: func.func @diag_embed(
// CHECK: "flambeau.diag_embed"
// CHECK-SAME: {dim1 = 0 : i64, dim2 = 2 : i64, offset = 1 : i64}
// CHECK-SAME: : (tensor<?x?xf32>) -> tensor<?x?x?xf32>
func.func @diag_embed(%arg0: tensor<?x?xf32>) -> tensor<?x?x?xf32> {
  %0 = "flambeau.diag_embed"(%arg0) {dim1 = 0 : i64, dim2 = 2 : i64, offset = 1 : i64} : (tensor<?x?xf32>) -> tensor<?x?x?xf32>
  return %0 : tensor<?x?x?xf32>
}

// CHECK-LABEL: func.func @as_strided(
// CHECK: "flambeau.as_strided"
// CHECK-SAME: {size = array<i64: 3, 2>, storage_offset = 1 : i64, stride = array<i64: 7, 2>}
// CHECK-SAME: : (tensor<4x6xf32>) -> tensor<3x2xf32>
func.func @as_strided(%arg0: tensor<4x6xf32>) -> tensor<3x2xf32> {
  %0 = "flambeau.as_strided"(%arg0) {size = array<i64: 3, 2>, storage_offset = 1 : i64, stride = array<i64: 7, 2>} : (tensor<4x6xf32>) -> tensor<3x2xf32>
  return %0 : tensor<3x2xf32>
}

// CHECK-LABEL: func.func @as_strided_scatter(
// CHECK: "flambeau.as_strided_scatter"
// CHECK-SAME: {size = array<i64: 3, 2>, storage_offset = 1 : i64, stride = array<i64: 7, 2>}
// CHECK-SAME: : (tensor<4x6xf32>, tensor<3x2xf32>) -> tensor<4x6xf32>
func.func @as_strided_scatter(%arg0: tensor<4x6xf32>, %arg1: tensor<3x2xf32>) -> tensor<4x6xf32> {
  %0 = "flambeau.as_strided_scatter"(%arg0, %arg1) {size = array<i64: 3, 2>, storage_offset = 1 : i64, stride = array<i64: 7, 2>} : (tensor<4x6xf32>, tensor<3x2xf32>) -> tensor<4x6xf32>
  return %0 : tensor<4x6xf32>
}

// CHECK-LABEL: func.func @unfold(
// CHECK: "flambeau.unfold"
// CHECK-SAME: {dim = 0 : i64, size = 3 : i64, step = 2 : i64}
// CHECK-SAME: : (tensor<?xf32>) -> tensor<?x3xf32>
func.func @unfold(%arg0: tensor<?xf32>) -> tensor<?x3xf32> {
  %0 = "flambeau.unfold"(%arg0) {dim = 0 : i64, size = 3 : i64, step = 2 : i64} : (tensor<?xf32>) -> tensor<?x3xf32>
  return %0 : tensor<?x3xf32>
}
