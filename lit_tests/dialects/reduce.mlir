// RUN: flambeau-opt %s | flambeau-opt | FileCheck %s
// Reductions and scans: every op survives printing and parsing, with `?` dims.

// CHECK-LABEL: func.func @sum(
// CHECK: "flambeau.sum"(%arg0) {dims = array<i64: 1>, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xf32>
func.func @sum(%arg0: tensor<?x?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.sum"(%arg0) {dims = array<i64: 1>, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @mean(
// CHECK: "flambeau.mean"(%arg0) {dims = array<i64: 1>, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xf32>
func.func @mean(%arg0: tensor<?x?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.mean"(%arg0) {dims = array<i64: 1>, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @nansum(
// CHECK: "flambeau.nansum"(%arg0) {dims = array<i64: 1>, keepdim = false} : (tensor<?x?xf32>) -> tensor<?xf32>
func.func @nansum(%arg0: tensor<?x?xf32>) -> tensor<?xf32> {
  %0 = "flambeau.nansum"(%arg0) {dims = array<i64: 1>, keepdim = false} : (tensor<?x?xf32>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// CHECK-LABEL: func.func @prod(
// CHECK: "flambeau.prod"(%arg0) {dim = 0 : i64, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xf32>
func.func @prod(%arg0: tensor<?x?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.prod"(%arg0) {dim = 0 : i64, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @cumsum(
// CHECK: "flambeau.cumsum"(%arg0) {dim = 1 : i64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @cumsum(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.cumsum"(%arg0) {dim = 1 : i64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @cumprod(
// CHECK: "flambeau.cumprod"(%arg0) {dim = 1 : i64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @cumprod(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.cumprod"(%arg0) {dim = 1 : i64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @count_nonzero(
// CHECK: "flambeau.count_nonzero"(%arg0) {dims = array<i64: 1>} : (tensor<?x?xi64>) -> tensor<?xi64>
func.func @count_nonzero(%arg0: tensor<?x?xi64>) -> tensor<?xi64> {
  %0 = "flambeau.count_nonzero"(%arg0) {dims = array<i64: 1>} : (tensor<?x?xi64>) -> tensor<?xi64>
  return %0 : tensor<?xi64>
}

// CHECK-LABEL: func.func @var(
// CHECK: "flambeau.var"(%arg0) {correction = 1 : i64, dims = array<i64: 1>, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xf32>
func.func @var(%arg0: tensor<?x?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.var"(%arg0) {correction = 1 : i64, dims = array<i64: 1>, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @std(
// CHECK: "flambeau.std"(%arg0) {correction = 1 : i64, dims = array<i64: 1>, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xf32>
func.func @std(%arg0: tensor<?x?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.std"(%arg0) {correction = 1 : i64, dims = array<i64: 1>, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @var_mean(
// CHECK: "flambeau.var_mean"(%arg0) {correction = 1 : i64, dims = array<i64: 1>, keepdim = false} : (tensor<?x?x?xf32>) -> (tensor<?x?xf32>, tensor<?x?xf32>)
func.func @var_mean(%arg0: tensor<?x?x?xf32>) -> (tensor<?x?xf32>, tensor<?x?xf32>) {
  %0:2 = "flambeau.var_mean"(%arg0) {correction = 1 : i64, dims = array<i64: 1>, keepdim = false} : (tensor<?x?x?xf32>) -> (tensor<?x?xf32>, tensor<?x?xf32>)
  return %0#0, %0#1 : tensor<?x?xf32>, tensor<?x?xf32>
}

// CHECK-LABEL: func.func @std_mean(
// CHECK: "flambeau.std_mean"(%arg0) {correction = 0 : i64, dims = array<i64: 1>, keepdim = false} : (tensor<?x?x?xf32>) -> (tensor<?x?xf32>, tensor<?x?xf32>)
func.func @std_mean(%arg0: tensor<?x?x?xf32>) -> (tensor<?x?xf32>, tensor<?x?xf32>) {
  %0:2 = "flambeau.std_mean"(%arg0) {correction = 0 : i64, dims = array<i64: 1>, keepdim = false} : (tensor<?x?x?xf32>) -> (tensor<?x?xf32>, tensor<?x?xf32>)
  return %0#0, %0#1 : tensor<?x?xf32>, tensor<?x?xf32>
}

// CHECK-LABEL: func.func @logsumexp(
// CHECK: "flambeau.logsumexp"(%arg0) {dims = array<i64: 1>, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xf32>
func.func @logsumexp(%arg0: tensor<?x?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.logsumexp"(%arg0) {dims = array<i64: 1>, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @vector_norm(
// CHECK: "flambeau.vector_norm"(%arg0) {dims = array<i64: 1>, keepdim = false, ord = 2 : i64} : (tensor<?x?xf32>) -> tensor<?xf32>
func.func @vector_norm(%arg0: tensor<?x?xf32>) -> tensor<?xf32> {
  %0 = "flambeau.vector_norm"(%arg0) {dims = array<i64: 1>, keepdim = false, ord = 2 : i64} : (tensor<?x?xf32>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// CHECK-LABEL: func.func @amax(
// CHECK: "flambeau.amax"(%arg0) {dims = array<i64: 1>, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xf32>
func.func @amax(%arg0: tensor<?x?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.amax"(%arg0) {dims = array<i64: 1>, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @amin(
// CHECK: "flambeau.amin"(%arg0) {dims = array<i64: 1>, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xf32>
func.func @amin(%arg0: tensor<?x?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.amin"(%arg0) {dims = array<i64: 1>, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @max(
// CHECK: "flambeau.max"(%arg0) : (tensor<?x?xf32>) -> tensor<f32>
func.func @max(%arg0: tensor<?x?xf32>) -> tensor<f32> {
  %0 = "flambeau.max"(%arg0) : (tensor<?x?xf32>) -> tensor<f32>
  return %0 : tensor<f32>
}

// CHECK-LABEL: func.func @min(
// CHECK: "flambeau.min"(%arg0) : (tensor<?x?xf32>) -> tensor<f32>
func.func @min(%arg0: tensor<?x?xf32>) -> tensor<f32> {
  %0 = "flambeau.min"(%arg0) : (tensor<?x?xf32>) -> tensor<f32>
  return %0 : tensor<f32>
}

// CHECK-LABEL: func.func @aminmax(
// CHECK: "flambeau.aminmax"(%arg0) {dim = 1 : i64, keepdim = false} : (tensor<?x?xf32>) -> (tensor<?xf32>, tensor<?xf32>)
func.func @aminmax(%arg0: tensor<?x?xf32>) -> (tensor<?xf32>, tensor<?xf32>) {
  %0:2 = "flambeau.aminmax"(%arg0) {dim = 1 : i64, keepdim = false} : (tensor<?x?xf32>) -> (tensor<?xf32>, tensor<?xf32>)
  return %0#0, %0#1 : tensor<?xf32>, tensor<?xf32>
}

// CHECK-LABEL: func.func @max_dim(
// CHECK: "flambeau.max_dim"(%arg0) {dim = 1 : i64, keepdim = false} : (tensor<?x?x?xf32>) -> (tensor<?x?xf32>, tensor<?x?xi64>)
func.func @max_dim(%arg0: tensor<?x?x?xf32>) -> (tensor<?x?xf32>, tensor<?x?xi64>) {
  %0:2 = "flambeau.max_dim"(%arg0) {dim = 1 : i64, keepdim = false} : (tensor<?x?x?xf32>) -> (tensor<?x?xf32>, tensor<?x?xi64>)
  return %0#0, %0#1 : tensor<?x?xf32>, tensor<?x?xi64>
}

// CHECK-LABEL: func.func @min_dim(
// CHECK: "flambeau.min_dim"(%arg0) {dim = 1 : i64, keepdim = false} : (tensor<?x?x?xf32>) -> (tensor<?x?xf32>, tensor<?x?xi64>)
func.func @min_dim(%arg0: tensor<?x?x?xf32>) -> (tensor<?x?xf32>, tensor<?x?xi64>) {
  %0:2 = "flambeau.min_dim"(%arg0) {dim = 1 : i64, keepdim = false} : (tensor<?x?x?xf32>) -> (tensor<?x?xf32>, tensor<?x?xi64>)
  return %0#0, %0#1 : tensor<?x?xf32>, tensor<?x?xi64>
}

// CHECK-LABEL: func.func @argmax(
// CHECK: "flambeau.argmax"(%arg0) {dim = 1 : i64, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xi64>
func.func @argmax(%arg0: tensor<?x?x?xf32>) -> tensor<?x?xi64> {
  %0 = "flambeau.argmax"(%arg0) {dim = 1 : i64, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xi64>
  return %0 : tensor<?x?xi64>
}

// CHECK-LABEL: func.func @argmin(
// CHECK: "flambeau.argmin"(%arg0) {dim = 1 : i64, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xi64>
func.func @argmin(%arg0: tensor<?x?x?xf32>) -> tensor<?x?xi64> {
  %0 = "flambeau.argmin"(%arg0) {dim = 1 : i64, keepdim = false} : (tensor<?x?x?xf32>) -> tensor<?x?xi64>
  return %0 : tensor<?x?xi64>
}

// CHECK-LABEL: func.func @any(
// CHECK: "flambeau.any"(%arg0) {dims = array<i64: 1>, keepdim = false} : (tensor<?x?xi1>) -> tensor<?xi1>
func.func @any(%arg0: tensor<?x?xi1>) -> tensor<?xi1> {
  %0 = "flambeau.any"(%arg0) {dims = array<i64: 1>, keepdim = false} : (tensor<?x?xi1>) -> tensor<?xi1>
  return %0 : tensor<?xi1>
}

// CHECK-LABEL: func.func @all(
// CHECK: "flambeau.all"(%arg0) {dims = array<i64: 1>, keepdim = false} : (tensor<?x?xi1>) -> tensor<?xi1>
func.func @all(%arg0: tensor<?x?xi1>) -> tensor<?xi1> {
  %0 = "flambeau.all"(%arg0) {dims = array<i64: 1>, keepdim = false} : (tensor<?x?xi1>) -> tensor<?xi1>
  return %0 : tensor<?xi1>
}
