// A pass has a flag of its own, with one dash or two; such flags run in the order in which they are written.
// RUN: flambeau-opt %s --cse | FileCheck %s --check-prefix=CSE
// RUN: flambeau-opt -cse %s | FileCheck %s --check-prefix=CSE
// RUN: flambeau-opt %s --cse --canonicalize="max-iterations=2 top-down=false" --mlir-print-ir-before-all -o %t 2>&1 | FileCheck %s --check-prefix=ORDER
// RUN: flambeau-opt %s --canonicalize --cse --mlir-print-ir-before-all -o %t 2>&1 | FileCheck %s --check-prefix=REVERSE

// CSE: arith.addf %arg0, %arg0
// CSE-NEXT: return

// ORDER: IR Dump Before CSEPass
// ORDER: IR Dump Before CanonicalizerPass: canonicalize{{.*}}max-iterations=2{{.*}}top-down=false
// REVERSE: IR Dump Before CanonicalizerPass
// REVERSE: IR Dump Before CSEPass
func.func @f(%a: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>) {
  %0 = arith.addf %a, %a : tensor<2xf32>
  %1 = arith.addf %a, %a : tensor<2xf32>
  return %0, %1 : tensor<2xf32>, tensor<2xf32>
}
