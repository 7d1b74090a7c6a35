// --pipeline=NAME, from a forward function to the torch dialect; each stage reads back equal.
// RUN: flambeau-opt %s --pipeline=inference --verify-roundtrip | FileCheck %s --check-prefix=INFERENCE
// RUN: flambeau-opt %s --pipeline=training --verify-roundtrip | FileCheck %s --check-prefix=TRAINING
// RUN: flambeau-opt %s --pipeline=partitioned | flambeau-opt --verify-roundtrip | FileCheck %s --check-prefix=PARTITIONED
// RUN: flambeau-opt %s --pipeline=functional | FileCheck %s --check-prefix=FUNCTIONAL
// RUN: flambeau-opt %s --pipeline=imported --verify-roundtrip | FileCheck %s --check-prefix=IMPORTED

// INFERENCE: func.func @forward(%arg0: !torch.vtensor<[?,8],f32>, %arg1: !torch.vtensor<[8,3],f32>, %arg2: !torch.vtensor<[],si64>)
// INFERENCE: torch.aten.mm
// INFERENCE: math.tanh
// INFERENCE-NOT: func.func
// INFERENCE-NOT: flambeau.mm

// TRAINING: func.func @forward
// TRAINING: math.tanh
// TRAINING: func.func @backward
// TRAINING: torch.aten.mm
// TRAINING-NOT: torch.aten.mm

// PARTITIONED: func.func @forward
// PARTITIONED: "flambeau.tanh"
// PARTITIONED: func.func @backward
// PARTITIONED: flambeau.gradient_of = 1

// FUNCTIONAL: func.func @graph
// FUNCTIONAL-NOT: flambeau.ref
// FUNCTIONAL: "flambeau.add"
// FUNCTIONAL-NOT: flambeau.ref

// IMPORTED: !flambeau.ref<tensor<i64>>
// IMPORTED: "flambeau.ref_store"
func.func @graph(%x: tensor<?x8xf32> {flambeau.role = "input"},
                 %w: tensor<8x3xf32> {flambeau.role = "parameter", autograd.requires_grad},
                 %steps: !flambeau.ref<tensor<i64>> {flambeau.role = "buffer"}) -> tensor<?x3xf32> {
  %one = "flambeau.constant"() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %old = "flambeau.ref_load"(%steps) : (!flambeau.ref<tensor<i64>>) -> tensor<i64>
  %new = "flambeau.add"(%old, %one) : (tensor<i64>, tensor<i64>) -> tensor<i64>
  "flambeau.ref_store"(%steps, %new) {hidden = false} : (!flambeau.ref<tensor<i64>>, tensor<i64>) -> ()
  %m = "flambeau.mm"(%x, %w) : (tensor<?x8xf32>, tensor<8x3xf32>) -> tensor<?x3xf32>
  %h = "flambeau.tanh"(%m) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  return %h : tensor<?x3xf32>
}
