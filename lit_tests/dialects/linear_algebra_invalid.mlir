// RUN: flambeau-opt %s --split-input-file --verify-diagnostics

func.func @inner(%x: tensor<3x5xf32>, %y: tensor<4x2xf32>) -> tensor<3x2xf32> {
  // expected-error @below {{the inner sizes of tensor<3x5xf32> and tensor<4x2xf32> differ: 5 and 4}}
  %0 = "flambeau.mm"(%x, %y) : (tensor<3x5xf32>, tensor<4x2xf32>) -> tensor<3x2xf32>
  return %0 : tensor<3x2xf32>
}

// -----

func.func @batch(%x: tensor<2x3x5xf32>, %y: tensor<4x5x2xf32>) -> tensor<2x3x2xf32> {
  // expected-error @below {{the batch sizes of tensor<2x3x5xf32> and tensor<4x5x2xf32> differ: 2 and 4}}
  %0 = "flambeau.bmm"(%x, %y) : (tensor<2x3x5xf32>, tensor<4x5x2xf32>) -> tensor<2x3x2xf32>
  return %0 : tensor<2x3x2xf32>
}

// -----

func.func @rank(%x: tensor<5xf32>, %y: tensor<5x2xf32>) -> tensor<2xf32> {
  // expected-error @below {{operand 'x' must have rank 2, found tensor<5xf32>}}
  %0 = "flambeau.mm"(%x, %y) : (tensor<5xf32>, tensor<5x2xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

func.func @element(%x: tensor<3x5xf32>, %y: tensor<5x2xf16>) -> tensor<3x2xf32> {
  // expected-error @below {{operands 'x' and 'mat2' differ in element type: tensor<3x5xf32> and tensor<5x2xf16>}}
  %0 = "flambeau.mm"(%x, %y) : (tensor<3x5xf32>, tensor<5x2xf16>) -> tensor<3x2xf32>
  return %0 : tensor<3x2xf32>
}

// -----

func.func @bool(%x: tensor<3xi1>, %y: tensor<3xi1>) -> tensor<i1> {
  // expected-error @below {{operand 'x' must be of float or integer elements, found tensor<3xi1>}}
  %0 = "flambeau.dot"(%x, %y) : (tensor<3xi1>, tensor<3xi1>) -> tensor<i1>
  return %0 : tensor<i1>
}

// -----

func.func @bias(%b: tensor<3xf32>, %x: tensor<3x5xf32>, %y: tensor<5x2xf32>) -> tensor<3x2xf32> {
  // expected-error @below {{operand 'x' of type tensor<3xf32> does not broadcast to shape [3, 2]}}
  %0 = "flambeau.addmm"(%b, %x, %y) {alpha = 1 : i64, beta = 1 : i64} : (tensor<3xf32>, tensor<3x5xf32>, tensor<5x2xf32>) -> tensor<3x2xf32>
  return %0 : tensor<3x2xf32>
}
