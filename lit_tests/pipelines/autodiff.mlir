// RUN: flambeau-opt %s --autodiff --split-input-file | FileCheck %s

// One tangent per result that depends on what is differentiated, one gradient per marked argument; none for %x.
// CHECK-LABEL: func.func @linear
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<2x4xf32> {flambeau.role = "input"}
// CHECK-SAME: %[[W:[a-z0-9]+]]: tensor<4x3xf32> {autograd.requires_grad, flambeau.role = "parameter"}
// CHECK-SAME: %[[G:[a-z0-9]+]]: tensor<2x3xf32> {flambeau.of_result = 0 : i64, flambeau.role = "tangent"}
// CHECK-SAME: -> (tensor<2x3xf32>, tensor<4x3xf32> {flambeau.gradient_of = 1 : i64})
func.func @linear(%x: tensor<2x4xf32> {flambeau.role = "input"}, %w: tensor<4x3xf32> {flambeau.role = "parameter", autograd.requires_grad}) -> tensor<2x3xf32> {
  // CHECK: %[[Y:.*]] = "flambeau.mm"(%[[X]], %[[W]])
  %y = "flambeau.mm"(%x, %w) : (tensor<2x4xf32>, tensor<4x3xf32>) -> tensor<2x3xf32>
  // CHECK: %[[XT:.*]] = "flambeau.transpose"(%[[X]])
  // CHECK: %[[DW:.*]] = "flambeau.mm"(%[[XT]], %[[G]])
  // CHECK: return %[[Y]], %[[DW]]
  return %y : tensor<2x3xf32>
}

// -----

// Uses of one value: the gradients add up, those of later ops first.
// CHECK-LABEL: func.func @accumulate
// CHECK-SAME: (%[[X:.*]]: tensor<3xf32>, %[[G:.*]]: tensor<3xf32> {
func.func @accumulate(%x: tensor<3xf32>) -> tensor<3xf32> {
  %a = "flambeau.neg"(%x) : (tensor<3xf32>) -> tensor<3xf32>
  %b = "flambeau.mul"(%a, %x) : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
  // CHECK: %[[A:.*]] = "flambeau.neg"(%[[X]])
  // CHECK: %[[DA:.*]] = "flambeau.mul"(%[[G]], %[[X]])
  // CHECK: %[[DX1:.*]] = "flambeau.mul"(%[[G]], %[[A]])
  // CHECK: %[[DX2:.*]] = "flambeau.neg"(%[[DA]])
  // CHECK: "flambeau.add"(%[[DX1]], %[[DX2]])
  return %b : tensor<3xf32>
}

// -----

// detach stops the gradient: through %s there is none.
// CHECK-LABEL: func.func @detach
// CHECK-SAME: (%[[X:.*]]: tensor<3xf32>, %[[G:.*]]: tensor<3xf32> {
func.func @detach(%x: tensor<3xf32>) -> tensor<3xf32> {
  %t = "flambeau.tanh"(%x) : (tensor<3xf32>) -> tensor<3xf32>
  // CHECK: %[[S:.*]] = "autograd.detach"
  %s = "autograd.detach"(%t) : (tensor<3xf32>) -> tensor<3xf32>
  // CHECK: %[[Y:.*]] = "flambeau.mul"(%[[X]], %[[S]])
  %y = "flambeau.mul"(%x, %s) : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
  // CHECK: %[[DX:.*]] = "flambeau.mul"(%[[G]], %[[S]])
  // CHECK-NOT: flambeau.add
  // CHECK: return %[[Y]], %[[DX]]
  return %y : tensor<3xf32>
}

// -----

// with_value: the gradient goes to the old value as it is, nothing goes to the new one.
// CHECK-LABEL: func.func @with_value
// CHECK-SAME: %[[G:[a-z0-9]+]]: tensor<3xf32> {flambeau.of_result = 0 : i64, flambeau.role = "tangent"}
// CHECK-SAME: -> (tensor<3xf32>, tensor<3xf32> {flambeau.gradient_of = 0 : i64})
func.func @with_value(%x: tensor<3xf32>, %n: tensor<3xf32>) -> tensor<3xf32> {
  // CHECK: %[[V:.*]] = "autograd.with_value"
  %v = "autograd.with_value"(%x, %n) : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
  // CHECK: return %[[V]], %[[G]]
  return %v : tensor<3xf32>
}

// -----

// with_value: a new value that requires a gradient gives the result no history, so it has no tangent.
// CHECK-LABEL: func.func @with_value_of_new
// CHECK-SAME: (%{{[a-z0-9]+}}: tensor<3xf32> {flambeau.role = "input"}, %{{[a-z0-9]+}}: tensor<3xf32> {autograd.requires_grad, flambeau.role = "input"}) -> tensor<3xf32> {
func.func @with_value_of_new(%x: tensor<3xf32> {flambeau.role = "input"}, %n: tensor<3xf32> {autograd.requires_grad, flambeau.role = "input"}) -> tensor<3xf32> {
  %v = "autograd.with_value"(%x, %n) : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
  return %v : tensor<3xf32>
}

// -----

// What nothing differentiable reaches is left alone: integers have no gradient.
// CHECK-LABEL: func.func @integers
// CHECK-SAME: (%{{.*}}: tensor<3xi64>) -> tensor<3xi64>
func.func @integers(%x: tensor<3xi64>) -> tensor<3xi64> {
  %y = "flambeau.neg"(%x) : (tensor<3xi64>) -> tensor<3xi64>
  return %y : tensor<3xi64>
}

// -----

// Dynamic sizes: the gradient of expand sums what was repeated, whatever its size is.
// CHECK-LABEL: func.func @dynamic
// CHECK-SAME: tensor<3xf32> {flambeau.gradient_of = 0 : i64}
func.func @dynamic(%b: tensor<3xf32>, %n: index) -> tensor<?x3xf32> {
  %y = "flambeau.expand"(%b, %n) {operandSegmentSizes = array<i32: 1, 1>, shape = array<i64: -1, 3>} : (tensor<3xf32>, index) -> tensor<?x3xf32>
  // CHECK: "flambeau.sum"({{.*}}) {dims = array<i64: 0>, keepdim = false} : (tensor<?x3xf32>) -> tensor<3xf32>
  return %y : tensor<?x3xf32>
}

// -----

// A call with a derivative of its own: the backward is called, the forward is not differentiated.
// CHECK-LABEL: func.func @custom
// CHECK-SAME: %[[G:[a-z0-9]+]]: tensor<3xf32> {flambeau.of_result = 0 : i64, flambeau.role = "tangent"}
func.func @custom(%x: tensor<3xf32>) -> tensor<3xf32> {
  // CHECK: %[[Y:.*]]:2 = call @forward
  %y:2 = func.call @forward_half(%x) {autograd.backward = @backward_half, autograd.outputs = 1 : i64, autograd.gradient_of = array<i64: 0>, autograd.non_differentiable = array<i64>} : (tensor<3xf32>) -> (tensor<3xf32>, tensor<3xf32>)
  // CHECK: %[[DX:.*]] = call @backward_half(%[[G]], %[[Y]]#1)
  // CHECK: return %[[Y]]#0, %[[DX]]
  return %y#0 : tensor<3xf32>
}
func.func private @forward_half(%x: tensor<3xf32>) -> (tensor<3xf32>, tensor<3xf32>) {
  return %x, %x : tensor<3xf32>, tensor<3xf32>
}
func.func private @backward_half(%g: tensor<3xf32>, %x: tensor<3xf32>) -> tensor<3xf32> {
  return %g : tensor<3xf32>
}
