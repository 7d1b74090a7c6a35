// RUN: flambeau-opt %s --autodiff --cse --partition="activation-memory-budget=0" --cse | FileCheck %s --check-prefix=NOTHING
// RUN: flambeau-opt %s --autodiff --cse --partition="activation-memory-budget=0.5" --cse | FileCheck %s --check-prefix=HALF

// Without memory the arguments alone are kept; with half of it, one of the two products.
// NOTHING-LABEL: func.func @forward
// NOTHING-NOT: flambeau.saved
// NOTHING-LABEL: func.func @backward
// NOTHING-NOT: flambeau.of_result = 1
// NOTHING: return
// HALF-LABEL: func.func @forward
// HALF-SAME: -> (tensor<64x64xf32>, tensor<64x64xf32> {flambeau.saved}) {
// HALF-LABEL: func.func @backward
func.func @products(%x: tensor<64x64xf32> {flambeau.role = "input"}, %w: tensor<64x64xf32> {flambeau.role = "parameter", autograd.requires_grad}) -> tensor<64x64xf32> {
  %a = "flambeau.mm"(%x, %w) : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  %b = "flambeau.sin"(%a) : (tensor<64x64xf32>) -> tensor<64x64xf32>
  %c = "flambeau.mm"(%b, %w) : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  %d = "flambeau.sin"(%c) : (tensor<64x64xf32>) -> tensor<64x64xf32>
  return %d : tensor<64x64xf32>
}
