// The verifier runs after each pass, and can be switched off.
// RUN: not flambeau-opt %s --load-pass-plugin=%S/Inputs/broken_passes.py --broken=how=invalid 2>&1 | FileCheck %s
// RUN: not flambeau-opt %s --load-pass-plugin=%S/Inputs/broken_passes.py --broken=how=invalid --verify-each 2>&1 | FileCheck %s
// RUN: not flambeau-opt --verify-each %s --load-pass-plugin=%S/Inputs/broken_passes.py --broken=how=invalid 2>&1 | FileCheck %s
// RUN: flambeau-opt %s --load-pass-plugin=%S/Inputs/broken_passes.py --broken=how=invalid --verify-each=false | FileCheck %s --check-prefix=OFF
// RUN: not flambeau-opt %s --verify-each=maybe 2>&1 | FileCheck %s --check-prefix=VALUE

// CHECK: verify_each.mlir:[[# @LINE + 6]]:8: error: 'arith.mulf' op requires the same type for all operands and results
// CHECK: flambeau-opt: error: pass 'broken' failed
// OFF: "arith.mulf"{{.*}} -> f64
// VALUE: expected true or false, not 'maybe'
func.func @f(%a: f32) -> f32 {
  // The product is dead: nothing but its own types is wrong.
  %0 = arith.mulf %a, %a : f32
  return %a : f32
}
