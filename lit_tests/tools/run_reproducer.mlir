// --run-reproducer takes pipeline and verification from the file.
// RUN: flambeau-opt %s --run-reproducer | FileCheck %s
// RUN: flambeau-opt --run-reproducer < %s | FileCheck %s

// CHECK: arith.addf %arg0, %arg0
// CHECK-NEXT: return
func.func @f(%a: f32) -> (f32, f32) {
  %0 = arith.addf %a, %a : f32
  %1 = arith.addf %a, %a : f32
  return %0, %1 : f32, f32
}

{-#
  external_resources: {
    mlir_reproducer: {
      pipeline: "builtin.module(func.func(cse))",
      disable_threading: true,
      verify_each: true
    }
  }
#-}
