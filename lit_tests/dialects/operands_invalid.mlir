// RUN: flambeau-opt %s --split-input-file --verify-diagnostics

// How many operands an op has is checked before anything looks at them.

// expected-error @below {{'flambeau.tanh' op has 0 operands where 1 are expected: x}}
"flambeau.tanh"() : () -> ()

// -----

func.func @too_many(%x: tensor<2xf32>) {
  // expected-error @below {{'flambeau.tanh' op has 2 operands where 1 are expected: x}}
  %0 = "flambeau.tanh"(%x, %x) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  return
}

// -----

func.func @sum(%x: tensor<2xf32>) {
  // expected-error @below {{'flambeau.expand' op operandSegmentSizes must have one entry per x, shape, and 1 in sum}}
  %0 = "flambeau.expand"(%x) {shape = array<i64: 2, 2>, operandSegmentSizes = array<i32: 1, 1>} : (tensor<2xf32>) -> tensor<2x2xf32>
  return
}

// -----

func.func @entries(%x: tensor<2xf32>) {
  // expected-error @below {{'flambeau.expand' op operandSegmentSizes must have one entry per x, shape, and 1 in sum}}
  %0 = "flambeau.expand"(%x) {shape = array<i64: 2, 2>, operandSegmentSizes = array<i32: 1>} : (tensor<2xf32>) -> tensor<2x2xf32>
  return
}

// -----

func.func @missing(%n: index) {
  // expected-error @below {{'flambeau.expand' op operandSegmentSizes has 0 for 'x'}}
  %0 = "flambeau.expand"(%n) {shape = array<i64: -1, 2>, operandSegmentSizes = array<i32: 0, 1>} : (index) -> tensor<?x2xf32>
  return
}
