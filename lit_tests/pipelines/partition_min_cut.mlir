// RUN: flambeau-opt %s --autodiff --cse --partition --cse --split-input-file | FileCheck %s

// Cheap ops are computed again: only the argument crosses.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: -> tensor<8xf32> {
// CHECK-LABEL: func.func @backward
// CHECK-SAME: (%[[X:[a-z0-9]+]]: tensor<8xf32> {flambeau.of_argument = 0 : i64, flambeau.role = "saved"}, %{{[a-z0-9]+}}: tensor<8xf32> {flambeau.of_result = 0 : i64, flambeau.role = "tangent"})
// CHECK: "flambeau.cos"(%[[X]])
func.func @cosines(%x: tensor<8xf32>) -> tensor<8xf32> {
  %a = "flambeau.cos"(%x) : (tensor<8xf32>) -> tensor<8xf32>
  %b = "flambeau.cos"(%a) : (tensor<8xf32>) -> tensor<8xf32>
  %c = "flambeau.cos"(%b) : (tensor<8xf32>) -> tensor<8xf32>
  return %c : tensor<8xf32>
}

// -----

// One sum instead of its four terms.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: -> (tensor<8xf32>, tensor<8xf32> {flambeau.saved}) {
// CHECK-LABEL: func.func @backward
// CHECK-SAME: flambeau.of_result = 1 : i64, flambeau.role = "saved"
// CHECK-NOT: flambeau.of_argument
// CHECK: return
func.func @sum_of_four(%a: tensor<8xf32>, %b: tensor<8xf32>, %c: tensor<8xf32>, %d: tensor<8xf32>) -> tensor<8xf32> {
  %0 = "flambeau.add"(%a, %b) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %1 = "flambeau.add"(%0, %c) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %2 = "flambeau.add"(%1, %d) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %3 = "flambeau.cos"(%2) : (tensor<8xf32>) -> tensor<8xf32>
  %4 = "flambeau.cos"(%3) : (tensor<8xf32>) -> tensor<8xf32>
  return %4 : tensor<8xf32>
}

// -----

// What is needed only for its sizes is not saved: the sizes are.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: -> (tensor<f32>, index {flambeau.saved}, index {flambeau.saved}) {
// CHECK-LABEL: func.func @backward
// CHECK-SAME: index {flambeau.of_result = 1 : i64, flambeau.role = "saved"}
// CHECK-SAME: index {flambeau.of_result = 2 : i64, flambeau.role = "saved"}
func.func @sizes(%x: tensor<?x?xf32>) -> tensor<f32> {
  %s = "flambeau.sum"(%x) {dims = array<i64: 0, 1>, keepdim = false} : (tensor<?x?xf32>) -> tensor<f32>
  return %s : tensor<f32>
}

// -----

// A matmul is never computed again.
// CHECK-LABEL: func.func @forward
// CHECK: flambeau.mm
// CHECK-LABEL: func.func @backward
// CHECK-NOT: "flambeau.mm"(%{{.*}}, %{{.*}}) : (tensor<8x8xf32>, tensor<8x4xf32>)
// CHECK: flambeau.mm
// CHECK: return
func.func @matmul(%x: tensor<8x8xf32>, %w: tensor<8x4xf32>) -> tensor<8x4xf32> {
  %0 = "flambeau.mm"(%x, %w) : (tensor<8x8xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  %1 = "flambeau.tanh"(%0) : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %2 = "flambeau.sin"(%1) : (tensor<8x4xf32>) -> tensor<8x4xf32>
  return %2 : tensor<8x4xf32>
}

// -----

// What is a quarter of its operands or less is saved, not reduced again.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: -> (tensor<8x16xf32>, tensor<8x1xf32> {flambeau.saved}) {
// CHECK-LABEL: func.func @backward
// CHECK-NOT: "flambeau.amax"
// CHECK: return
func.func @reduction(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %m = "flambeau.amax"(%x) {dims = array<i64: 1>, keepdim = true} : (tensor<8x16xf32>) -> tensor<8x1xf32>
  %s = "flambeau.sin"(%m) : (tensor<8x1xf32>) -> tensor<8x1xf32>
  %e = "flambeau.expand"(%s) {operandSegmentSizes = array<i32: 1, 0>, shape = array<i64: 8, 16>} : (tensor<8x1xf32>) -> tensor<8x16xf32>
  %y = "flambeau.mul"(%x, %e) : (tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
  return %y : tensor<8x16xf32>
}

// -----

// Of dropout the mask is saved: a byte for each element, and no random bit is drawn again.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: tensor<64xi1> {flambeau.saved}
// CHECK-LABEL: func.func @backward
// CHECK-SAME: tensor<64xi1> {flambeau.of_result = 1 : i64, flambeau.role = "saved"}
// CHECK-NOT: flambeau.random_bits
// CHECK: return
func.func @dropout(%x: tensor<64xf32> {autograd.requires_grad}, %seed: tensor<2xi32> {flambeau.role = "seed"}) -> tensor<64xf32> {
  %o = "flambeau.constant"() {value = dense<0> : tensor<i32>} : () -> tensor<i32>
  %w:2 = "flambeau.random_bits"(%seed, %o) {shape = array<i64: 64>, bits = 24 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<2xi32>, tensor<i32>) -> (tensor<64xi32>, tensor<64xi32>)
  %h = "flambeau.constant"() {value = dense<8388608> : tensor<64xi32>} : () -> tensor<64xi32>
  %k = "flambeau.lt"(%w#0, %h) : (tensor<64xi32>, tensor<64xi32>) -> tensor<64xi1>
  %z = "flambeau.constant"() {value = dense<0.0> : tensor<64xf32>} : () -> tensor<64xf32>
  %y = "flambeau.where"(%k, %x, %z) : (tensor<64xi1>, tensor<64xf32>, tensor<64xf32>) -> tensor<64xf32>
  return %y : tensor<64xf32>
}

// -----

// Of a written argument nothing is computed again: the product, of which the backward needs a function, is saved.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: -> (tensor<8xf32>, tensor<8xf32> {flambeau.updates = 0 : i64}, tensor<8xf32> {flambeau.saved}) {
// CHECK-LABEL: func.func @backward
// CHECK-NOT: flambeau.of_argument = 0
// CHECK: return
func.func @written(%x: tensor<8xf32> {flambeau.role = "buffer"}, %w: tensor<8xf32> {flambeau.role = "parameter", autograd.requires_grad}) -> (tensor<8xf32>, tensor<8xf32> {flambeau.updates = 0 : i64}) {
  %e = "flambeau.exp"(%x) : (tensor<8xf32>) -> tensor<8xf32>
  %y = "flambeau.mul"(%e, %w) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %n = "flambeau.neg"(%x) : (tensor<8xf32>) -> tensor<8xf32>
  return %y, %n : tensor<8xf32>, tensor<8xf32>
}

// -----

// A checkpointed region keeps what goes in and what comes out, and computes everything else again, matmuls too.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: -> (tensor<8x8xf32>, tensor<8x8xf32> {flambeau.saved}) {
// CHECK-NOT: autograd.checkpoint
// CHECK-LABEL: func.func @backward
// CHECK-SAME: flambeau.of_argument = 0
// CHECK-SAME: flambeau.of_argument = 1
// CHECK-SAME: flambeau.of_result = 1
// CHECK: %[[M:.*]] = "flambeau.mm"
// CHECK: "flambeau.tanh"(%[[M]])
// CHECK-NOT: autograd.checkpoint
// CHECK: return
func.func @region(%x: tensor<8x8xf32> {autograd.requires_grad}, %w: tensor<8x8xf32> {autograd.requires_grad}) -> tensor<8x8xf32> {
  %xi = "autograd.checkpoint"(%x) {region = 0 : i64, save = false} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %wi = "autograd.checkpoint"(%w) {region = 0 : i64, save = false} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %m = "flambeau.mm"(%xi, %wi) : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  %t = "flambeau.tanh"(%m) : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %n = "flambeau.mm"(%t, %wi) : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  %o = "autograd.checkpoint"(%n) {region = unit, save = false} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %y = "flambeau.sin"(%o) : (tensor<8x8xf32>) -> tensor<8x8xf32>
  return %y : tensor<8x8xf32>
}

// -----

// What the region's policy wants to be saved is saved, here the first product.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: -> (tensor<8x8xf32>, tensor<8x8xf32> {flambeau.saved}) {
// CHECK-LABEL: func.func @backward
// CHECK-SAME: (%[[M:[a-z0-9]+]]: tensor<8x8xf32> {flambeau.of_result = 1 : i64, flambeau.role = "saved"}
// CHECK: %[[T:.*]] = "flambeau.tanh"(%[[M]])
// CHECK: "flambeau.sin"(%[[T]])
func.func @policy(%x: tensor<8x8xf32>, %w: tensor<8x8xf32> {autograd.requires_grad}, %s: tensor<8x8xf32> {autograd.requires_grad}) -> tensor<8x8xf32> {
  %xi = "autograd.checkpoint"(%x) {region = 0 : i64, save = false} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %si = "autograd.checkpoint"(%s) {region = 0 : i64, save = false} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %m = "flambeau.mm"(%xi, %xi) : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  %k = "autograd.checkpoint"(%m) {region = 0 : i64, save = true} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %t = "flambeau.tanh"(%k) : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %n = "flambeau.sin"(%t) : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %q = "flambeau.mul"(%n, %si) : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  %o = "autograd.checkpoint"(%q) {region = unit, save = false} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  return %o : tensor<8x8xf32>
}
