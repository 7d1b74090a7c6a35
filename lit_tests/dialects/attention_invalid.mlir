// RUN: flambeau-opt %s --split-input-file --verify-diagnostics

func.func @width(%q: tensor<2x5x4xf32>, %k: tensor<2x7x3xf32>, %v: tensor<2x7x4xf32>) -> tensor<2x5x4xf32> {
  // expected-error @below {{sizes e of query and key differ: 4 and 3}}
  %0 = "flambeau.scaled_dot_product_attention"(%q, %k, %v) {enable_gqa = false, is_causal = false, scale, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<2x5x4xf32>, tensor<2x7x3xf32>, tensor<2x7x4xf32>) -> tensor<2x5x4xf32>
  return %0 : tensor<2x5x4xf32>
}

// -----

func.func @mask(%q: tensor<2x5x4xf32>, %m: tensor<5x4xi1>) -> tensor<2x5x4xf32> {
  // expected-error @below {{operand 'attn_mask' of type tensor<5x4xi1> does not broadcast to shape [2, 5, 5]}}
  %0 = "flambeau.scaled_dot_product_attention"(%q, %q, %q, %m) {enable_gqa = false, is_causal = false, scale, operandSegmentSizes = array<i32: 1, 1, 1, 1>} : (tensor<2x5x4xf32>, tensor<2x5x4xf32>, tensor<2x5x4xf32>, tensor<5x4xi1>) -> tensor<2x5x4xf32>
  return %0 : tensor<2x5x4xf32>
}

// -----

func.func @two_masks(%q: tensor<2x5x4xf32>, %m: tensor<5x5xi1>) -> tensor<2x5x4xf32> {
  // expected-error @below {{attn_mask and is_causal exclude each other}}
  %0 = "flambeau.scaled_dot_product_attention"(%q, %q, %q, %m) {enable_gqa = false, is_causal = true, scale, operandSegmentSizes = array<i32: 1, 1, 1, 1>} : (tensor<2x5x4xf32>, tensor<2x5x4xf32>, tensor<2x5x4xf32>, tensor<5x5xi1>) -> tensor<2x5x4xf32>
  return %0 : tensor<2x5x4xf32>
}

// -----

func.func @heads(%q: tensor<6x5x4xf32>, %k: tensor<4x5x4xf32>) -> tensor<6x5x4xf32> {
  // expected-error @below {{6 query heads do not share 4 key heads and 4 value heads (enable_gqa)}}
  %0 = "flambeau.scaled_dot_product_attention"(%q, %k, %k) {enable_gqa = true, is_causal = false, scale, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<6x5x4xf32>, tensor<4x5x4xf32>, tensor<4x5x4xf32>) -> tensor<6x5x4xf32>
  return %0 : tensor<6x5x4xf32>
}

// -----

func.func @probability(%q: tensor<2x5x4xf32>) -> tensor<2x5x4xf32> {
  // expected-error @below {{dropout_p is 1.5, but a probability lies in [0, 1]}}
  %0 = "flambeau.scaled_dot_product_attention_dropout"(%q, %q, %q) {dropout_p = 1.5 : f64, enable_gqa = false, is_causal = false, scale, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<2x5x4xf32>, tensor<2x5x4xf32>, tensor<2x5x4xf32>) -> tensor<2x5x4xf32>
  return %0 : tensor<2x5x4xf32>
}

// -----

func.func @mask_type(%x: tensor<2x5x6xf32>, %w: tensor<18x6xf32>, %b: tensor<18xf32>, %p: tensor<6x6xf32>, %c: tensor<6xf32>, %m: tensor<5x5xi1>) -> tensor<2x5x6xf32> {
  // expected-error @below {{mask_type is None, but a mask needs one of 0 (attention [l, l]), 1 (padding [n, l])}}
  %0:2 = "flambeau.native_multi_head_attention"(%x, %x, %x, %w, %b, %p, %c, %m) {average_attn_weights = true, embed_dim = 6 : i64, mask_type, need_weights = false, num_head = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1>} : (tensor<2x5x6xf32>, tensor<2x5x6xf32>, tensor<2x5x6xf32>, tensor<18x6xf32>, tensor<18xf32>, tensor<6x6xf32>, tensor<6xf32>, tensor<5x5xi1>) -> (tensor<2x5x6xf32>, tensor<0xf32>)
  return %0#0 : tensor<2x5x6xf32>
}
