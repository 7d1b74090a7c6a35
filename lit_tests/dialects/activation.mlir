// RUN: flambeau-opt %s | flambeau-opt | FileCheck %s
// Activation functions: every op survives printing and parsing, with `?` dims.

// CHECK-LABEL: func.func @relu(
// CHECK: "flambeau.relu"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @relu(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.relu"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @leaky_relu(
// CHECK: "flambeau.leaky_relu"(%arg0) {negative_slope = 1.000000e-01 : f64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @leaky_relu(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.leaky_relu"(%arg0) {negative_slope = 1.000000e-01 : f64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @prelu(
// CHECK: "flambeau.prelu"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @prelu(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.prelu"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @hardtanh(
// CHECK: "flambeau.hardtanh"(%arg0) {max_val = 1.000000e+00 : f64, min_val = -1.000000e+00 : f64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @hardtanh(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.hardtanh"(%arg0) {max_val = 1.000000e+00 : f64, min_val = -1.000000e+00 : f64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @threshold(
// CHECK: "flambeau.threshold"(%arg0) {threshold = 5.000000e-01 : f64, value = -7.000000e+00 : f64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @threshold(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.threshold"(%arg0) {threshold = 5.000000e-01 : f64, value = -7.000000e+00 : f64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @elu(
// CHECK: "flambeau.elu"(%arg0) {alpha = 1.000000e+00 : f64, input_scale = 1 : i64, scale = 1 : i64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @elu(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.elu"(%arg0) {alpha = 1.000000e+00 : f64, input_scale = 1 : i64, scale = 1 : i64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @celu(
// CHECK: "flambeau.celu"(%arg0) {alpha = 1.000000e+00 : f64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @celu(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.celu"(%arg0) {alpha = 1.000000e+00 : f64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @sigmoid(
// CHECK: "flambeau.sigmoid"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @sigmoid(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.sigmoid"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @log_sigmoid_forward(
// CHECK: "flambeau.log_sigmoid_forward"(%arg0) : (tensor<?x?xf32>) -> (tensor<?x?xf32>, tensor<?x?xf32>)
func.func @log_sigmoid_forward(%arg0: tensor<?x?xf32>) -> (tensor<?x?xf32>, tensor<?x?xf32>) {
  %0:2 = "flambeau.log_sigmoid_forward"(%arg0) : (tensor<?x?xf32>) -> (tensor<?x?xf32>, tensor<?x?xf32>)
  return %0#0, %0#1 : tensor<?x?xf32>, tensor<?x?xf32>
}

// CHECK-LABEL: func.func @glu(
// CHECK: "flambeau.glu"(%arg0) {dim = -1 : i64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @glu(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.glu"(%arg0) {dim = -1 : i64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @gelu(
// CHECK: "flambeau.gelu"(%arg0) {approximate = "none"} : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @gelu(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.gelu"(%arg0) {approximate = "none"} : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @silu(
// CHECK: "flambeau.silu"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @silu(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.silu"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @mish(
// CHECK: "flambeau.mish"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @mish(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.mish"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @softplus(
// CHECK: "flambeau.softplus"(%arg0) {beta = 1 : i64, threshold = 20 : i64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @softplus(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.softplus"(%arg0) {beta = 1 : i64, threshold = 20 : i64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @hardsigmoid(
// CHECK: "flambeau.hardsigmoid"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @hardsigmoid(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.hardsigmoid"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @hardswish(
// CHECK: "flambeau.hardswish"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @hardswish(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.hardswish"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @hardshrink(
// CHECK: "flambeau.hardshrink"(%arg0) {lambd = 5.000000e-01 : f64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @hardshrink(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.hardshrink"(%arg0) {lambd = 5.000000e-01 : f64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @softshrink(
// CHECK: "flambeau.softshrink"(%arg0) {lambd = 5.000000e-01 : f64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @softshrink(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.softshrink"(%arg0) {lambd = 5.000000e-01 : f64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}
