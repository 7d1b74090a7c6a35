// RUN: flambeau-opt %s --lower-to-torch | FileCheck %s

// CHECK-LABEL: func.func @short
// CHECK-NOT: tensor.expand_shape
func.func @short(%x: tensor<256x3xf32>) -> tensor<3xf32> {
  %0 = "flambeau.sum"(%x) {dims = array<i64: 0>, keepdim = false} : (tensor<256x3xf32>) -> tensor<3xf32>
  return %0 : tensor<3xf32>
}

// Four parts of 250.
// CHECK-LABEL: func.func @long
// CHECK: tensor.expand_shape %{{.*}} : tensor<1000x3xf32> into tensor<4x250x3xf32>
// CHECK: torch.aten.sum.dim_IntList {{.*}} -> !torch.vtensor<[4,3],f32>
// CHECK: torch.aten.sum.dim_IntList {{.*}} -> !torch.vtensor<[3],f32>
func.func @long(%x: tensor<1000x3xf32>) -> tensor<3xf32> {
  %0 = "flambeau.sum"(%x) {dims = array<i64: 0>, keepdim = false} : (tensor<1000x3xf32>) -> tensor<3xf32>
  return %0 : tensor<3xf32>
}

// 256 parts, and what they leave.
// CHECK-LABEL: func.func @unknown
// CHECK-DAG: tensor.expand_shape %{{.*}} : tensor<?x3xf32> into tensor<256x?x3xf32>
// CHECK-DAG: tensor.extract_slice
// CHECK: torch.aten.add.Tensor
func.func @unknown(%x: tensor<?x3xf32>) -> tensor<3xf32> {
  %0 = "flambeau.sum"(%x) {dims = array<i64: 0>, keepdim = false} : (tensor<?x3xf32>) -> tensor<3xf32>
  return %0 : tensor<3xf32>
}

// Rows whose sums are broadcast back stay whole.
// CHECK-LABEL: func.func @rows
// CHECK: torch.aten.sum.dim_IntList {{.*}} : !torch.vtensor<[2,5000],f32>
func.func @rows(%x: tensor<2x5000xf32>) -> tensor<2x1xf32> {
  %0 = "flambeau.sum"(%x) {dims = array<i64: 1>, keepdim = true} : (tensor<2x5000xf32>) -> tensor<2x1xf32>
  return %0 : tensor<2x1xf32>
}

// Integers are exact in any order.
// CHECK-LABEL: func.func @integers
// CHECK-NOT: tensor.expand_shape
// CHECK: return
func.func @integers(%x: tensor<1000x3xi64>) -> tensor<3xi64> {
  %0 = "flambeau.sum"(%x) {dims = array<i64: 0>, keepdim = false} : (tensor<1000x3xi64>) -> tensor<3xi64>
  return %0 : tensor<3xi64>
}
