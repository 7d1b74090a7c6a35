// Expected errors, of the parser, the verifier and of a pass of ours.
// RUN: flambeau-opt %s --split-input-file --verify-diagnostics --load-pass-plugin=%S/Inputs/broken_passes.py --broken=how=refuse

func.func @parser(%a: f32) -> f32 {
  // expected-error @below {{custom op 'arith.nonsense' is unknown}}
  %0 = arith.nonsense %a : f32
  return %0 : f32
}

// -----

func.func @verifier(%a: f32) -> i32 {
  return %a : f32  // expected-error-re {{type of return operand {{[0-9]}} ('f32') doesn't match function result type}}
}

// -----

func.func @pass(%a: f32) -> f32 {
  %0 = arith.mulf %a, %a : f32
  // expected-error @-1 {{pass 'broken': products are not for me}}
  return %0 : f32
}

// -----

func.func @notes(%a: f32) -> f32 {
  // expected-note @below {{prior use here}}
  %0 = arith.addf %a, %a : f32
  %1 = arith.addi %0, %0 : i32
  // expected-error @above {{use of value '%0' expects different type}}
  return %0 : f32
}
