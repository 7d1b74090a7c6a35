// RUN: flambeau-opt %s --autodiff --cse --partition="activation-memory-budget=0.6" --cse | FileCheck %s

// A `?` is the same number of elements in bytes and in time: of two products that take as long per byte, the larger is kept.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: -> (tensor<?x64xf32>, tensor<48x64xf32>, tensor<?x64xf32> {flambeau.saved}) {
// CHECK-LABEL: func.func @backward
func.func @two_products(%x: tensor<?x1xf32> {flambeau.role = "input"}, %y: tensor<48x1xf32> {flambeau.role = "input"}, %w: tensor<1x64xf32> {flambeau.role = "parameter", autograd.requires_grad}) -> (tensor<?x64xf32>, tensor<48x64xf32>) {
  %a = "flambeau.mm"(%x, %w) : (tensor<?x1xf32>, tensor<1x64xf32>) -> tensor<?x64xf32>
  %b = "flambeau.sin"(%a) : (tensor<?x64xf32>) -> tensor<?x64xf32>
  %c = "flambeau.mm"(%y, %w) : (tensor<48x1xf32>, tensor<1x64xf32>) -> tensor<48x64xf32>
  %d = "flambeau.sin"(%c) : (tensor<48x64xf32>) -> tensor<48x64xf32>
  return %b, %d : tensor<?x64xf32>, tensor<48x64xf32>
}
