// RUN: flambeau-opt %s --pass-pipeline='builtin.module(autodiff,narrow-positions,partition)' --split-input-file | FileCheck %s

// Positions below 100 are saved in bytes, and widened first.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: -> (tensor<8xf32>, tensor<8xi8> {flambeau.saved})
// CHECK: %[[M:.*]]:2 = "flambeau.max_dim"
// CHECK: %[[N:.*]] = "flambeau.to_dtype"(%[[M]]#1) {{.*}} -> tensor<8xi8>
// CHECK: return %[[M]]#0, %[[N]]
// CHECK-LABEL: func.func @backward
// CHECK-SAME: (%[[N:[a-z0-9]+]]: tensor<8xi8> {flambeau.of_result = 1 : i64, flambeau.role = "saved"}
// CHECK-NEXT: "flambeau.to_dtype"(%[[N]]) {{.*}} -> tensor<8xi64>
func.func @bytes(%x: tensor<8x100xf32> {autograd.requires_grad}) -> tensor<8xf32> {
  %v:2 = "flambeau.max_dim"(%x) {dim = 1 : i64, keepdim = false} : (tensor<8x100xf32>) -> (tensor<8xf32>, tensor<8xi64>)
  return %v#0 : tensor<8xf32>
}

// -----

// 128 of them fit into a byte, 129 do not.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: tensor<128xi8> {flambeau.saved}, tensor<129xi16> {flambeau.saved})
func.func @limits(%x: tensor<128xf32> {autograd.requires_grad}, %y: tensor<129xf32> {autograd.requires_grad}) -> (tensor<128xf32>, tensor<129xf32>) {
  %u:2 = "flambeau.sort"(%x) {dim = 0 : i64, descending = false} : (tensor<128xf32>) -> (tensor<128xf32>, tensor<128xi64>)
  %v:2 = "flambeau.sort"(%y) {dim = 0 : i64, descending = false} : (tensor<129xf32>) -> (tensor<129xf32>, tensor<129xi64>)
  return %u#0, %v#0 : tensor<128xf32>, tensor<129xf32>
}

// -----

// 40000 positions take four bytes each: that is still less. What the forward does with them stays as it is.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: -> (tensor<40000xf32>, tensor<40000xi32> {flambeau.saved})
// CHECK: %[[S:.*]]:2 = "flambeau.sort"
// CHECK: "flambeau.gather"({{.*}}, %[[S]]#1)
func.func @forward_use(%x: tensor<40000xf32>, %w: tensor<40000xf32> {autograd.requires_grad}) -> tensor<40000xf32> {
  %s:2 = "flambeau.sort"(%x) {dim = 0 : i64, descending = false} : (tensor<40000xf32>) -> (tensor<40000xf32>, tensor<40000xi64>)
  %y = "flambeau.gather"(%w, %s#1) {dim = 0 : i64} : (tensor<40000xf32>, tensor<40000xi64>) -> tensor<40000xf32>
  return %y : tensor<40000xf32>
}

// -----

// Nobody knows how many there are.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: tensor<8xi64> {flambeau.saved}
// CHECK-NOT: to_dtype
func.func @unknown(%x: tensor<8x?xf32> {autograd.requires_grad}) -> tensor<8xf32> {
  %v:2 = "flambeau.max_dim"(%x) {dim = 1 : i64, keepdim = false} : (tensor<8x?xf32>) -> (tensor<8xf32>, tensor<8xi64>)
  return %v#0 : tensor<8xf32>
}

// -----

// An output is not stored twice.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: -> (tensor<8xf32>, tensor<8xi64>)
// CHECK-NOT: to_dtype
func.func @output(%x: tensor<8x100xf32> {autograd.requires_grad}) -> (tensor<8xf32>, tensor<8xi64>) {
  %v:2 = "flambeau.max_dim"(%x) {dim = 1 : i64, keepdim = false} : (tensor<8x100xf32>) -> (tensor<8xf32>, tensor<8xi64>)
  return %v#0, %v#1 : tensor<8xf32>, tensor<8xi64>
}

// -----

// Nor is there anything to do without a backward.
// CHECK-LABEL: func.func @forward
// CHECK-NOT: to_dtype
func.func @no_backward(%x: tensor<8x100xi32>) -> tensor<8xi32> {
  %v:2 = "flambeau.max_dim"(%x) {dim = 1 : i64, keepdim = false} : (tensor<8x100xi32>) -> (tensor<8xi32>, tensor<8xi64>)
  return %v#0 : tensor<8xi32>
}
