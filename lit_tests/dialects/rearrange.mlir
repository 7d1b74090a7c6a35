// RUN: flambeau-opt %s | flambeau-opt | FileCheck %s

// CHECK-LABEL: func.func @flip(
// CHECK: "flambeau.flip"
// CHECK-SAME: {dims = array<i64: 0, 1>}
// CHECK-SAME: : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @flip(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.flip"(%arg0) {dims = array<i64: 0, 1>} : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @roll(
// CHECK: "flambeau.roll"
// CHECK-SAME: {dims = array<i64: 0>, shifts = array<i64: 1>}
// CHECK-SAME: : (tensor<3x4xf32>) -> tensor<3x4xf32>
func.func @roll(%arg0: tensor<3x4xf32>) -> tensor<3x4xf32> {
  %0 = "flambeau.roll"(%arg0) {dims = array<i64: 0>, shifts = array<i64: 1>} : (tensor<3x4xf32>) -> tensor<3x4xf32>
  return %0 : tensor<3x4xf32>
}

// CHECK-LABEL: func.func @repeat(
// CHECK: "flambeau.repeat"
// CHECK-SAME: {operandSegmentSizes = array<i32: 1, 0>, repeats = array<i64: 2, 2>}
// CHECK-SAME: : (tensor<2x3xf32>) -> tensor<4x6xf32>
func.func @repeat(%arg0: tensor<2x3xf32>) -> tensor<4x6xf32> {
  %0 = "flambeau.repeat"(%arg0) {operandSegmentSizes = array<i32: 1, 0>, repeats = array<i64: 2, 2>} : (tensor<2x3xf32>) -> tensor<4x6xf32>
  return %0 : tensor<4x6xf32>
}

// CHECK-LABEL: func.func @repeat_interleave(
// CHECK: "flambeau.repeat_interleave"
// CHECK-SAME: {dim = 0 : i64, operandSegmentSizes = array<i32: 1, 0>, repeats = 2 : i64}
// CHECK-SAME: : (tensor<2x3xf32>) -> tensor<4x3xf32>
func.func @repeat_interleave(%arg0: tensor<2x3xf32>) -> tensor<4x3xf32> {
  %0 = "flambeau.repeat_interleave"(%arg0) {dim = 0 : i64, operandSegmentSizes = array<i32: 1, 0>, repeats = 2 : i64} : (tensor<2x3xf32>) -> tensor<4x3xf32>
  return %0 : tensor<4x3xf32>
}

// CHECK-LABEL: func.func @constant_pad_nd(
// CHECK: "flambeau.constant_pad_nd"
// CHECK-SAME: {pad = array<i64: -1, 2, 1, -2>, value = 1.500000e+00 : f64}
// CHECK-SAME: : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @constant_pad_nd(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.constant_pad_nd"(%arg0) {pad = array<i64: -1, 2, 1, -2>, value = 1.500000e+00 : f64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @reflection_pad1d(
// CHECK: "flambeau.reflection_pad1d"
// CHECK-SAME: {padding = array<i64: 2, 3>}
// CHECK-SAME: : (tensor<2x5xf32>) -> tensor<2x10xf32>
func.func @reflection_pad1d(%arg0: tensor<2x5xf32>) -> tensor<2x10xf32> {
  %0 = "flambeau.reflection_pad1d"(%arg0) {padding = array<i64: 2, 3>} : (tensor<2x5xf32>) -> tensor<2x10xf32>
  return %0 : tensor<2x10xf32>
}

// CHECK-LABEL: func.func @reflection_pad2d(
// CHECK: "flambeau.reflection_pad2d"
// CHECK-SAME: {padding = array<i64: 2, 3, 0, 1>}
// CHECK-SAME: : (tensor<2x1x4x5xf32>) -> tensor<2x1x5x10xf32>
func.func @reflection_pad2d(%arg0: tensor<2x1x4x5xf32>) -> tensor<2x1x5x10xf32> {
  %0 = "flambeau.reflection_pad2d"(%arg0) {padding = array<i64: 2, 3, 0, 1>} : (tensor<2x1x4x5xf32>) -> tensor<2x1x5x10xf32>
  return %0 : tensor<2x1x5x10xf32>
}

// CHECK-LABEL: func.func @reflection_pad3d(
// CHECK: "flambeau.reflection_pad3d"
// CHECK-SAME: {padding = array<i64: 2, 3, 0, 1, 2, 2>}
// CHECK-SAME: : (tensor<1x1x3x4x5xf32>) -> tensor<1x1x7x5x10xf32>
func.func @reflection_pad3d(%arg0: tensor<1x1x3x4x5xf32>) -> tensor<1x1x7x5x10xf32> {
  %0 = "flambeau.reflection_pad3d"(%arg0) {padding = array<i64: 2, 3, 0, 1, 2, 2>} : (tensor<1x1x3x4x5xf32>) -> tensor<1x1x7x5x10xf32>
  return %0 : tensor<1x1x7x5x10xf32>
}

// CHECK-LABEL: func.func @replication_pad1d(
// CHECK: "flambeau.replication_pad1d"
// CHECK-SAME: {padding = array<i64: 2, 3>}
// CHECK-SAME: : (tensor<2x5xf32>) -> tensor<2x10xf32>
func.func @replication_pad1d(%arg0: tensor<2x5xf32>) -> tensor<2x10xf32> {
  %0 = "flambeau.replication_pad1d"(%arg0) {padding = array<i64: 2, 3>} : (tensor<2x5xf32>) -> tensor<2x10xf32>
  return %0 : tensor<2x10xf32>
}

// CHECK-LABEL: func.func @replication_pad2d(
// CHECK: "flambeau.replication_pad2d"
// CHECK-SAME: {padding = array<i64: 2, 3, 0, 1>}
// CHECK-SAME: : (tensor<2x1x4x5xf32>) -> tensor<2x1x5x10xf32>
func.func @replication_pad2d(%arg0: tensor<2x1x4x5xf32>) -> tensor<2x1x5x10xf32> {
  %0 = "flambeau.replication_pad2d"(%arg0) {padding = array<i64: 2, 3, 0, 1>} : (tensor<2x1x4x5xf32>) -> tensor<2x1x5x10xf32>
  return %0 : tensor<2x1x5x10xf32>
}

// CHECK-LABEL: func.func @replication_pad3d(
// CHECK: "flambeau.replication_pad3d"
// CHECK-SAME: {padding = array<i64: 2, 3, 0, 1, 2, 2>}
// CHECK-SAME: : (tensor<1x1x3x4x5xf32>) -> tensor<1x1x7x5x10xf32>
func.func @replication_pad3d(%arg0: tensor<1x1x3x4x5xf32>) -> tensor<1x1x7x5x10xf32> {
  %0 = "flambeau.replication_pad3d"(%arg0) {padding = array<i64: 2, 3, 0, 1, 2, 2>} : (tensor<1x1x3x4x5xf32>) -> tensor<1x1x7x5x10xf32>
  return %0 : tensor<1x1x7x5x10xf32>
}

// CHECK-LABEL: func.func @tril(
// CHECK: "flambeau.tril"
// CHECK-SAME: {diagonal = 0 : i64}
// CHECK-SAME: : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @tril(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.tril"(%arg0) {diagonal = 0 : i64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @triu(
// CHECK: "flambeau.triu"
// CHECK-SAME: {diagonal = 2 : i64}
// CHECK-SAME: : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
func.func @triu(%arg0: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  %0 = "flambeau.triu"(%arg0) {diagonal = 2 : i64} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return %0 : tensor<2x3x4xf32>
}

// CHECK-LABEL: func.func @pixel_shuffle(
// CHECK: "flambeau.pixel_shuffle"
// CHECK-SAME: {upscale_factor = 2 : i64}
// CHECK-SAME: : (tensor<2x8x3x2xf32>) -> tensor<2x2x6x4xf32>
func.func @pixel_shuffle(%arg0: tensor<2x8x3x2xf32>) -> tensor<2x2x6x4xf32> {
  %0 = "flambeau.pixel_shuffle"(%arg0) {upscale_factor = 2 : i64} : (tensor<2x8x3x2xf32>) -> tensor<2x2x6x4xf32>
  return %0 : tensor<2x2x6x4xf32>
}

// CHECK-LABEL: func.func @pixel_unshuffle(
// CHECK: "flambeau.pixel_unshuffle"
// CHECK-SAME: {downscale_factor = 2 : i64}
// CHECK-SAME: : (tensor<?x?x?x?xf32>) -> tensor<?x?x?x?xf32>
func.func @pixel_unshuffle(%arg0: tensor<?x?x?x?xf32>) -> tensor<?x?x?x?xf32> {
  %0 = "flambeau.pixel_unshuffle"(%arg0) {downscale_factor = 2 : i64} : (tensor<?x?x?x?xf32>) -> tensor<?x?x?x?xf32>
  return %0 : tensor<?x?x?x?xf32>
}

// CHECK-LABEL: func.func @channel_shuffle(
// CHECK: "flambeau.channel_shuffle"
// CHECK-SAME: {groups = 3 : i64}
// CHECK-SAME: : (tensor<2x6x3x2xf32>) -> tensor<2x6x3x2xf32>
func.func @channel_shuffle(%arg0: tensor<2x6x3x2xf32>) -> tensor<2x6x3x2xf32> {
  %0 = "flambeau.channel_shuffle"(%arg0) {groups = 3 : i64} : (tensor<2x6x3x2xf32>) -> tensor<2x6x3x2xf32>
  return %0 : tensor<2x6x3x2xf32>
}
