// RUN: flambeau-opt %s --split-input-file --verify-diagnostics

func.func @result(%x: tensor<2xf32>) -> tensor<2xf32> {
  // expected-error @below {{result #0 is tensor<2xf32>, inferred tensor<2xi1>}}
  %0 = "flambeau.lt"(%x, %x) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

func.func @condition(%c: tensor<2xi64>, %x: tensor<2xf32>) -> tensor<2xf32> {
  // expected-error @below {{operand 'condition' must be bool, found tensor<2xi64>}}
  %0 = "flambeau.where"(%c, %x, %x) : (tensor<2xi64>, tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

func.func @condition_shape(%c: tensor<3xi1>, %x: tensor<2xf32>) -> tensor<2xf32> {
  // expected-error @below {{operands 'condition' and 'x' differ in shape: tensor<3xi1> and tensor<2xf32> (broadcast with flambeau.expand)}}
  %0 = "flambeau.where"(%c, %x, %x) : (tensor<3xi1>, tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

func.func @bits(%x: tensor<2xf32>) -> tensor<2xf32> {
  // expected-error @below {{is for integer and bool tensors, found tensor<2xf32>}}
  %0 = "flambeau.bitwise_not"(%x) : (tensor<2xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}
