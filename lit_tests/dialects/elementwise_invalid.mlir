// RUN: flambeau-opt %s --split-input-file --verify-diagnostics

func.func @shapes(%x: tensor<2x3xf32>, %y: tensor<3xf32>) -> tensor<2x3xf32> {
  // expected-error @below {{operands 'x' and 'y' differ: tensor<2x3xf32> and tensor<3xf32> (broadcast with flambeau.expand, cast with flambeau.to_dtype)}}
  %0 = "flambeau.add"(%x, %y) : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}

// -----

func.func @element_types(%x: tensor<?xf32>, %y: tensor<?xi64>) -> tensor<?xf32> {
  // expected-error @below {{operands 'x' and 'y' differ: tensor<?xf32> and tensor<?xi64>}}
  %0 = "flambeau.mul"(%x, %y) : (tensor<?xf32>, tensor<?xi64>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// -----

func.func @integers(%x: tensor<2xi64>) -> tensor<2xi64> {
  // expected-error @below {{is for floating-point tensors, found tensor<2xi64> (cast with flambeau.to_dtype)}}
  %0 = "flambeau.exp"(%x) : (tensor<2xi64>) -> tensor<2xi64>
  return %0 : tensor<2xi64>
}

// -----

func.func @bools(%x: tensor<2xi1>) -> tensor<2xi1> {
  // expected-error @below {{is not defined for bool tensors, found tensor<2xi1> (cast with flambeau.to_dtype)}}
  %0 = "flambeau.sub"(%x, %x) : (tensor<2xi1>, tensor<2xi1>) -> tensor<2xi1>
  return %0 : tensor<2xi1>
}

// -----

func.func @result(%x: tensor<?x3xf32>) -> tensor<?x4xf32> {
  // expected-error @below {{result #0 is tensor<?x4xf32>, inferred tensor<?x3xf32>}}
  %0 = "flambeau.neg"(%x) : (tensor<?x3xf32>) -> tensor<?x4xf32>
  return %0 : tensor<?x4xf32>
}

// -----

func.func @limits(%x: tensor<2xf32>) -> tensor<2xf32> {
  // expected-error @below {{needs at least one of 'min' and 'max'}}
  %0 = "flambeau.clamp"(%x) {max = unit, min = unit} : (tensor<2xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

func.func @limit(%x: tensor<2xf32>) -> tensor<2xf32> {
  // expected-error @below {{attribute 'max': expected an i64, f64 or bool, found "1"}}
  %0 = "flambeau.clamp"(%x) {max = "1", min = unit} : (tensor<2xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}
