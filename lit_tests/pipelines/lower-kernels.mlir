// RUN: flambeau-opt %s --pass-pipeline='builtin.module(lower-kernels{arch=generic})' --split-input-file | FileCheck %s

// A bias: all tensors are flat, the bias is read with the column's index, and two equal kernels are one executable.
// CHECK: "flow.executable"()
// CHECK: "flow.return"(%[[GROUPS:.*]], %{{.*}}, %{{.*}}) : (index, index, index) -> ()
// CHECK: func.func @columns_0(%[[X:.*]]: !iree_tensor_ext.dispatch.tensor<readonly:tensor<64xf32>>, %[[B:.*]]: !iree_tensor_ext.dispatch.tensor<readonly:tensor<16xf32>>, %[[OUT:.*]]: !iree_tensor_ext.dispatch.tensor<writeonly:tensor<64xf32>>)
// CHECK: %[[MATRIX:.*]] = "iree_tensor_ext.dispatch.tensor.load"(%[[X]])
// CHECK: %[[BIAS:.*]] = "iree_tensor_ext.dispatch.tensor.load"(%[[B]])
// CHECK: %[[GROUP:.*]] = "flow.dispatch.workgroup.id"()
// CHECK: scf.for %[[ROW:.*]] =
// CHECK: scf.for %[[COLUMN:.*]] =
// CHECK: vector.transfer_read %[[MATRIX]][%{{.*}}], %{{.*}} {in_bounds = [true]} : tensor<64xf32>, vector<16xf32>
// CHECK: vector.transfer_read %[[BIAS]][%[[COLUMN]]], %{{.*}} {in_bounds = [true]} : tensor<16xf32>, vector<16xf32>
// CHECK: %[[SUM:.*]] = arith.addf {{.*}} : vector<16xf32>
// CHECK: vector.transfer_write %[[SUM]]
// CHECK: "iree_tensor_ext.dispatch.tensor.store"
// CHECK-NOT: flow.executable"
// CHECK: func.func @main
// CHECK: "flow.dispatch"(%{{.*}}, %{{.*}}) {entry_points = [@columns_0::@columns_0]
// CHECK: "flow.dispatch"(%{{.*}}, %{{.*}}) {entry_points = [@columns_0::@columns_0]
// CHECK-NOT: @first
func.func private @first(%x: tensor<4x16xf32>, %bias: tensor<16xf32>) -> tensor<4x16xf32> attributes {flambeau.kernel = "pointwise", flambeau.schedule = {block = 64 : i64, columns = 0 : i64, form = "columns", keep = true, parts = 1 : i64, rows = 2 : i64, vector = 16 : i64}} {
  %0 = "flambeau.expand"(%bias) {operandSegmentSizes = array<i32: 1, 0>, shape = array<i64: 4, 16>} : (tensor<16xf32>) -> tensor<4x16xf32>
  %1 = "flambeau.add"(%x, %0) : (tensor<4x16xf32>, tensor<4x16xf32>) -> tensor<4x16xf32>
  return %1 : tensor<4x16xf32>
}
func.func private @second(%x: tensor<4x16xf32>, %bias: tensor<16xf32>) -> tensor<4x16xf32> attributes {flambeau.kernel = "pointwise", flambeau.schedule = {block = 64 : i64, columns = 0 : i64, form = "columns", keep = true, parts = 1 : i64, rows = 2 : i64, vector = 16 : i64}} {
  %0 = "flambeau.expand"(%bias) {operandSegmentSizes = array<i32: 1, 0>, shape = array<i64: 4, 16>} : (tensor<16xf32>) -> tensor<4x16xf32>
  %1 = "flambeau.add"(%x, %0) : (tensor<4x16xf32>, tensor<4x16xf32>) -> tensor<4x16xf32>
  return %1 : tensor<4x16xf32>
}
func.func @main(%x: tensor<4x16xf32>, %bias: tensor<16xf32>) -> tensor<4x16xf32> {
  %0 = call @first(%x, %bias) : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
  %1 = call @second(%0, %bias) : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
  return %1 : tensor<4x16xf32>
}

// -----

// The mean of rows of unknown length, taken away: the row is read twice; whole vectors, then a masked one; sizes are the
// workload.
// CHECK: "flow.executable.export"() ({
// CHECK-NEXT: ^bb0(%[[M:.*]]: index, %[[N:.*]]: index):
// CHECK: func.func @rows_0(%{{.*}}: !iree_tensor_ext.dispatch.tensor<readonly:tensor<?xf32>>, %{{.*}}: index, %{{.*}}: index, %{{.*}}: !iree_tensor_ext.dispatch.tensor<writeonly:tensor<?xf32>>)
// CHECK: scf.for {{.*}} iter_args({{.*}}) -> (vector<8xf32>) {
// CHECK: vector.create_mask
// CHECK: arith.select
// CHECK: vector.shuffle {{.*}} [0, 1, 2, 3] : vector<8xf32>, vector<8xf32>
// CHECK: arith.divf
// CHECK: arith.subf {{.*}} : vector<8xf32>
// CHECK: "iree_tensor_ext.dispatch.tensor.store"
// CHECK: func.func @main
// CHECK: %[[ROWS:.*]] = "flambeau.dim"(%arg0) {index = 0 : i64}
// CHECK: %[[COLUMNS:.*]] = "flambeau.dim"(%arg0) {index = 1 : i64}
// CHECK: "flow.dispatch"(%[[ROWS]], %[[COLUMNS]],
func.func private @centred(%x: tensor<?x?xf32>) -> tensor<?x?xf32> attributes {flambeau.kernel = "row", flambeau.schedule = {block = 1 : i64, columns = 0 : i64, form = "rows", keep = true, parts = 1 : i64, rows = 4 : i64, vector = 8 : i64}} {
  %0 = "flambeau.mean"(%x) {dims = array<i64: 1>, keepdim = true} : (tensor<?x?xf32>) -> tensor<?x1xf32>
  %1 = "flambeau.dim"(%x) {index = 0 : i64} : (tensor<?x?xf32>) -> index
  %2 = "flambeau.dim"(%x) {index = 1 : i64} : (tensor<?x?xf32>) -> index
  %3 = "flambeau.expand"(%0, %1, %2) {operandSegmentSizes = array<i32: 1, 2>, shape = array<i64: -1, -1>} : (tensor<?x1xf32>, index, index) -> tensor<?x?xf32>
  %4 = "flambeau.sub"(%x, %3) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %4 : tensor<?x?xf32>
}
func.func @main(%x: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = call @centred(%x) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// -----

// The gradient of a bias: a vector of columns goes down the rows. A bool is read as a byte.
// CHECK: func.func @columns_0(%{{.*}}: !iree_tensor_ext.dispatch.tensor<readonly:tensor<256xi8>>
// CHECK: scf.for {{.*}} iter_args(%[[SUM:.*]] = %{{.*}}) -> (vector<8xi64>) {
// CHECK: arith.cmpi ne, {{.*}} : vector<8xi8>
// CHECK: %[[WIDE:.*]] = arith.extui {{.*}} : vector<8xi1> to vector<8xi64>
// CHECK: arith.addi %[[SUM]], %[[WIDE]]
// CHECK: func.func @main
// CHECK: "flow.tensor.bitcast"(%arg0) {{.*}} (tensor<32x8xi1>) -> tensor<32x8xi8>
func.func private @counts(%x: tensor<32x8xi1>) -> tensor<8xi64> attributes {flambeau.kernel = "column", flambeau.schedule = {block = 64 : i64, columns = 8 : i64, form = "columns", keep = true, parts = 1 : i64, rows = 1 : i64, vector = 8 : i64}} {
  %0 = "flambeau.sum"(%x) {dims = array<i64: 0>, keepdim = false} : (tensor<32x8xi1>) -> tensor<8xi64>
  return %0 : tensor<8xi64>
}
func.func @main(%x: tensor<32x8xi1>) -> tensor<8xi64> {
  %0 = call @counts(%x) : (tensor<32x8xi1>) -> tensor<8xi64>
  return %0 : tensor<8xi64>
}
