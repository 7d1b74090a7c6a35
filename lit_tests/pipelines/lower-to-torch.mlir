// RUN: flambeau-opt %s --lower-to-torch --split-input-file | FileCheck %s

// Most ops are the torch dialect's op of the same ATen name; signless integers become signed.
// CHECK-LABEL: func.func @direct
// CHECK-SAME: (%[[X:.*]]: !torch.vtensor<[2,3],f32>, %[[I:.*]]: !torch.vtensor<[2],si64>)
func.func @direct(%x: tensor<2x3xf32>, %i: tensor<2xi64>) -> (tensor<2x3xf32>, tensor<2xi64>) {
  // CHECK: %[[Y:.*]] = torch.aten.tanh %[[X]]
  %y = "flambeau.tanh"(%x) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  // CHECK: %[[ONE:.*]] = torch.constant.int 1
  // CHECK: %[[J:.*]] = torch.aten.add.Tensor %[[I]], %[[I]], %[[ONE]]
  %j = "flambeau.add"(%i, %i) : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  // CHECK: return %[[Y]], %[[J]]
  return %y, %j : tensor<2x3xf32>, tensor<2xi64>
}

// -----

// Symbols say which dynamic sizes are equal.
// CHECK-LABEL: func.func @symbols
// CHECK: %[[S:.*]] = torch.symbolic_int "s0"
// CHECK: torch.bind_symbolic_shape %{{.*}}, [%[[S]]], affine_map<()[s0] -> (s0, 3)>
// CHECK: torch.bind_symbolic_shape %{{.*}}, [%[[S]]], affine_map<()[s0] -> (s0, 3)>
func.func @symbols(%x: tensor<?x3xf32> {flambeau.dims = ["s0", 3]}, %y: tensor<?x3xf32> {flambeau.dims = ["s0", 3]}) -> tensor<?x3xf32> {
  %z = "flambeau.mul"(%x, %y) : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  return %z : tensor<?x3xf32>
}

// -----

// The autograd dialect's markers are plain values by now.
// CHECK-LABEL: func.func @markers
// CHECK-SAME: (%[[X:.*]]: !torch.vtensor<[3],f32>, %[[N:.*]]: !torch.vtensor<[3],f32>)
func.func @markers(%x: tensor<3xf32>, %n: tensor<3xf32>) -> (tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) {
  %d = "autograd.detach"(%x) : (tensor<3xf32>) -> tensor<3xf32>
  %v = "autograd.with_value"(%x, %n) : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
  %c = "autograd.checkpoint"(%x) {region = 0 : i64, save = false} : (tensor<3xf32>) -> tensor<3xf32>
  // CHECK: return %[[X]], %[[N]], %[[X]]
  return %d, %v, %c : tensor<3xf32>, tensor<3xf32>, tensor<3xf32>
}

// -----

// Arithmetic on sizes is that on Python ints, which knows no division that rounds up.
// CHECK-LABEL: func.func @rounded_up
// CHECK-SAME: (%[[N:.*]]: !torch.int, %[[K:.*]]: !torch.int)
func.func @rounded_up(%n: index, %k: index) -> index {
  // CHECK: %[[NEGATIVE:.*]] = torch.aten.neg.int %[[N]]
  // CHECK: %[[DOWN:.*]] = torch.aten.floordiv.int %[[NEGATIVE]], %[[K]]
  // CHECK: %[[UP:.*]] = torch.aten.neg.int %[[DOWN]]
  %up = arith.ceildivsi %n, %k : index
  // CHECK: return %[[UP]]
  return %up : index
}
