// What --verify-diagnostics says when messages and comments disagree.
// RUN: not flambeau-opt %s --split-input-file --verify-diagnostics 2>&1 | FileCheck %s

// CHECK: verify_diagnostics_fails.mlir:[[# @LINE + 2]]:4: error: expected error "never said" was not produced
func.func @missing() {
// expected-error @below {{never said}}
  return
}

// -----

// CHECK: :[[# @LINE + 2]]:12: error: unexpected error: custom op 'arith.nothing' is unknown
func.func @unexpected() {
  %0 =     arith.nothing
}

// -----

// CHECK: error: expected warning "custom op" was not produced
// CHECK: error: unexpected error: custom op 'arith.nothing' is unknown
func.func @other_kind() {
  // expected-warning @below {{custom op}}
  %0 = arith.nothing
}
