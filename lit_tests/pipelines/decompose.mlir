// RUN: flambeau-opt %s --decompose | FileCheck %s --check-prefix=AUTODIFF
// RUN: flambeau-opt %s --decompose="before=lowering" | FileCheck %s --check-prefix=LOWERING

// Layer norm has a VJP rule, so it stays until the lowering, which has none for it.
// AUTODIFF-LABEL: func.func @layer_norm
// AUTODIFF: flambeau.native_layer_norm
// LOWERING-LABEL: func.func @layer_norm
// LOWERING-NOT: flambeau.native_layer_norm
// LOWERING: flambeau.rsqrt
func.func @layer_norm(%x: tensor<2x4xf32>, %w: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<2x4xf32> {
  %y:3 = "flambeau.native_layer_norm"(%x, %w, %b) {normalized_shape = array<i64: 4>, eps = 1.0e-5 : f64, operandSegmentSizes = array<i32: 1, 0, 1, 1>} : (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>) -> (tensor<2x4xf32>, tensor<2x1xf32>, tensor<2x1xf32>)
  return %y#0 : tensor<2x4xf32>
}
