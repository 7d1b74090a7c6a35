// RUN: not flambeau-opt %s --pass-pipeline='builtin.module(lower-kernels)' --split-input-file 2>&1 | FileCheck %s

// CHECK: flambeau.schedule: vector is 12, not a power of two up to 256
func.func private @odd(%x: tensor<8xf32>) -> tensor<8xf32> attributes {flambeau.kernel = "pointwise", flambeau.schedule = {block = 64 : i64, columns = 0 : i64, form = "columns", keep = true, parts = 1 : i64, rows = 1 : i64, vector = 12 : i64}} {
  %0 = "flambeau.neg"(%x) : (tensor<8xf32>) -> tensor<8xf32>
  return %0 : tensor<8xf32>
}

// -----

// CHECK: flambeau.schedule: form 'rows' where this kernel takes 'columns'
func.func private @other(%x: tensor<8xf32>) -> tensor<8xf32> attributes {flambeau.kernel = "pointwise", flambeau.schedule = {block = 64 : i64, columns = 0 : i64, form = "rows", keep = true, parts = 1 : i64, rows = 1 : i64, vector = 8 : i64}} {
  %0 = "flambeau.neg"(%x) : (tensor<8xf32>) -> tensor<8xf32>
  return %0 : tensor<8xf32>
}

// -----

// CHECK: flambeau.schedule has an unknown entry 'unroll'; it has: form, vector, rows, columns, block, parts, keep
func.func private @unknown(%x: tensor<8xf32>) -> tensor<8xf32> attributes {flambeau.kernel = "pointwise", flambeau.schedule = {block = 64 : i64, columns = 0 : i64, form = "columns", keep = true, parts = 1 : i64, rows = 1 : i64, unroll = 2 : i64, vector = 8 : i64}} {
  %0 = "flambeau.neg"(%x) : (tensor<8xf32>) -> tensor<8xf32>
  return %0 : tensor<8xf32>
}
