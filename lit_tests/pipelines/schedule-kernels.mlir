// RUN: flambeau-opt %s --pass-pipeline='builtin.module(schedule-kernels)' --split-input-file | FileCheck %s

// Vectors go along the innermost loop, which is parallel; two dims that every access walks through are one.
// CHECK: flambeau.schedule = {block = 64 : i64, columns = {{[0-9]+}} : i64, form = "columns", keep = true, parts = 1 : i64, rows = 1 : i64, vector = 64 : i64}
func.func private @pointwise(%x: tensor<256x1024xf32>, %y: tensor<256x1024xf32>) -> tensor<256x1024xf32> attributes {flambeau.kernel = "pointwise"} {
  %0 = "flambeau.add"(%x, %y) : (tensor<256x1024xf32>, tensor<256x1024xf32>) -> tensor<256x1024xf32>
  return %0 : tensor<256x1024xf32>
}

// -----

// The innermost loop is reduced over: whole rows per work group. Short rows take fewer lanes.
// CHECK: columns = 0 : i64, form = "rows", keep = true, parts = 1 : i64, rows = {{[0-9]+}} : i64, vector = 16 : i64}
func.func private @rows(%x: tensor<?x10xf32>) -> tensor<?xf32> attributes {flambeau.kernel = "row"} {
  %0 = "flambeau.sum"(%x) {dims = array<i64: 1>, keepdim = false} : (tensor<?x10xf32>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// -----

// A schedule that is there stays.
// CHECK: flambeau.schedule = {block = 8 : i64, columns = 0 : i64, form = "columns", keep = false, parts = 1 : i64, rows = 7 : i64, vector = 4 : i64}
func.func private @edited(%x: tensor<8x?xf32>) -> tensor<?xf32> attributes {flambeau.kernel = "column", flambeau.schedule = {block = 8 : i64, columns = 0 : i64, form = "columns", keep = false, parts = 1 : i64, rows = 7 : i64, vector = 4 : i64}} {
  %0 = "flambeau.sum"(%x) {dims = array<i64: 0>, keepdim = false} : (tensor<8x?xf32>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// -----

// Sums of rows that are read along both axes have no single iteration space.
// CHECK: flambeau.not_covered = "a reduction is read at another place than it is computed"
// CHECK-NOT: flambeau.schedule
func.func private @pairs(%q: tensor<4x4xf32>) -> tensor<4x4xf32> attributes {flambeau.kernel = "row"} {
  %0 = "flambeau.sum"(%q) {dims = array<i64: 1>, keepdim = false} : (tensor<4x4xf32>) -> tensor<4xf32>
  %1 = "flambeau.expand"(%0) {operandSegmentSizes = array<i32: 1, 0>, shape = array<i64: 4, 4>} : (tensor<4xf32>) -> tensor<4x4xf32>
  %2 = "flambeau.transpose"(%1) {dim0 = 0 : i64, dim1 = 1 : i64} : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %3 = "flambeau.add"(%1, %2) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  return %3 : tensor<4x4xf32>
}
