// Parts between marker lines are processed one by one; line numbers stay those of the file.
// RUN: flambeau-opt %s --split-input-file --cse | FileCheck %s
// RUN: flambeau-opt %s --split-input-file --cse | FileCheck %s --check-prefix=MARKER
// RUN: flambeau-opt %s --split-input-file --mlir-print-debuginfo | FileCheck %s --check-prefix=LINES
// RUN: not flambeau-opt %s 2>&1 | FileCheck %s --check-prefix=WHOLE

// CHECK: func.func @f(%arg0: f32)
// CHECK: // -----
// CHECK: func.func @f(%arg0: f64)
// MARKER: // -----
// MARKER-NOT: // -----
// LINES: // -----
// LINES: func.func @f
// LINES: loc("-":23:6)
// WHOLE: split_input_file.mlir:22:1: error: redefinition of symbol named 'f'
func.func @f(%a: f32) -> f32 {
  return %a : f32
}

// -----

func.func @f(%a: f64) -> f64 {
     return %a : f64
}
