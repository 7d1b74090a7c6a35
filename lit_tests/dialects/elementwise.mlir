// RUN: flambeau-opt %s | flambeau-opt | FileCheck %s
// Arithmetic and mathematical functions: every op survives printing and parsing, with `?` dims.

// CHECK-LABEL: func.func @add(
// CHECK: "flambeau.add"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @add(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.add"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @sub(
// CHECK: "flambeau.sub"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @sub(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.sub"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @scaled_add(
// CHECK: "flambeau.scaled_add"(%arg0, %arg1) {alpha = 3.000000e-01 : f64} : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @scaled_add(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.scaled_add"(%arg0, %arg1) {alpha = 3.000000e-01 : f64} : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @scaled_sub(
// CHECK: "flambeau.scaled_sub"(%arg0, %arg1) {alpha = -0.69999999999999996 : f64} : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @scaled_sub(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.scaled_sub"(%arg0, %arg1) {alpha = -0.69999999999999996 : f64} : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @mul(
// CHECK: "flambeau.mul"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @mul(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.mul"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @div(
// CHECK: "flambeau.div"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @div(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.div"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @floor_divide(
// CHECK: "flambeau.floor_divide"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @floor_divide(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.floor_divide"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @trunc_divide(
// CHECK: "flambeau.trunc_divide"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @trunc_divide(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.trunc_divide"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @remainder(
// CHECK: "flambeau.remainder"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @remainder(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.remainder"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @fmod(
// CHECK: "flambeau.fmod"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @fmod(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.fmod"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @pow(
// CHECK: "flambeau.pow"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @pow(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.pow"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @pow_scalar(
// CHECK: "flambeau.pow_scalar"(%arg0) {exponent = 2 : i64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @pow_scalar(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.pow_scalar"(%arg0) {exponent = 2 : i64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @maximum(
// CHECK: "flambeau.maximum"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @maximum(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.maximum"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @minimum(
// CHECK: "flambeau.minimum"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @minimum(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.minimum"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @fmax(
// CHECK: "flambeau.fmax"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @fmax(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.fmax"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @fmin(
// CHECK: "flambeau.fmin"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @fmin(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.fmin"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @atan2(
// CHECK: "flambeau.atan2"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @atan2(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.atan2"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @copysign(
// CHECK: "flambeau.copysign"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @copysign(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.copysign"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @hypot(
// CHECK: "flambeau.hypot"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @hypot(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.hypot"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @xlogy(
// CHECK: "flambeau.xlogy"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @xlogy(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.xlogy"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @logaddexp(
// CHECK: "flambeau.logaddexp"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @logaddexp(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.logaddexp"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @logaddexp2(
// CHECK: "flambeau.logaddexp2"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @logaddexp2(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.logaddexp2"(%arg0, %arg1) : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @lerp(
// CHECK: "flambeau.lerp"(%arg0, %arg1, %arg2) : (tensor<?x?xf32>, tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @lerp(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>, %arg2: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.lerp"(%arg0, %arg1, %arg2) : (tensor<?x?xf32>, tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @addcmul(
// CHECK: "flambeau.addcmul"(%arg0, %arg1, %arg2) {value = 3.000000e-01 : f64} : (tensor<?x?xf32>, tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @addcmul(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>, %arg2: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.addcmul"(%arg0, %arg1, %arg2) {value = 3.000000e-01 : f64} : (tensor<?x?xf32>, tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @addcdiv(
// CHECK: "flambeau.addcdiv"(%arg0, %arg1, %arg2) {value = -1.500000e+00 : f64} : (tensor<?x?xf32>, tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @addcdiv(%arg0: tensor<?x?xf32>, %arg1: tensor<?x?xf32>, %arg2: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.addcdiv"(%arg0, %arg1, %arg2) {value = -1.500000e+00 : f64} : (tensor<?x?xf32>, tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @clamp(
// CHECK: "flambeau.clamp"(%arg0) {max = 5.000000e-01 : f64, min = -5.000000e-01 : f64} : (tensor<?xf32>) -> tensor<?xf32>
func.func @clamp(%arg0: tensor<?xf32>) -> tensor<?xf32> {
  %0 = "flambeau.clamp"(%arg0) {max = 5.000000e-01 : f64, min = -5.000000e-01 : f64} : (tensor<?xf32>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// CHECK-LABEL: func.func @clamp_tensor(
// CHECK: "flambeau.clamp_tensor"(%arg0, %arg1, %arg2) {operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<?xf32>, tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
func.func @clamp_tensor(%arg0: tensor<?xf32>, %arg1: tensor<?xf32>, %arg2: tensor<?xf32>) -> tensor<?xf32> {
  %0 = "flambeau.clamp_tensor"(%arg0, %arg1, %arg2) {operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<?xf32>, tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// CHECK-LABEL: func.func @nan_to_num(
// CHECK: "flambeau.nan_to_num"(%arg0) {nan, neginf, posinf} : (tensor<?xf32>) -> tensor<?xf32>
func.func @nan_to_num(%arg0: tensor<?xf32>) -> tensor<?xf32> {
  %0 = "flambeau.nan_to_num"(%arg0) {nan, neginf, posinf} : (tensor<?xf32>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// CHECK-LABEL: func.func @neg(
// CHECK: "flambeau.neg"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @neg(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.neg"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @abs(
// CHECK: "flambeau.abs"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @abs(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.abs"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @sign(
// CHECK: "flambeau.sign"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @sign(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.sign"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @floor(
// CHECK: "flambeau.floor"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @floor(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.floor"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @ceil(
// CHECK: "flambeau.ceil"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @ceil(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.ceil"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @round(
// CHECK: "flambeau.round"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @round(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.round"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @trunc(
// CHECK: "flambeau.trunc"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @trunc(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.trunc"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @round_decimals(
// CHECK: "flambeau.round_decimals"(%arg0) {decimals = 2 : i64} : (tensor<?xf32>) -> tensor<?xf32>
func.func @round_decimals(%arg0: tensor<?xf32>) -> tensor<?xf32> {
  %0 = "flambeau.round_decimals"(%arg0) {decimals = 2 : i64} : (tensor<?xf32>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// CHECK-LABEL: func.func @frac(
// CHECK: "flambeau.frac"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @frac(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.frac"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @square(
// CHECK: "flambeau.square"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @square(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.square"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @sqrt(
// CHECK: "flambeau.sqrt"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @sqrt(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.sqrt"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @rsqrt(
// CHECK: "flambeau.rsqrt"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @rsqrt(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.rsqrt"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @reciprocal(
// CHECK: "flambeau.reciprocal"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @reciprocal(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.reciprocal"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @exp(
// CHECK: "flambeau.exp"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @exp(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.exp"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @exp2(
// CHECK: "flambeau.exp2"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @exp2(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.exp2"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @expm1(
// CHECK: "flambeau.expm1"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @expm1(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.expm1"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @log(
// CHECK: "flambeau.log"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @log(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.log"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @log2(
// CHECK: "flambeau.log2"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @log2(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.log2"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @log10(
// CHECK: "flambeau.log10"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @log10(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.log10"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @log1p(
// CHECK: "flambeau.log1p"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @log1p(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.log1p"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @sin(
// CHECK: "flambeau.sin"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @sin(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.sin"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @cos(
// CHECK: "flambeau.cos"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @cos(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.cos"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @tan(
// CHECK: "flambeau.tan"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @tan(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.tan"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @asin(
// CHECK: "flambeau.asin"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @asin(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.asin"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @acos(
// CHECK: "flambeau.acos"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @acos(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.acos"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @atan(
// CHECK: "flambeau.atan"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @atan(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.atan"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @sinh(
// CHECK: "flambeau.sinh"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @sinh(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.sinh"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @cosh(
// CHECK: "flambeau.cosh"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @cosh(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.cosh"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @tanh(
// CHECK: "flambeau.tanh"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @tanh(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.tanh"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @asinh(
// CHECK: "flambeau.asinh"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @asinh(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.asinh"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @acosh(
// CHECK: "flambeau.acosh"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @acosh(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.acosh"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @atanh(
// CHECK: "flambeau.atanh"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @atanh(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.atanh"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @erf(
// CHECK: "flambeau.erf"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @erf(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.erf"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @erfc(
// CHECK: "flambeau.erfc"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @erfc(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.erfc"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @erfinv(
// CHECK: "flambeau.erfinv"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @erfinv(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.erfinv"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @logit(
// CHECK: "flambeau.logit"(%arg0) {eps} : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @logit(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.logit"(%arg0) {eps} : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @digamma(
// CHECK: "flambeau.digamma"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @digamma(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.digamma"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @lgamma(
// CHECK: "flambeau.lgamma"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @lgamma(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.lgamma"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @polygamma(
// CHECK: "flambeau.polygamma"(%arg0) {n = 1 : i64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @polygamma(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.polygamma"(%arg0) {n = 1 : i64} : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @clone(
// CHECK: "flambeau.clone"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
func.func @clone(%arg0: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = "flambeau.clone"(%arg0) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @to_dtype(
// CHECK: "flambeau.to_dtype"(%arg0) {dtype = f32} : (tensor<7xf32>) -> tensor<7xf32>
func.func @to_dtype(%arg0: tensor<7xf32>) -> tensor<7xf32> {
  %0 = "flambeau.to_dtype"(%arg0) {dtype = f32} : (tensor<7xf32>) -> tensor<7xf32>
  return %0 : tensor<7xf32>
}
