// RUN: flambeau-opt %s --autodiff --split-input-file --verify-diagnostics

func.func @missing(%p: tensor<i1>, %x: tensor<3xf32>) -> tensor<3xf32> {
  // expected-error @+1 {{flambeau.branches must name two functions of the module, it is ['f', 'nowhere']}}
  %y = func.call @cond(%p, %x) : (tensor<i1>, tensor<3xf32>) -> tensor<3xf32>
  return %y : tensor<3xf32>
}
func.func private @cond(tensor<i1>, tensor<3xf32>) -> tensor<3xf32> attributes {flambeau.branches = [@f, @nowhere]}
func.func private @f(%x: tensor<3xf32>) -> tensor<3xf32> {
  return %x : tensor<3xf32>
}

// -----

func.func @other_types(%p: tensor<i1>, %x: tensor<3xf32>) -> tensor<3xf32> {
  // expected-error @+1 {{the branch @g is a function (tensor<4xf32>) -> tensor<4xf32>}}
  %y = func.call @cond(%p, %x) : (tensor<i1>, tensor<3xf32>) -> tensor<3xf32>
  return %y : tensor<3xf32>
}
func.func private @cond(tensor<i1>, tensor<3xf32>) -> tensor<3xf32> attributes {flambeau.branches = [@f, @g]}
func.func private @f(%x: tensor<3xf32>) -> tensor<3xf32> {
  return %x : tensor<3xf32>
}
func.func private @g(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
