// RUN: flambeau-opt %s --convert-torch-to-flambeau --split-input-file --verify-diagnostics

func.func @no_such_op(%x: !torch.vtensor<[3,3],f32>) -> !torch.vtensor<[3,3],f32> {
  // expected-error @+1 {{it has no op in the dialect}}
  %0 = torch.aten.linalg_det %x : !torch.vtensor<[3,3],f32> -> !torch.vtensor<[3,3],f32>
  return %0 : !torch.vtensor<[3,3],f32>
}

// -----

// One of them may be 1, and broadcast.
func.func @sizes_that_may_differ(%x: !torch.vtensor<[?],f32>, %y: !torch.vtensor<[?],f32>) -> !torch.vtensor<[?],f32> {
  // expected-error @+1 {{may or may not have equal sizes; if they have, mark the function torch.assume_strict_symbolic_shapes}}
  %0 = torch.aten.mul.Tensor %x, %y : !torch.vtensor<[?],f32>, !torch.vtensor<[?],f32> -> !torch.vtensor<[?],f32>
  return %0 : !torch.vtensor<[?],f32>
}

// -----

// expected-error @+1 {{!torch.vtensor<*,f32> does not say rank and element type}}
func.func @no_rank(%x: !torch.vtensor<*,f32>) -> !torch.vtensor<*,f32> {
  return %x : !torch.vtensor<*,f32>
}

// -----

// A difference of sizes may be negative, and would then count from the end.
func.func @difference(%x: !torch.vtensor<[?],f32>) -> !torch.vtensor<[?],f32> {
  %int0 = torch.constant.int 0
  %int1 = torch.constant.int 1
  %int3 = torch.constant.int 3
  %n = torch.aten.size.int %x, %int0 : !torch.vtensor<[?],f32>, !torch.int -> !torch.int
  %m = torch.aten.sub.int %n, %int3 : !torch.int, !torch.int -> !torch.int
  // expected-error @+1 {{of which it is not known if it is negative}}
  %0 = torch.aten.slice.Tensor %x, %int0, %int0, %m, %int1 : !torch.vtensor<[?],f32>, !torch.int, !torch.int, !torch.int, !torch.int -> !torch.vtensor<[?],f32>
  return %0 : !torch.vtensor<[?],f32>
}

// -----

func.func @other_type(%x: !torch.vtensor<[3],f32>) -> !torch.vtensor<[4],f32> {
  // expected-error @+1 {{converted it is tensor<3xf32>, but its type says tensor<4xf32>}}
  %0 = torch.aten.tanh %x : !torch.vtensor<[3],f32> -> !torch.vtensor<[4],f32>
  return %0 : !torch.vtensor<[4],f32>
}

// -----

func.func @size_symbol(%x: !torch.vtensor<[?],f32>) -> !torch.vtensor<[?],f32> {
  %0 = torch.symbolic_int "s0" {min_val = 0, max_val = 100} : !torch.int
  // expected-error @+1 {{it computes with a size symbol}}
  %1 = torch.aten.mul.Scalar %x, %0 : !torch.vtensor<[?],f32>, !torch.int -> !torch.vtensor<[?],f32>
  return %1 : !torch.vtensor<[?],f32>
}

// -----

// The argument may be 1, and broadcast, or 3.
func.func @known_and_unknown(%x: !torch.vtensor<[?],f32>, %y: !torch.vtensor<[3],f32>) -> !torch.vtensor<[3],f32> {
  // expected-error @+1 {{tensor<?xf32> and tensor<3xf32> may or may not have equal sizes}}
  %0 = torch.aten.mul.Tensor %x, %y : !torch.vtensor<[?],f32>, !torch.vtensor<[3],f32> -> !torch.vtensor<[3],f32>
  return %0 : !torch.vtensor<[3],f32>
}
