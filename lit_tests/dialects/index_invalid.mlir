// RUN: flambeau-opt %s --split-input-file --verify-diagnostics

func.func @positions(%x: tensor<5x3xf32>, %i: tensor<2xf32>) -> tensor<2x3xf32> {
  // expected-error @below {{operand 'index' must hold i64 or i32 positions, found tensor<2xf32>}}
  %0 = "flambeau.index_select"(%x, %i) {dim = 0 : i64} : (tensor<5x3xf32>, tensor<2xf32>) -> tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}

// -----

func.func @source(%x: tensor<5x3xf32>, %i: tensor<2xi64>, %s: tensor<3x3xf32>) -> tensor<5x3xf32> {
  // expected-error @below {{operand 'source' is tensor<3x3xf32>, expected tensor<2x3xf32>}}
  %0 = "flambeau.index_add"(%x, %i, %s) {dim = 0 : i64} : (tensor<5x3xf32>, tensor<2xi64>, tensor<3x3xf32>) -> tensor<5x3xf32>
  return %0 : tensor<5x3xf32>
}

// -----

func.func @dims(%x: tensor<5x3xf32>, %i: tensor<2xi64>) -> tensor<2xf32> {
  // expected-error @below {{needs one index tensor per entry of 'dims', which must ascend}}
  %0 = "flambeau.index"(%x, %i, %i) {dims = array<i64: 1, 0>, operandSegmentSizes = array<i32: 1, 2>} : (tensor<5x3xf32>, tensor<2xi64>, tensor<2xi64>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

func.func @rank(%x: tensor<5x3xf32>, %i: tensor<2xi64>) -> tensor<2xf32> {
  // expected-error @below {{index tensor<2xi64> and tensor<5x3xf32> differ in rank}}
  %0 = "flambeau.gather"(%x, %i) {dim = 0 : i64} : (tensor<5x3xf32>, tensor<2xi64>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

func.func @bools(%x: tensor<5xi1>, %i: tensor<2xi64>, %s: tensor<2xi1>) -> tensor<5xi1> {
  // expected-error @below {{cannot add bools}}
  %0 = "flambeau.scatter_add"(%x, %i, %s) {dim = 0 : i64} : (tensor<5xi1>, tensor<2xi64>, tensor<2xi1>) -> tensor<5xi1>
  return %0 : tensor<5xi1>
}

// -----

func.func @topk(%x: tensor<5xf32>) -> (tensor<6xf32>, tensor<6xi64>) {
  // expected-error @below {{'k' is 6, more than dim 0 of tensor<5xf32> has}}
  %0, %1 = "flambeau.topk"(%x) {dim = 0 : i64, k = 6 : i64, largest = true, operandSegmentSizes = array<i32: 1, 0>, sorted = true} : (tensor<5xf32>) -> (tensor<6xf32>, tensor<6xi64>)
  return %0, %1 : tensor<6xf32>, tensor<6xi64>
}

// -----

func.func @bags(%w: tensor<5x3xf32>, %i: tensor<4xi64>) -> tensor<4x3xf32> {
  // expected-error @below {{'indices' is tensor<4xi64>; it has rank 2, or rank 1 together with offsets}}
  %0 = "flambeau.embedding_bag"(%w, %i) {include_last_offset = false, mode = 0 : i64, operandSegmentSizes = array<i32: 1, 1, 0, 0>, padding_idx = -1 : i64} : (tensor<5x3xf32>, tensor<4xi64>) -> tensor<4x3xf32>
  return %0 : tensor<4x3xf32>
}
