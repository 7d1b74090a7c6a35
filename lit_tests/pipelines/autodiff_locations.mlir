// RUN: flambeau-opt %s --autodiff --mlir-print-debuginfo --mlir-print-local-scope | FileCheck %s

// Each backward op is located at the forward op that it comes from.
func.func @f(%x: tensor<3xf32>) -> tensor<3xf32> {
  // CHECK: "flambeau.tanh"{{.*}}loc("model.py":7:0)
  %y = "flambeau.tanh"(%x) : (tensor<3xf32>) -> tensor<3xf32> loc("model.py":7:0)
  // CHECK: "flambeau.mul"{{.*}}loc("backward"("model.py":7:0))
  return %y : tensor<3xf32>
}
