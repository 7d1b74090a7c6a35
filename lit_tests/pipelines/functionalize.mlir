// RUN: flambeau-opt %s --functionalize --split-input-file | FileCheck %s

// A written argument: the new value is one more result, after the function's own.
// CHECK-LABEL: func.func @counter
// CHECK-SAME: (%[[X:.*]]: tensor<3xf32>, %[[STEPS:.*]]: tensor<i64> {flambeau.role = "buffer"})
// CHECK-SAME: -> (tensor<3xf32>, tensor<i64> {flambeau.updates = 1 : i64})
func.func @counter(%x: tensor<3xf32>, %steps: !flambeau.ref<tensor<i64>> {flambeau.role = "buffer"}) -> tensor<3xf32> {
  // CHECK: %[[ONE:.*]] = "flambeau.constant"
  %one = "flambeau.constant"() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %old = "flambeau.ref_load"(%steps) : (!flambeau.ref<tensor<i64>>) -> tensor<i64>
  // CHECK: %[[NEW:.*]] = "flambeau.add"(%[[STEPS]], %[[ONE]])
  %new = "flambeau.add"(%old, %one) : (tensor<i64>, tensor<i64>) -> tensor<i64>
  "flambeau.ref_store"(%steps, %new) {hidden = false} : (!flambeau.ref<tensor<i64>>, tensor<i64>) -> ()
  // CHECK-NOT: flambeau.ref
  // CHECK: return %[[X]], %[[NEW]]
  return %x : tensor<3xf32>
}

// -----

// A write through a view is a scatter into the storage; the view read afterwards sees it, and so does the argument.
// CHECK-LABEL: func.func @write_through_view
// CHECK-SAME: (%[[X:.*]]: tensor<2x3xf32>, %[[ROW:.*]]: tensor<3xf32>)
func.func @write_through_view(%x: !flambeau.ref<tensor<2x3xf32>>, %row: tensor<3xf32>) -> tensor<3xf32> {
  %view = "flambeau.ref_view"(%x) {view_op = "flambeau.select", arguments = {dim = 0 : i64, index = 1 : i64, operandSegmentSizes = array<i32: 1, 0>}, operandSegmentSizes = array<i32: 1, 0>} : (!flambeau.ref<tensor<2x3xf32>>) -> !flambeau.ref<tensor<3xf32>>
  // CHECK: %[[NEW:.*]] = "flambeau.select_scatter"(%[[X]], %[[ROW]]) {dim = 0 : i64, index = 1 : i64
  "flambeau.ref_store"(%view, %row) {hidden = false} : (!flambeau.ref<tensor<3xf32>>, tensor<3xf32>) -> ()
  // CHECK: %[[SEEN:.*]] = "flambeau.select"(%[[NEW]]) {dim = 0 : i64, index = 1 : i64
  %seen = "flambeau.ref_load"(%view) : (!flambeau.ref<tensor<3xf32>>) -> tensor<3xf32>
  // CHECK: return %[[SEEN]], %[[NEW]]
  return %seen : tensor<3xf32>
}

// -----

// A row of an expanded tensor: the positions of its elements say what is written, whichever row it is.
// CHECK-LABEL: func.func @write_a_repeated_row
// CHECK-SAME: (%[[X:.*]]: tensor<3xf32>, %[[ROW:.*]]: tensor<3xf32>)
func.func @write_a_repeated_row(%x: !flambeau.ref<tensor<3xf32>>, %row: tensor<3xf32>) {
  %rows = "flambeau.ref_view"(%x) {view_op = "flambeau.expand", arguments = {shape = array<i64: 2, 3>, operandSegmentSizes = array<i32: 1, 0>}, operandSegmentSizes = array<i32: 1, 0>} : (!flambeau.ref<tensor<3xf32>>) -> !flambeau.ref<tensor<2x3xf32>>
  %last = "flambeau.ref_view"(%rows) {view_op = "flambeau.select", arguments = {dim = 0 : i64, index = 1 : i64, operandSegmentSizes = array<i32: 1, 0>}, operandSegmentSizes = array<i32: 1, 0>} : (!flambeau.ref<tensor<2x3xf32>>) -> !flambeau.ref<tensor<3xf32>>
  // CHECK: %[[IOTA:.*]] = "flambeau.iota"
  // CHECK: %[[ALL:.*]] = "flambeau.view"(%[[IOTA]])
  // CHECK: %[[ROWS:.*]] = "flambeau.expand"(%[[ALL]]) {{.*}} -> tensor<2x3xi64>
  // CHECK: %[[POSITIONS:.*]] = "flambeau.select"(%[[ROWS]]) {{.*}} -> tensor<3xi64>
  // CHECK: %[[WRITTEN:.*]] = "flambeau.index_put"({{.*}}, %[[POSITIONS]], %[[ROW]])
  // CHECK: %[[NEW:.*]] = "flambeau.view"(%[[WRITTEN]])
  "flambeau.ref_store"(%last, %row) {hidden = false} : (!flambeau.ref<tensor<3xf32>>, tensor<3xf32>) -> ()
  // CHECK: return %[[NEW]]
  return
}

// -----

// A write that autograd does not see keeps the old history, and the update says so.
// CHECK-LABEL: func.func @no_grad
// CHECK-SAME: (%[[P:.*]]: tensor<3xf32>, %[[NEW:.*]]: tensor<3xf32>) -> (tensor<3xf32>, tensor<3xf32> {autograd.hidden, flambeau.updates = 0 : i64})
func.func @no_grad(%p: !flambeau.ref<tensor<3xf32>>, %new: tensor<3xf32>) -> tensor<3xf32> {
  "flambeau.ref_store"(%p, %new) {hidden = true} : (!flambeau.ref<tensor<3xf32>>, tensor<3xf32>) -> ()
  // CHECK: %[[WITH:.*]] = "autograd.with_value"(%[[P]], %[[NEW]])
  %value = "flambeau.ref_load"(%p) : (!flambeau.ref<tensor<3xf32>>) -> tensor<3xf32>
  // CHECK: return %[[WITH]], %[[WITH]]
  return %value : tensor<3xf32>
}

// -----

// A place of the function's own leaves no trace in the signature.
// CHECK-LABEL: func.func @temporary
// CHECK-SAME: (%[[X:.*]]: tensor<3xf32>) -> tensor<3xf32>
func.func @temporary(%x: tensor<3xf32>) -> tensor<3xf32> {
  %place = "flambeau.ref_new"(%x) : (tensor<3xf32>) -> !flambeau.ref<tensor<3xf32>>
  // CHECK: %[[Y:.*]] = "flambeau.neg"(%[[X]])
  %y = "flambeau.neg"(%x) : (tensor<3xf32>) -> tensor<3xf32>
  "flambeau.ref_store"(%place, %y) {hidden = false} : (!flambeau.ref<tensor<3xf32>>, tensor<3xf32>) -> ()
  %z = "flambeau.ref_load"(%place) : (!flambeau.ref<tensor<3xf32>>) -> tensor<3xf32>
  // CHECK: return %[[Y]]
  return %z : tensor<3xf32>
}

// -----

// Random ops draw from a seed argument, each with its own offset.
// CHECK-LABEL: func.func @dropout
// CHECK-SAME: %[[SEED:[a-z0-9]+]]: tensor<2xi32> {flambeau.role = "seed"}
func.func @dropout(%x: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  // CHECK: %[[FIRST:.*]] = "flambeau.constant"() {value = dense<0> : tensor<i32>}
  // CHECK: "flambeau.random_bits"(%[[SEED]], %[[FIRST]])
  %a:2 = "flambeau.native_dropout"(%x) {p = 0.5 : f64, train = true} : (tensor<8xf32>) -> (tensor<8xf32>, tensor<8xi1>)
  // CHECK: %[[SECOND:.*]] = "flambeau.constant"() {value = dense<1> : tensor<i32>}
  // CHECK: "flambeau.random_bits"(%[[SEED]], %[[SECOND]])
  %b:2 = "flambeau.native_dropout"(%x) {p = 0.5 : f64, train = true} : (tensor<8xf32>) -> (tensor<8xf32>, tensor<8xi1>)
  return %a#0, %b#0 : tensor<8xf32>, tensor<8xf32>
}

// -----

// A branch draws from the seed of its caller, from the offset that the caller has come to; the other one takes both too.
// What comes after the choice begins where the longer branch ends.
// CHECK-LABEL: func.func @noisy
// CHECK-SAME: (%[[P:.*]]: tensor<i1>, %[[X:.*]]: tensor<8xf32>, %[[SEED:.*]]: tensor<2xi32> {flambeau.role = "seed"})
// CHECK: %[[ZERO:.*]] = "flambeau.constant"() {value = dense<0> : tensor<i32>}
// CHECK: call @choice(%[[P]], %[[X]], %[[SEED]], %[[ZERO]]) : (tensor<i1>, tensor<8xf32>, tensor<2xi32>, tensor<i32>) -> tensor<8xf32>
// CHECK: %[[TWO:.*]] = "flambeau.constant"() {value = dense<2> : tensor<i32>}
// CHECK: "flambeau.random_bits"(%[[SEED]], %[[TWO]])
func.func @noisy(%p: tensor<i1>, %x: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  %0 = func.call @choice(%p, %x) : (tensor<i1>, tensor<8xf32>) -> tensor<8xf32>
  %1 = "flambeau.rand"() {shape = array<i64: 8>, dtype = f32, operandSegmentSizes = array<i32: 0>} : () -> tensor<8xf32>
  return %0, %1 : tensor<8xf32>, tensor<8xf32>
}
// CHECK: func.func private @choice(tensor<i1>, tensor<8xf32>, tensor<2xi32>, tensor<i32>) -> tensor<8xf32>
func.func private @choice(tensor<i1>, tensor<8xf32>) -> tensor<8xf32> attributes {flambeau.branches = [@twice, @plain]}
// CHECK-LABEL: func.func private @twice
// CHECK-SAME: (%[[X:.*]]: tensor<8xf32>, %[[SEED:.*]]: tensor<2xi32>, %[[FIRST:.*]]: tensor<i32>)
// CHECK: %[[ONE:.*]] = "flambeau.constant"() {value = dense<1> : tensor<i32>}
// CHECK: %[[OFFSET:.*]] = "flambeau.add"(%[[FIRST]], %[[ONE]])
// CHECK: "flambeau.random_bits"(%[[SEED]], %[[OFFSET]])
func.func private @twice(%x: tensor<8xf32>) -> tensor<8xf32> {
  %0 = "flambeau.rand"() {shape = array<i64: 8>, dtype = f32, operandSegmentSizes = array<i32: 0>} : () -> tensor<8xf32>
  %1 = "flambeau.rand"() {shape = array<i64: 8>, dtype = f32, operandSegmentSizes = array<i32: 0>} : () -> tensor<8xf32>
  %2 = "flambeau.mul"(%0, %1) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  return %2 : tensor<8xf32>
}
// CHECK-LABEL: func.func private @plain
// CHECK-SAME: (%{{.*}}: tensor<8xf32>, %{{.*}}: tensor<2xi32>, %{{.*}}: tensor<i32>)
func.func private @plain(%x: tensor<8xf32>) -> tensor<8xf32> {
  return %x : tensor<8xf32>
}
