// RUN: flambeau-opt %s --lower-to-torch --split-input-file | FileCheck %s

// Linear algebra becomes the torch dialect's op of the same ATen name; signless integers become signed.
// CHECK-LABEL: func.func @direct
// CHECK-SAME: (%[[X:.*]]: !torch.vtensor<[2,3],f32>, %[[I:.*]]: !torch.vtensor<[3,2],si64>)
func.func @direct(%x: tensor<2x3xf32>, %i: tensor<3x2xi64>) -> (tensor<3x2xf32>, tensor<2x3xi64>) {
  // CHECK: %[[Y:.*]] = torch.aten.t %[[X]]
  %y = "flambeau.t"(%x) : (tensor<2x3xf32>) -> tensor<3x2xf32>
  // CHECK: %[[J:.*]] = torch.aten.t %[[I]]
  %j = "flambeau.t"(%i) : (tensor<3x2xi64>) -> tensor<2x3xi64>
  // CHECK: return %[[Y]], %[[J]]
  return %y, %j : tensor<3x2xf32>, tensor<2x3xi64>
}

// -----

// An elementwise op becomes one loop nest, with its scalar form as the body.
// CHECK-LABEL: func.func @elementwise
// CHECK-SAME: (%[[X:.*]]: !torch.vtensor<[?,3],f32>, %[[I:.*]]: !torch.vtensor<[2],si64>)
func.func @elementwise(%x: tensor<?x3xf32>, %i: tensor<2xi64>) -> (tensor<?x3xf32>, tensor<2xi64>) {
  // CHECK: %[[IN:.*]] = torch_c.to_builtin_tensor %[[X]]
  // CHECK: %[[SIZE:.*]] = tensor.dim %[[IN]]
  // CHECK: %[[OUT:.*]] = tensor.empty(%[[SIZE]]) : tensor<?x3xf32>
  // CHECK: %[[Z:.*]] = linalg.generic {{.*}} ins(%[[IN]] : tensor<?x3xf32>) outs(%[[OUT]] : tensor<?x3xf32>)
  // CHECK-NEXT: ^bb0(%[[A:.*]]: f32, %{{.*}}: f32):
  // CHECK-NEXT: %[[B:.*]] = math.tanh %[[A]] : f32
  // CHECK-NEXT: linalg.yield %[[B]] : f32
  // CHECK: %[[Y:.*]] = torch_c.from_builtin_tensor %[[Z]] : tensor<?x3xf32> -> !torch.vtensor<[?,3],f32>
  %y = "flambeau.tanh"(%x) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  // CHECK: %[[J:.*]] = torch_c.to_builtin_tensor %[[I]]
  // CHECK-NEXT: tensor.empty
  // CHECK-NEXT: linalg.generic {{.*}} ins(%[[J]] : tensor<2xi64>)
  // CHECK: arith.addi
  %j = "flambeau.add"(%i, %i) : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  return %y, %j : tensor<?x3xf32>, tensor<2xi64>
}

// -----

// A tensor that one number fills is a constant in the body.
// CHECK-LABEL: func.func @number
func.func @number(%x: tensor<4xf64>) -> tensor<4xi1> {
  %c = "flambeau.constant"() {value = dense<2.5> : tensor<4xf64>} : () -> tensor<4xf64>
  // CHECK: linalg.generic {{.*}} ins(%{{[^,]*}} : tensor<4xf64>)
  // CHECK: %[[C:.*]] = arith.constant 2.5{{0*}}e+00 : f64
  // CHECK: arith.cmpf olt, %{{.*}}, %[[C]] : f64
  %y = "flambeau.lt"(%x, %c) : (tensor<4xf64>, tensor<4xf64>) -> tensor<4xi1>
  return %y : tensor<4xi1>
}

// -----

// NaN is not equal to itself, which the torch dialect's folder does not know.
// CHECK-LABEL: func.func @nan
func.func @nan(%x: tensor<4xf32>) -> tensor<4xi1> {
  // CHECK: arith.cmpf oeq, %[[A:.*]], %[[A]] : f32
  %y = "flambeau.eq"(%x, %x) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xi1>
  return %y : tensor<4xi1>
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
