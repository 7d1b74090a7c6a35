// RUN: flambeau-opt %s --decompose | FileCheck %s --check-prefix=AUTODIFF
// RUN: flambeau-opt %s --decompose="before=partition" | FileCheck %s --check-prefix=PARTITION
// RUN: flambeau-opt %s --decompose="before=lowering" | FileCheck %s --check-prefix=LOWERING

// Layer norm has a VJP rule, so it stays until the lowering, which has none for it.
// AUTODIFF-LABEL: func.func @layer_norm
// AUTODIFF: flambeau.native_layer_norm
// PARTITION-LABEL: func.func @layer_norm
// PARTITION: flambeau.native_layer_norm
// LOWERING-LABEL: func.func @layer_norm
// LOWERING-NOT: flambeau.native_layer_norm
// LOWERING: flambeau.rsqrt
func.func @layer_norm(%x: tensor<2x4xf32>, %w: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<2x4xf32> {
  %y:3 = "flambeau.native_layer_norm"(%x, %w, %b) {normalized_shape = array<i64: 4>, eps = 1.0e-5 : f64, operandSegmentSizes = array<i32: 1, 0, 1, 1>} : (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>) -> (tensor<2x4xf32>, tensor<2x1xf32>, tensor<2x1xf32>)
  return %y#0 : tensor<2x4xf32>
}

// The partition decides about the parts of batch norm: its statistics, and what is elementwise.
// AUTODIFF-LABEL: func.func @batch_norm
// AUTODIFF: flambeau.native_batch_norm
// PARTITION-LABEL: func.func @batch_norm
// PARTITION-NOT: flambeau.native_batch_norm
// PARTITION: "flambeau.var_mean"(%arg0)
// PARTITION: "flambeau.rsqrt"
// LOWERING-LABEL: func.func @batch_norm
// LOWERING-NOT: flambeau.var_mean
// LOWERING: flambeau.rsqrt
func.func @batch_norm(%x: tensor<4x3x5xf32>, %w: tensor<3xf32>, %b: tensor<3xf32>) -> tensor<4x3x5xf32> {
  %y:3 = "flambeau.native_batch_norm_no_stats"(%x, %w, %b) {momentum = 0.1 : f64, eps = 1.0e-5 : f64, operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<4x3x5xf32>, tensor<3xf32>, tensor<3xf32>) -> (tensor<4x3x5xf32>, tensor<3xf32>, tensor<3xf32>)
  return %y#0 : tensor<4x3x5xf32>
}
