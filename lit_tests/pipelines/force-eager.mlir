// RUN: flambeau-opt %s --pass-pipeline='builtin.module(force-eager{ops=flambeau.gelu;flambeau.max_dim lines=model.py:7})' --split-input-file | FileCheck %s
// RUN: flambeau-opt %s --pass-pipeline='builtin.module(force-eager{ops=flambeau.gelu},functionalize,decompose,autodiff)' --split-input-file | FileCheck %s --check-prefix=JOINT

// A named op becomes a call of a function that holds it, before anything takes it apart; so does what stands in a line.
// CHECK: func.func private @host_exp(tensor<?xf32>) -> tensor<?xf32> attributes {autograd.differentiable = array<i64: 0>, flambeau.bodies = [@exp_body], flambeau.reason = "the compiler refuses this line", flambeau.target = "flambeau.exp"}
// CHECK: func.func private @host_gelu(tensor<?xf32>) -> tensor<?xf32> attributes {autograd.differentiable = array<i64: 0>, flambeau.bodies = [@gelu_body], flambeau.chosen, flambeau.reason = "force_eager names it", flambeau.target = "flambeau.gelu"}
// CHECK-LABEL: func.func @graph
// CHECK: %[[A:.*]] = "flambeau.sin"
// CHECK: %[[B:.*]] = call @host_gelu(%[[A]])
// CHECK: %[[C:.*]] = call @host_exp(%[[B]])
// CHECK: return %[[C]]
// CHECK-LABEL: func.func private @gelu_body
// CHECK-SAME: flambeau.host
// CHECK: "flambeau.gelu"(%{{.*}}) {approximate = "none", flambeau.chosen, flambeau.reason = "force_eager names it"}

// The derivative is PyTorch's.
// JOINT-LABEL: func.func @graph
// JOINT: %[[T:.*]]:2 = call @host_gelu_taped
// JOINT: call @host_gelu_vjp(%[[T]]#1
func.func @graph(%x: tensor<?xf32>) -> tensor<?xf32> {
  %0 = "flambeau.sin"(%x) : (tensor<?xf32>) -> tensor<?xf32>
  %1 = "flambeau.gelu"(%0) {approximate = "none"} : (tensor<?xf32>) -> tensor<?xf32>
  %2 = "flambeau.exp"(%1) : (tensor<?xf32>) -> tensor<?xf32> loc("model.py":7:0)
  return %2 : tensor<?xf32>
}
