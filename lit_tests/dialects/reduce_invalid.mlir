// RUN: flambeau-opt %s --split-input-file --verify-diagnostics

func.func @dim(%x: tensor<2x3xf32>) -> tensor<2xf32> {
  // expected-error @below {{dim 2 is out of range for rank 2}}
  %0 = "flambeau.sum"(%x) {dims = array<i64: 2>, keepdim = false} : (tensor<2x3xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

func.func @shape(%x: tensor<2x3xf32>) -> tensor<2xf32> {
  // expected-error @below {{result #0 is tensor<2xf32>, inferred tensor<2x1xf32>}}
  %0 = "flambeau.amax"(%x) {dims = array<i64: 1>, keepdim = true} : (tensor<2x3xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

func.func @integer_sums(%x: tensor<2x3xi32>) -> tensor<2xi32> {
  // expected-error @below {{result #0 is tensor<2xi32>, inferred tensor<2xi64>}}
  %0 = "flambeau.sum"(%x) {dims = array<i64: 1>, keepdim = false} : (tensor<2x3xi32>) -> tensor<2xi32>
  return %0 : tensor<2xi32>
}

// -----

func.func @integer_means(%x: tensor<2x3xi64>) -> tensor<2xi64> {
  // expected-error @below {{is for floating-point tensors, found tensor<2x3xi64> (cast with flambeau.to_dtype)}}
  %0 = "flambeau.mean"(%x) {dims = array<i64: 1>, keepdim = false} : (tensor<2x3xi64>) -> tensor<2xi64>
  return %0 : tensor<2xi64>
}

// -----

func.func @results(%x: tensor<2x3xf32>) -> tensor<2xf32> {
  // expected-error @below {{has 1 results where 2 are expected}}
  %0 = "flambeau.max_dim"(%x) {dim = 1 : i64, keepdim = false} : (tensor<2x3xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}
