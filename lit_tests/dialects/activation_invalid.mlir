// RUN: flambeau-opt %s --split-input-file --verify-diagnostics

func.func @approximate(%x: tensor<2xf32>) -> tensor<2xf32> {
  // expected-error @below {{attribute 'approximate' is 'sigmoid'; it may be 'none' or 'tanh'}}
  %0 = "flambeau.gelu"(%x) {approximate = "sigmoid"} : (tensor<2xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

func.func @weight(%x: tensor<2x3xf32>, %w: tensor<3xf32>) -> tensor<2x3xf32> {
  // expected-error @below {{operands 'x' and 'weight' differ: tensor<2x3xf32> and tensor<3xf32>}}
  %0 = "flambeau.prelu"(%x, %w) : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}

// -----

func.func @missing(%x: tensor<2xf32>) -> tensor<2xf32> {
  // expected-error @below {{requires attribute 'negative_slope'}}
  %0 = "flambeau.leaky_relu"(%x) : (tensor<2xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}
