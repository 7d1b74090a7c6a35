// RUN: flambeau-opt %s | flambeau-opt | FileCheck %s

// CHECK-LABEL: func.func @scaled_dot_product_attention(
// CHECK: "flambeau.scaled_dot_product_attention"(%arg0, %arg1, %arg2)
// CHECK-SAME: (tensor<2x3x5x4xf32>, tensor<2x3x7x4xf32>, tensor<2x3x7x4xf32>) -> tensor<2x3x5x4xf32>
func.func @scaled_dot_product_attention(%arg0: tensor<2x3x5x4xf32>, %arg1: tensor<2x3x7x4xf32>, %arg2: tensor<2x3x7x4xf32>) -> tensor<2x3x5x4xf32> {
  %0 = "flambeau.scaled_dot_product_attention"(%arg0, %arg1, %arg2) {enable_gqa = false, is_causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0>, scale} : (tensor<2x3x5x4xf32>, tensor<2x3x7x4xf32>, tensor<2x3x7x4xf32>) -> tensor<2x3x5x4xf32>
  return %0 : tensor<2x3x5x4xf32>
}

// CHECK-LABEL: func.func @scaled_dot_product_attention_dropout(
// CHECK: "flambeau.scaled_dot_product_attention_dropout"(%arg0, %arg1, %arg2)
// CHECK-SAME: (tensor<2x3x5x4xf32>, tensor<2x3x7x4xf32>, tensor<2x3x7x4xf32>) -> tensor<2x3x5x4xf32>
func.func @scaled_dot_product_attention_dropout(%arg0: tensor<2x3x5x4xf32>, %arg1: tensor<2x3x7x4xf32>, %arg2: tensor<2x3x7x4xf32>) -> tensor<2x3x5x4xf32> {
  %0 = "flambeau.scaled_dot_product_attention_dropout"(%arg0, %arg1, %arg2) {dropout_p = 3.000000e-01 : f64, enable_gqa = false, is_causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0>, scale} : (tensor<2x3x5x4xf32>, tensor<2x3x7x4xf32>, tensor<2x3x7x4xf32>) -> tensor<2x3x5x4xf32>
  return %0 : tensor<2x3x5x4xf32>
}

// CHECK-LABEL: func.func @native_multi_head_attention(
// CHECK: "flambeau.native_multi_head_attention"(%arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6)
// CHECK-SAME: (tensor<2x5x6xf32>, tensor<2x5x6xf32>, tensor<2x5x6xf32>, tensor<18x6xf32>, tensor<18xf32>, tensor<6x6xf32>, tensor<6xf32>) -> (tensor<2x5x6xf32>, tensor<2x5x5xf32>)
func.func @native_multi_head_attention(%arg0: tensor<2x5x6xf32>, %arg1: tensor<2x5x6xf32>, %arg2: tensor<2x5x6xf32>, %arg3: tensor<18x6xf32>, %arg4: tensor<18xf32>, %arg5: tensor<6x6xf32>, %arg6: tensor<6xf32>) -> (tensor<2x5x6xf32>, tensor<2x5x5xf32>) {
  %0:2 = "flambeau.native_multi_head_attention"(%arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6) {average_attn_weights = true, embed_dim = 6 : i64, mask_type, need_weights = true, num_head = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0>} : (tensor<2x5x6xf32>, tensor<2x5x6xf32>, tensor<2x5x6xf32>, tensor<18x6xf32>, tensor<18xf32>, tensor<6x6xf32>, tensor<6xf32>) -> (tensor<2x5x6xf32>, tensor<2x5x5xf32>)
  return %0#0, %0#1 : tensor<2x5x6xf32>, tensor<2x5x5xf32>
}

// CHECK-LABEL: func.func @transformer_encoder_layer_fwd(
// CHECK: "flambeau.transformer_encoder_layer_fwd"(%arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12)
// CHECK-SAME: (tensor<2x5x6xf32>, tensor<18x6xf32>, tensor<18xf32>, tensor<6x6xf32>, tensor<6xf32>, tensor<6xf32>, tensor<6xf32>, tensor<6xf32>, tensor<6xf32>, tensor<8x6xf32>, tensor<8xf32>, tensor<6x8xf32>, tensor<6xf32>) -> tensor<2x5x6xf32>
func.func @transformer_encoder_layer_fwd(%arg0: tensor<2x5x6xf32>, %arg1: tensor<18x6xf32>, %arg2: tensor<18xf32>, %arg3: tensor<6x6xf32>, %arg4: tensor<6xf32>, %arg5: tensor<6xf32>, %arg6: tensor<6xf32>, %arg7: tensor<6xf32>, %arg8: tensor<6xf32>, %arg9: tensor<8x6xf32>, %arg10: tensor<8xf32>, %arg11: tensor<6x8xf32>, %arg12: tensor<6xf32>) -> tensor<2x5x6xf32> {
  %0 = "flambeau.transformer_encoder_layer_fwd"(%arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12) {embed_dim = 6 : i64, eps = 1.000000e-05 : f64, mask_type, norm_first = false, num_heads = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0>, use_gelu = false} : (tensor<2x5x6xf32>, tensor<18x6xf32>, tensor<18xf32>, tensor<6x6xf32>, tensor<6xf32>, tensor<6xf32>, tensor<6xf32>, tensor<6xf32>, tensor<6xf32>, tensor<8x6xf32>, tensor<8xf32>, tensor<6x8xf32>, tensor<6xf32>) -> tensor<2x5x6xf32>
  return %0 : tensor<2x5x6xf32>
}
