// RUN: flambeau-opt %s --split-input-file --verify-diagnostics

func.func @roll(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  // expected-error @below {{1 shifts for 2 dims}}
  %0 = "flambeau.roll"(%x) {dims = array<i64: 0, 1>, shifts = array<i64: 1>} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}

// -----

func.func @crop(%x: tensor<2x3xf32>) -> tensor<2x1xf32> {
  // expected-error @below {{'pad' [-2, -2] crops more than dim 1 of tensor<2x3xf32> has}}
  %0 = "flambeau.constant_pad_nd"(%x) {pad = array<i64: -2, -2>, value = 0.0 : f64} : (tensor<2x3xf32>) -> tensor<2x1xf32>
  return %0 : tensor<2x1xf32>
}

// -----

func.func @reflect(%x: tensor<2x3xf32>) -> tensor<2x6xf32> {
  // expected-error @below {{'padding' [3, 0] is not smaller than dim 1 of tensor<2x3xf32>}}
  %0 = "flambeau.reflection_pad1d"(%x) {padding = array<i64: 3, 0>} : (tensor<2x3xf32>) -> tensor<2x6xf32>
  return %0 : tensor<2x6xf32>
}

// -----

func.func @triangle(%x: tensor<3xf32>) -> tensor<3xf32> {
  // expected-error @below {{needs a tensor of at least 2 dims, not tensor<3xf32>}}
  %0 = "flambeau.tril"(%x) {diagonal = 0 : i64} : (tensor<3xf32>) -> tensor<3xf32>
  return %0 : tensor<3xf32>
}

// -----

func.func @shuffle(%x: tensor<6x2x2xf32>) -> tensor<1x4x4xf32> {
  // expected-error @below {{a dim of size 6 is not divisible by 4}}
  %0 = "flambeau.pixel_shuffle"(%x) {upscale_factor = 2 : i64} : (tensor<6x2x2xf32>) -> tensor<1x4x4xf32>
  return %0 : tensor<1x4x4xf32>
}
