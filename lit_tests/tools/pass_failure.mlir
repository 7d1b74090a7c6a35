// A pass that fails: its name, the op, the user's line, and a reproducer that fails the same way.
// RUN: not flambeau-opt %s --load-pass-plugin=%S/Inputs/broken_passes.py --cse --broken --mlir-pass-pipeline-crash-reproducer=%t.bug.mlir 2>&1 | FileCheck %s --check-prefixes=FAIL,BUG
// RUN: not flambeau-opt %t.bug.mlir --load-pass-plugin=%S/Inputs/broken_passes.py --run-reproducer 2>&1 | FileCheck %s --check-prefixes=FAIL,BUG
// RUN: not flambeau-opt %s --load-pass-plugin=%S/Inputs/broken_passes.py --cse --broken=how=refuse --mlir-pass-pipeline-crash-reproducer=%t.refuse.mlir 2>&1 | FileCheck %s --check-prefixes=FAIL,REFUSE
// RUN: not flambeau-opt %t.refuse.mlir --load-pass-plugin=%S/Inputs/broken_passes.py --run-reproducer 2>&1 | FileCheck %s --check-prefixes=FAIL,REFUSE
// RUN: FileCheck %s --check-prefix=FILE --input-file=%t.refuse.mlir

// FAIL: model.py:12:4: error: pass 'broken':
// BUG: Traceback
// BUG: AttributeError: {{.*}}this_attribute_does_not_exist
// REFUSE-NOT: Traceback
// FAIL: flambeau-opt: error: pass 'broken' failed:
// REFUSE-SAME: products are not for me
// FAIL: op: %{{.*}} = arith.mulf %arg0, %arg0 : f32
// FAIL: from: model.py:12
// The reproducer holds the module as the failing pass got it, after cse, and no other pass.
// FILE: arith.mulf
// FILE-NOT: arith.mulf
// FILE: pipeline: "builtin.module(broken{how=refuse})"
// FILE: verify_each: true
func.func @f(%a: f32) -> (f32, f32) {
  %0 = arith.mulf %a, %a : f32 loc("model.py":12:4)
  %1 = arith.mulf %a, %a : f32 loc("model.py":13:4)
  return %0, %1 : f32, f32
}
