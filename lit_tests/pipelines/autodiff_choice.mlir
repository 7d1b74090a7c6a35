// A call that chooses between two functions: differentiated, and lowered.
// RUN: flambeau-opt %s --pass-pipeline='autodiff,inline-calls,cse' | FileCheck %s
// RUN: flambeau-opt %s --pipeline=training | FileCheck %s --check-prefix=LOWERED

// The derivative chooses between the branches' derivatives, each of which computes its branch again.
// CHECK-DAG: func.func private @cond_vjp(tensor<i1>, tensor<?xf32>, tensor<?xf32>, tensor<?xf32>) -> (tensor<?xf32>, tensor<?xf32>) attributes {flambeau.branches = [@scaled_vjp, @plain_vjp]}
// CHECK-LABEL: func.func @graph
// CHECK-SAME: (%[[P:.*]]: tensor<i1>, %[[X:.*]]: tensor<?xf32> {flambeau.dims = ["s0"]}, %[[W:.*]]: tensor<?xf32> {flambeau.dims = ["s0"]}, %[[G:.*]]: tensor<?xf32> {flambeau.of_result = 0
// CHECK: %[[Y:.*]] = call @cond(%[[P]], %[[X]], %[[W]])
// CHECK: %[[D:.*]]:2 = call @cond_vjp(%[[P]], %[[X]], %[[W]], %[[G]])
// CHECK: return %[[Y]], %[[D]]#0, %[[D]]#1

// LOWERED-NOT: func.func private
// LOWERED: func.func @forward(%[[P:.*]]: !torch.vtensor<[],i1>
// LOWERED: %[[IF:.*]] = scf.if %{{.*}} -> (tensor<?xf32>) {
// LOWERED: arith.mulf
// LOWERED: } else {
// LOWERED: math.exp
// LOWERED: func.func @backward
// LOWERED: scf.if %{{.*}} -> (tensor<?xf32>, tensor<?xf32>) {
func.func @graph(%p: tensor<i1>, %x: tensor<?xf32> {flambeau.dims = ["s0"]}, %w: tensor<?xf32> {flambeau.dims = ["s0"]}) -> tensor<?xf32> {
  %y = func.call @cond(%p, %x, %w) : (tensor<i1>, tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
  return %y : tensor<?xf32>
}

func.func private @cond(tensor<i1>, tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32> attributes {flambeau.branches = [@scaled, @plain]}

// CHECK-LABEL: func.func private @scaled_vjp
// CHECK-SAME: (%[[X:.*]]: tensor<?xf32>, %[[W:.*]]: tensor<?xf32>, %[[G:.*]]: tensor<?xf32>)
// CHECK-DAG: %[[DX:.*]] = "flambeau.mul"(%[[G]], %[[W]])
// CHECK-DAG: %[[DW:.*]] = "flambeau.mul"(%[[G]], %[[X]])
// CHECK: return %[[DX]], %[[DW]]
func.func private @scaled(%x: tensor<?xf32>, %w: tensor<?xf32>) -> tensor<?xf32> {
  %0 = "flambeau.mul"(%x, %w) : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// What a branch does not use has zeros for a gradient.
// CHECK-LABEL: func.func private @plain_vjp
// CHECK: %[[EXP:.*]] = "flambeau.exp"
// CHECK: %[[DX:.*]] = "flambeau.mul"(%{{.*}}, %[[EXP]])
// CHECK: %[[ZEROS:.*]] = "flambeau.expand"
// CHECK: return %[[DX]], %[[ZEROS]]
func.func private @plain(%x: tensor<?xf32>, %w: tensor<?xf32>) -> tensor<?xf32> {
  %0 = "flambeau.exp"(%x) : (tensor<?xf32>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}
