// RUN: flambeau-opt %s --split-input-file --verify-diagnostics

func.func @probability(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @below {{p is 1.5, but a probability lies in [0, 1]}}
  %0, %1 = "flambeau.native_dropout"(%x) {p = 1.5 : f64, train = true} : (tensor<4xf32>) -> (tensor<4xf32>, tensor<4xi1>)
  return %0 : tensor<4xf32>
}

// -----

func.func @bits(%seed: tensor<2xi32>, %offset: tensor<i32>) -> tensor<4xi32> {
  // expected-error @below {{bits is 33, but must be in 1..32}}
  %0, %1 = "flambeau.random_bits"(%seed, %offset) {bits = 33 : i64, shape = array<i64: 4>, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<2xi32>, tensor<i32>) -> (tensor<4xi32>, tensor<4xi32>)
  return %0 : tensor<4xi32>
}

// -----

func.func @seed(%seed: tensor<i64>, %offset: tensor<i32>) -> tensor<4xi32> {
  // expected-error @below {{operand 'seed' must be tensor<2xi32>, found tensor<i64>}}
  %0, %1 = "flambeau.random_bits"(%seed, %offset) {bits = 32 : i64, shape = array<i64: 4>, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<i64>, tensor<i32>) -> (tensor<4xi32>, tensor<4xi32>)
  return %0 : tensor<4xi32>
}
