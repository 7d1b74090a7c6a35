// RUN: flambeau-opt %s --split-input-file --verify-diagnostics

// An attribute without a dot is one of the op's own, so a misspelt one is not left unread.

func.func @misspelt(%x: tensor<2x3xf32>) {
  // expected-error @below {{'flambeau.sum' op has no attribute 'keep_dim'; did you mean 'keepdim'? valid: dims, keepdim, any name with a dot}}
  %0 = "flambeau.sum"(%x) {dims = array<i64: 1>, keepdim = false, keep_dim = true} : (tensor<2x3xf32>) -> tensor<2xf32>
  return
}

// -----

func.func @missing_because_misspelt(%x: tensor<2x3xf32>) {
  // expected-error @below {{'flambeau.sum' op has no attribute 'keep_dim'; did you mean 'keepdim'?}}
  %0 = "flambeau.sum"(%x) {dims = array<i64: 1>, keep_dim = true} : (tensor<2x3xf32>) -> tensor<2xf32>
  return
}

// -----

func.func @unlike_any(%x: tensor<2x3xf32>) {
  // expected-error @below {{'flambeau.sum' op has no attribute 'nonsense'; valid: dims, keepdim, any name with a dot}}
  %0 = "flambeau.sum"(%x) {dims = array<i64: 1>, keepdim = false, nonsense = 7} : (tensor<2x3xf32>) -> tensor<2xf32>
  return
}

// -----

func.func @op_without_attributes(%x: tensor<2xf32>) {
  // expected-error @below {{'flambeau.tanh' op has no attribute 'approximate'; valid: any name with a dot}}
  %0 = "flambeau.tanh"(%x) {approximate = "tanh"} : (tensor<2xf32>) -> tensor<2xf32>
  return
}

// -----

func.func @operand(%x: tensor<2xf32>) {
  // expected-error @below {{'flambeau.tanh' op has no attribute 'x'; valid: any name with a dot}}
  %0 = "flambeau.tanh"(%x) {x = 1 : i64} : (tensor<2xf32>) -> tensor<2xf32>
  return
}

// -----

func.func @segments_of_an_op_with_one_operand(%x: tensor<2xf32>) {
  // expected-error @below {{'flambeau.tanh' op has no attribute 'operandSegmentSizes'; valid: any name with a dot}}
  %0 = "flambeau.tanh"(%x) {operandSegmentSizes = array<i32: 1>} : (tensor<2xf32>) -> tensor<2xf32>
  return
}

// -----

func.func @with_a_dot(%x: tensor<2xf32>) {
  %0 = "flambeau.tanh"(%x) {my.note = "kept"} : (tensor<2xf32>) -> tensor<2xf32>
  return
}
