// RUN: flambeau-opt %s --inline-calls | FileCheck %s

// CHECK-LABEL: func.func @f
// CHECK-SAME: (%[[X:.*]]: tensor<3xf32>)
func.func @f(%x: tensor<3xf32>) -> tensor<3xf32> {
  // CHECK: %[[A:.*]] = "flambeau.neg"(%[[X]])
  // CHECK: %[[B:.*]] = "flambeau.tanh"(%[[A]])
  %y = func.call @outer(%x) : (tensor<3xf32>) -> tensor<3xf32>
  // CHECK: return %[[B]]
  return %y : tensor<3xf32>
}

// CHECK-NOT: func.func private
func.func private @outer(%x: tensor<3xf32>) -> tensor<3xf32> {
  %y = func.call @inner(%x) : (tensor<3xf32>) -> tensor<3xf32>
  %z = "flambeau.tanh"(%y) : (tensor<3xf32>) -> tensor<3xf32>
  return %z : tensor<3xf32>
}

func.func private @inner(%x: tensor<3xf32>) -> tensor<3xf32> {
  %y = "flambeau.neg"(%x) : (tensor<3xf32>) -> tensor<3xf32>
  return %y : tensor<3xf32>
}
