// RUN: flambeau-opt %s --autodiff --keep-gradients --split-input-file --verify-diagnostics

// What may not run again, since it would draw other numbers.
func.func private @noise(tensor<3xf32>) -> tensor<3xf32> attributes {
    autograd.differentiable = array<i64: 0>, flambeau.arguments = ["%0"], flambeau.once, flambeau.target = "my.noise.default"}

func.func @graph(%x: tensor<3xf32> {flambeau.role = "input", autograd.requires_grad}) -> tensor<3xf32> {
  // expected-error@+1 {{my.noise.default runs on the host: to differentiate its gradient it would have to run again}}
  %y = func.call @noise(%x) : (tensor<3xf32>) -> tensor<3xf32>
  %z = "flambeau.mul"(%y, %y) : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
  return %z : tensor<3xf32>
}

// -----

// A user's backward.
func.func private @f(%x: tensor<3xf32>) -> (tensor<3xf32>, tensor<3xf32>) {
  %y = "flambeau.mul"(%x, %x) : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
  return %y, %x : tensor<3xf32>, tensor<3xf32>
}

func.func private @g(%t: tensor<3xf32>, %x: tensor<3xf32>) -> tensor<3xf32> {
  %y = "flambeau.mul"(%t, %x) : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
  return %y : tensor<3xf32>
}

func.func @graph(%x: tensor<3xf32> {flambeau.role = "input", autograd.requires_grad}) -> tensor<3xf32> {
  // expected-error@+1 {{the backward of a custom autograd.Function is not differentiated}}
  %y:2 = func.call @f(%x) {autograd.backward = @g, autograd.outputs = 1 : i64, autograd.gradient_of = array<i64: 0>, autograd.non_differentiable = array<i64>} : (tensor<3xf32>) -> (tensor<3xf32>, tensor<3xf32>)
  return %y#0 : tensor<3xf32>
}
