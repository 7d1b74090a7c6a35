// RUN: flambeau-opt %s --split --split-input-file | FileCheck %s
// RUN: flambeau-opt %s --pass-pipeline='builtin.module(split{force-eager=exp min-block-size=1})' --split-input-file | FileCheck %s --check-prefix=FORCED

// A function without host ops stays as it is.
// CHECK-LABEL: func.func @compiled
// CHECK-NOT: call
// CHECK: flambeau.tanh
// FORCED-LABEL: func.func @compiled
// FORCED-SAME: attributes {flambeau.host}
// FORCED: call @compiled_segment_0
// FORCED: "flambeau.exp"(%{{.*}}) {flambeau.chosen, flambeau.reason = "force-eager names it"}
// FORCED: call @compiled_segment_1
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
