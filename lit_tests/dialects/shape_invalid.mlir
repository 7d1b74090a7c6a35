// RUN: flambeau-opt %s --split-input-file --verify-diagnostics

func.func @expand(%x: tensor<2x3xf32>) -> tensor<4x3xf32> {
  // expected-error @below {{cannot expand tensor<2x3xf32> to [4, 3]: size 2 is neither 1 nor 4}}
  %0 = "flambeau.expand"(%x) {operandSegmentSizes = array<i32: 1, 0>, shape = array<i64: 4, 3>} : (tensor<2x3xf32>) -> tensor<4x3xf32>
  return %0 : tensor<4x3xf32>
}

// -----

func.func @view(%x: tensor<2x3xf32>) -> tensor<5xf32> {
  // expected-error @below {{tensor<2x3xf32> has 6 elements, shape [5] has 5}}
  %0 = "flambeau.view"(%x) {operandSegmentSizes = array<i32: 1, 0>, shape = array<i64: 5>} : (tensor<2x3xf32>) -> tensor<5xf32>
  return %0 : tensor<5xf32>
}

// -----

func.func @squeeze(%x: tensor<2x3xf32>) -> tensor<3xf32> {
  // expected-error @below {{dim 0 of tensor<2x3xf32> is not of size 1}}
  %0 = "flambeau.squeeze"(%x) {dims = array<i64: 0>} : (tensor<2x3xf32>) -> tensor<3xf32>
  return %0 : tensor<3xf32>
}

// -----

func.func @permute(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  // expected-error @below {{'dims' is [0, 0], not a permutation of the dims of tensor<2x3xf32>}}
  %0 = "flambeau.permute"(%x) {dims = array<i64: 0, 0>} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}

// -----

func.func @negative_dim(%x: tensor<2x3xf32>) -> tensor<3x2xf32> {
  // expected-error @below {{'dim0' is -1, which is not in [0, 2) for a tensor of rank 2}}
  %0 = "flambeau.transpose"(%x) {dim0 = -1 : i64, dim1 = 0 : i64} : (tensor<2x3xf32>) -> tensor<3x2xf32>
  return %0 : tensor<3x2xf32>
}

// -----

func.func @slice(%x: tensor<5xf32>) -> tensor<3xf32> {
  // expected-error @below {{start 4, end 7 is not a slice of dim 0 of tensor<5xf32>}}
  %0 = "flambeau.slice"(%x) {dim = 0 : i64, end = 7 : i64, operandSegmentSizes = array<i32: 1, 0, 0>, start = 4 : i64, step = 1 : i64} : (tensor<5xf32>) -> tensor<3xf32>
  return %0 : tensor<3xf32>
}

// -----

func.func @slice_scatter(%x: tensor<5xf32>, %src: tensor<2xf32>) -> tensor<5xf32> {
  // expected-error @below {{operand 'src' is tensor<2xf32>, but the positions written are tensor<3xf32>}}
  %0 = "flambeau.slice_scatter"(%x, %src) {dim = 0 : i64, end = 4 : i64, operandSegmentSizes = array<i32: 1, 1, 0, 0>, start = 1 : i64, step = 1 : i64} : (tensor<5xf32>, tensor<2xf32>) -> tensor<5xf32>
  return %0 : tensor<5xf32>
}

// -----

func.func @select(%x: tensor<5xf32>) -> tensor<f32> {
  // expected-error @below {{index 5 is out of range for dim 0 of tensor<5xf32>}}
  %0 = "flambeau.select"(%x) {dim = 0 : i64, index = 5 : i64, operandSegmentSizes = array<i32: 1, 0>} : (tensor<5xf32>) -> tensor<f32>
  return %0 : tensor<f32>
}

// -----

func.func @cat(%x: tensor<2x3xf32>, %y: tensor<2x4xf32>) -> tensor<4x3xf32> {
  // expected-error @below {{cannot join tensor<2x3xf32> and tensor<2x4xf32> along dim 0}}
  %0 = "flambeau.cat"(%x, %y) {dim = 0 : i64} : (tensor<2x3xf32>, tensor<2x4xf32>) -> tensor<4x3xf32>
  return %0 : tensor<4x3xf32>
}

// -----

func.func @as_strided(%x: tensor<6xf32>) -> tensor<3x2xf32> {
  // expected-error @below {{the view reaches element 7, but tensor<6xf32> has 6}}
  %0 = "flambeau.as_strided"(%x) {size = array<i64: 3, 2>, storage_offset = 0 : i64, stride = array<i64: 3, 1>} : (tensor<6xf32>) -> tensor<3x2xf32>
  return %0 : tensor<3x2xf32>
}

// -----

func.func @result(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  // expected-error @below {{result #0 is tensor<2x3xf32>, inferred tensor<3x2xf32>}}
  %0 = "flambeau.t"(%x) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}
