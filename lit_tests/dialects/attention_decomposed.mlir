// RUN: flambeau-opt %s --decompose | FileCheck %s

// Scores, softmax, product; the mask is a comparison of positions.
// CHECK-LABEL: func.func @causal(
// CHECK-NOT: scaled_dot_product_attention
// CHECK: "flambeau.bmm"{{.*}} -> tensor<?x5x5xf32>
// CHECK: "flambeau.le"{{.*}} -> tensor<5x5xi1>
// CHECK: "flambeau.where"
// CHECK: "flambeau.softmax"
// CHECK: "flambeau.bmm"{{.*}} -> tensor<?x5x4xf32>
// CHECK: return {{.*}} : tensor<?x3x5x4xf32>
func.func @causal(%q: tensor<?x3x5x4xf32>, %k: tensor<?x3x5x4xf32>, %v: tensor<?x3x5x4xf32>) -> tensor<?x3x5x4xf32> {
  %0 = "flambeau.scaled_dot_product_attention"(%q, %k, %v) {enable_gqa = false, is_causal = true, scale, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<?x3x5x4xf32>, tensor<?x3x5x4xf32>, tensor<?x3x5x4xf32>) -> tensor<?x3x5x4xf32>
  return %0 : tensor<?x3x5x4xf32>
}

// Three query heads share a key head: keys and values are not repeated.
// CHECK-LABEL: func.func @grouped(
// CHECK: "flambeau.bmm"{{.*}} : (tensor<4x15x4xf32>, tensor<4x4x7xf32>) -> tensor<4x15x7xf32>
// CHECK: "flambeau.bmm"{{.*}} : (tensor<4x15x7xf32>, tensor<4x7x4xf32>) -> tensor<4x15x4xf32>
func.func @grouped(%q: tensor<2x6x5x4xf32>, %k: tensor<2x2x7x4xf32>) -> tensor<2x6x5x4xf32> {
  %0 = "flambeau.scaled_dot_product_attention"(%q, %k, %k) {enable_gqa = true, is_causal = false, scale, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<2x6x5x4xf32>, tensor<2x2x7x4xf32>, tensor<2x2x7x4xf32>) -> tensor<2x6x5x4xf32>
  return %0 : tensor<2x6x5x4xf32>
}

// float16 scores are computed in float32.
// CHECK-LABEL: func.func @half(
// CHECK: "flambeau.bmm"{{.*}} -> tensor<2x5x5xf32>
// CHECK: return {{.*}} : tensor<2x5x4xf16>
func.func @half(%q: tensor<2x5x4xf16>) -> tensor<2x5x4xf16> {
  %0 = "flambeau.scaled_dot_product_attention"(%q, %q, %q) {enable_gqa = false, is_causal = false, scale = 0.5 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<2x5x4xf16>, tensor<2x5x4xf16>, tensor<2x5x4xf16>) -> tensor<2x5x4xf16>
  return %0 : tensor<2x5x4xf16>
}
