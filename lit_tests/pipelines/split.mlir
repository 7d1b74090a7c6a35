// RUN: flambeau-opt %s --split --split-input-file | FileCheck %s

// A function without host ops stays as it is.
// CHECK-LABEL: func.func @compiled
// CHECK-NOT: call
// CHECK: flambeau.tanh
func.func @compiled(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = "flambeau.tanh"(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = "flambeau.exp"(%0) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = "flambeau.neg"(%1) : (tensor<4xf32>) -> tensor<4xf32>
  return %2 : tensor<4xf32>
}

// -----

// What lies before and what lies after a call of PyTorch are one segment each; a constant is made where it is used.
func.func private @i0(tensor<?x8xf32>) -> tensor<?x8xf32> attributes {flambeau.target = "aten.special_i0.default", flambeau.arguments = ["%0"], flambeau.reason = "no op"}
// CHECK-LABEL: func.func @two
// CHECK-SAME: attributes {flambeau.host}
// CHECK-NEXT: %[[A:.*]]:2 = call @two_segment_0(%{{.*}})
// CHECK-NEXT: %[[B:.*]] = call @i0(%[[A]]#0)
// CHECK-NEXT: %[[C:.*]] = call @two_segment_1(%[[B]], %[[A]]#1)
// CHECK-NEXT: return %[[C]]
// CHECK-LABEL: func.func @two_segment_0
// CHECK-SAME: flambeau.dims = ["s0", 8]
// CHECK: flambeau.tanh
// CHECK: flambeau.exp
// CHECK: flambeau.sin
// CHECK-LABEL: func.func @two_segment_1
// CHECK: flambeau.mul
// CHECK: flambeau.neg
// CHECK: flambeau.cos
func.func @two(%x: tensor<?x8xf32> {flambeau.dims = ["s0", 8], flambeau.role = "input"}) -> tensor<?x8xf32> {
  %0 = "flambeau.tanh"(%x) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %1 = func.call @i0(%0) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %2 = "flambeau.exp"(%0) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %3 = "flambeau.sin"(%2) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %4 = "flambeau.mul"(%1, %3) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %5 = "flambeau.neg"(%4) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %6 = "flambeau.cos"(%5) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %6 : tensor<?x8xf32>
}

// -----

// One op between two calls is not worth a call of its own; calls keep their order.
func.func private @draw(tensor<4xf32>) -> tensor<4xf32> attributes {flambeau.target = "aten.bernoulli.default", flambeau.arguments = ["%0", unit], flambeau.reason = "no op"}
// CHECK-LABEL: func.func @small
// CHECK-NEXT: %[[A:.*]] = call @draw(%{{.*}})
// CHECK-NEXT: %[[B:.*]] = call @draw(%{{.*}})
// CHECK: %[[C:.*]] = "flambeau.add"(%[[A]], %[[B]]) {flambeau.chosen, flambeau.reason = "fewer than 3 ops
// CHECK-NEXT: return %[[C]]
func.func @small(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = func.call @draw(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = func.call @draw(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = "flambeau.add"(%0, %1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %2 : tensor<4xf32>
}

// -----

// The function that a loop repeats is the interpreter's, and what is called in it; its ops say so.
func.func private @loop(tensor<4x3xf32>) -> tensor<4x3xf32> attributes {flambeau.target = "map_impl", flambeau.arguments = [["%0"], []], flambeau.bodies = [@body], flambeau.reason = "PyTorch runs its loops"}
// CHECK-LABEL: func.func @looped
// CHECK: call @loop
// CHECK-LABEL: func.func private @body
// CHECK-SAME: flambeau.host
// CHECK: "flambeau.sin"(%{{.*}}) {flambeau.reason = "what calls it runs on the host"}
func.func @looped(%x: tensor<4x3xf32>) -> tensor<4x3xf32> {
  %0 = func.call @loop(%x) : (tensor<4x3xf32>) -> tensor<4x3xf32>
  return %0 : tensor<4x3xf32>
}
func.func private @body(%row: tensor<3xf32>) -> tensor<3xf32> attributes {flambeau.host} {
  %0 = "flambeau.sin"(%row) : (tensor<3xf32>) -> tensor<3xf32>
  return %0 : tensor<3xf32>
}

// -----

// If it is not the host's, it is compiled, unless it is too small for that.
func.func private @loop(tensor<i64>, tensor<3xf32>) -> (tensor<i64>, tensor<3xf32>) attributes {flambeau.target = "while_loop", flambeau.arguments = [["%0", "%1"], []], flambeau.bodies = [@more, @step], flambeau.reason = "PyTorch runs its loops"}
// CHECK-LABEL: func.func @looped
// CHECK-SAME: attributes {flambeau.host}
// CHECK: call @loop
// CHECK-LABEL: func.func private @more
// CHECK-SAME: attributes {flambeau.host}
// CHECK-LABEL: func.func @step
// CHECK-NOT: flambeau.host
// CHECK: flambeau.exp
// CHECK-NOT: flambeau.reason
// CHECK: return
func.func @looped(%i: tensor<i64>, %x: tensor<3xf32>) -> tensor<3xf32> {
  %0:2 = func.call @loop(%i, %x) : (tensor<i64>, tensor<3xf32>) -> (tensor<i64>, tensor<3xf32>)
  return %0#1 : tensor<3xf32>
}
func.func private @more(%i: tensor<i64>, %x: tensor<3xf32>) -> tensor<i1> {
  %zero = "flambeau.constant"() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %0 = "flambeau.gt"(%i, %zero) : (tensor<i64>, tensor<i64>) -> tensor<i1>
  return %0 : tensor<i1>
}
func.func private @step(%i: tensor<i64>, %x: tensor<3xf32>) -> (tensor<i64>, tensor<3xf32>) {
  %one = "flambeau.constant"() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %0 = "flambeau.sub"(%i, %one) : (tensor<i64>, tensor<i64>) -> tensor<i64>
  %1 = "flambeau.sin"(%x) : (tensor<3xf32>) -> tensor<3xf32>
  %2 = "flambeau.exp"(%1) : (tensor<3xf32>) -> tensor<3xf32>
  return %0, %2 : tensor<i64>, tensor<3xf32>
}
