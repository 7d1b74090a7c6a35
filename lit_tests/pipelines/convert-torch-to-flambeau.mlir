// RUN: flambeau-opt %s --convert-torch-to-flambeau --split-input-file | FileCheck %s

// Numbers, lists and types; the second factor is a number, and the bias is broadcast.
// CHECK-LABEL: func.func @affine
// CHECK-SAME: (%[[X:.*]]: tensor<2x3xf32>, %[[B:.*]]: tensor<3xf32>) -> tensor<2xf32>
func.func @affine(%x: !torch.vtensor<[2,3],f32>, %bias: !torch.vtensor<[3],f32>) -> !torch.vtensor<[2],f32> {
  %int1 = torch.constant.int 1
  %int-1 = torch.constant.int -1
  %two = torch.constant.float 2.0
  %false = torch.constant.bool false
  %none = torch.constant.none
  // CHECK: %[[TWO:.*]] = "flambeau.constant"() {value = dense<2.000000e+00> : tensor<f32>}
  // CHECK: %[[TWOS:.*]] = "flambeau.expand"(%[[TWO]])
  // CHECK: %[[Y:.*]] = "flambeau.mul"(%[[X]], %[[TWOS]])
  %y = torch.aten.mul.Scalar %x, %two : !torch.vtensor<[2,3],f32>, !torch.float -> !torch.vtensor<[2,3],f32>
  // CHECK: %[[BB:.*]] = "flambeau.expand"(%[[B]])
  // CHECK: %[[Z:.*]] = "flambeau.add"(%[[Y]], %[[BB]])
  %z = torch.aten.add.Tensor %y, %bias, %int1 : !torch.vtensor<[2,3],f32>, !torch.vtensor<[3],f32>, !torch.int -> !torch.vtensor<[2,3],f32>
  %dims = torch.prim.ListConstruct %int-1 : (!torch.int) -> !torch.list<int>
  // CHECK: %[[S:.*]] = "flambeau.sum"(%[[Z]]) {dims = array<i64: 1>, keepdim = false}
  // CHECK: return %[[S]]
  %s = torch.aten.sum.dim_IntList %z, %dims, %false, %none : !torch.vtensor<[2,3],f32>, !torch.list<int>, !torch.bool, !torch.none -> !torch.vtensor<[2],f32>
  return %s : !torch.vtensor<[2],f32>
}

// -----

// Signed integers become signless; a comparison promotes its operands.
// CHECK-LABEL: func.func @compared
// CHECK-SAME: (%[[I:.*]]: tensor<2xi64>) -> tensor<2xi1>
func.func @compared(%i: !torch.vtensor<[2],si64>) -> !torch.vtensor<[2],i1> {
  %half = torch.constant.float 5.000000e-01
  // CHECK: %[[F:.*]] = "flambeau.to_dtype"(%[[I]]) {dtype = f32}
  // CHECK: "flambeau.gt"(%[[F]], %{{.*}}) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xi1>
  %0 = torch.aten.gt.Scalar %i, %half : !torch.vtensor<[2],si64>, !torch.float -> !torch.vtensor<[2],i1>
  return %0 : !torch.vtensor<[2],i1>
}

// -----

// Literals, also those whose elements stand after the module.
// CHECK-LABEL: func.func @literals
// CHECK: dense<[1, 2]> : tensor<2xi64>
// CHECK: dense<[1.000000e+00, 2.000000e+00]> : tensor<2xbf16>
// CHECK: dense<[true, false, true]> : tensor<3xi1>
func.func @literals() -> (!torch.vtensor<[2],si64>, !torch.vtensor<[2],bf16>, !torch.vtensor<[3],i1>) {
  %0 = torch.vtensor.literal(dense<[1, 2]> : tensor<2xsi64>) : !torch.vtensor<[2],si64>
  %1 = torch.vtensor.literal(dense_resource<numbers> : tensor<2xbf16>) : !torch.vtensor<[2],bf16>
  %2 = torch.vtensor.literal(dense_resource<mask> : tensor<3xi1>) : !torch.vtensor<[3],i1>
  return %0, %1, %2 : !torch.vtensor<[2],si64>, !torch.vtensor<[2],bf16>, !torch.vtensor<[3],i1>
}

{-#
  dialect_resources: {
    builtin: {
      numbers: "0x02000000803F0040",
      mask: "0x01000000010001"
    }
  }
#-}

// -----

// Dynamic sizes: a residual around a matmul needs no broadcast, for the sizes are one; -1 is what the others leave.
// CHECK-LABEL: func.func @residual
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>) -> tensor<?x2xf32>
func.func @residual(%x: !torch.vtensor<[?,4],f32>) -> !torch.vtensor<[?,2],f32> {
  %int1 = torch.constant.int 1
  %int2 = torch.constant.int 2
  %int-1 = torch.constant.int -1
  // CHECK: %[[M:.*]] = "flambeau.mm"(%[[X]]
  %w = torch.vtensor.literal(dense<1.0> : tensor<4x4xf32>) : !torch.vtensor<[4,4],f32>
  %m = torch.aten.mm %x, %w : !torch.vtensor<[?,4],f32>, !torch.vtensor<[4,4],f32> -> !torch.vtensor<[?,4],f32>
  // CHECK: %[[Y:.*]] = "flambeau.add"(%[[X]], %[[M]])
  %y = torch.aten.add.Tensor %x, %m, %int1 : !torch.vtensor<[?,4],f32>, !torch.vtensor<[?,4],f32>, !torch.int -> !torch.vtensor<[?,4],f32>
  // CHECK: arith.muli
  // CHECK: %[[N:.*]] = arith.floordivsi
  // CHECK: "flambeau.view"(%[[Y]], %[[N]])
  %sizes = torch.prim.ListConstruct %int-1, %int2 : (!torch.int, !torch.int) -> !torch.list<int>
  %v = torch.aten.view %y, %sizes : !torch.vtensor<[?,4],f32>, !torch.list<int> -> !torch.vtensor<[?,2],f32>
  return %v : !torch.vtensor<[?,2],f32>
}

// -----

// Size symbols become names; equal names are equal sizes.
// CHECK-LABEL: func.func @symbols
// CHECK-SAME: (%[[X:.*]]: tensor<?x3xf32> {flambeau.dims = ["s0", 3]}, %[[Y:.*]]: tensor<?x3xf32> {flambeau.dims = ["s0", 3]})
// CHECK-NOT: flambeau.expand
// CHECK: "flambeau.mul"(%[[X]], %[[Y]])
func.func @symbols(%x: !torch.vtensor<[?,3],f32>, %y: !torch.vtensor<[?,3],f32>) -> !torch.vtensor<[?,3],f32> {
  %0 = torch.symbolic_int "s0" {min_val = 0, max_val = 100} : !torch.int
  torch.bind_symbolic_shape %x, [%0], affine_map<()[s0] -> (s0, 3)> : !torch.vtensor<[?,3],f32>
  torch.bind_symbolic_shape %y, [%0], affine_map<()[s0] -> (s0, 3)> : !torch.vtensor<[?,3],f32>
  %1 = torch.aten.mul.Tensor %x, %y : !torch.vtensor<[?,3],f32>, !torch.vtensor<[?,3],f32> -> !torch.vtensor<[?,3],f32>
  return %1 : !torch.vtensor<[?,3],f32>
}

// -----

// An argument that is overwritten is a reference; the mark on the function makes its dynamic sizes equal.
// CHECK-LABEL: func.func @accumulate
// CHECK-SAME: (%[[X:.*]]: tensor<?xf32>, %[[STATE:.*]]: !flambeau.ref<tensor<?xf32>>) -> tensor<?xf32>
// CHECK-NOT: attributes
func.func @accumulate(%x: !torch.vtensor<[?],f32>, %state: !torch.tensor<[?],f32>) -> !torch.vtensor<[?],f32> attributes {torch.assume_strict_symbolic_shapes} {
  %int1 = torch.constant.int 1
  // CHECK: %[[OLD:.*]] = "flambeau.ref_load"(%[[STATE]])
  %old = torch.copy.to_vtensor %state : !torch.vtensor<[?],f32>
  // CHECK: %[[NEW:.*]] = "flambeau.add"(%[[OLD]], %{{.*}})
  %new = torch.aten.add.Tensor %old, %x, %int1 : !torch.vtensor<[?],f32>, !torch.vtensor<[?],f32>, !torch.int -> !torch.vtensor<[?],f32>
  // CHECK: "flambeau.ref_store"(%[[STATE]], %[[NEW]]) {hidden = false}
  torch.overwrite.tensor.contents %new overwrites %state : !torch.vtensor<[?],f32>, !torch.tensor<[?],f32>
  return %new : !torch.vtensor<[?],f32>
}

// -----

// Parts of a list.
// CHECK-LABEL: func.func @parts
// CHECK: %[[A:.*]] = "flambeau.slice"(%{{.*}}) {dim = 1 : i64, end = 2 : i64, {{.*}}start = 0 : i64
// CHECK: %[[B:.*]] = "flambeau.slice"(%{{.*}}) {dim = 1 : i64, end = 5 : i64, {{.*}}start = 2 : i64
// CHECK: return %[[B]], %[[A]]
func.func @parts(%x: !torch.vtensor<[?,5],f32>) -> (!torch.vtensor<[?,3],f32>, !torch.vtensor<[?,2],f32>) {
  %int-1 = torch.constant.int -1
  %int2 = torch.constant.int 2
  %int3 = torch.constant.int 3
  %lengths = torch.prim.ListConstruct %int2, %int3 : (!torch.int, !torch.int) -> !torch.list<int>
  %0 = torch.aten.split_with_sizes %x, %lengths, %int-1 : !torch.vtensor<[?,5],f32>, !torch.list<int>, !torch.int -> !torch.list<vtensor>
  %1:2 = torch.prim.ListUnpack %0 : !torch.list<vtensor> -> !torch.vtensor<[?,2],f32>, !torch.vtensor<[?,3],f32>
  return %1#1, %1#0 : !torch.vtensor<[?,3],f32>, !torch.vtensor<[?,2],f32>
}

// -----

// What is in our dialect stays as it is.
// CHECK-LABEL: func.func @ours
// CHECK-NEXT: "flambeau.tanh"
func.func @ours(%x: tensor<3xf32>) -> tensor<3xf32> {
  %0 = "flambeau.tanh"(%x) : (tensor<3xf32>) -> tensor<3xf32>
  return %0 : tensor<3xf32>
}
