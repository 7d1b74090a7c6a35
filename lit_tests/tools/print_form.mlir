// How the result is printed: --mlir-print-debuginfo, --mlir-print-op-generic, --mlir-elide-elementsattrs-if-larger.
// RUN: flambeau-opt %s --mlir-print-debuginfo | FileCheck %s --check-prefix=DEBUG
// RUN: flambeau-opt %s --mlir-print-op-generic | FileCheck %s --check-prefix=GENERIC
// RUN: flambeau-opt %s --mlir-elide-elementsattrs-if-larger=2 | FileCheck %s --check-prefix=ELIDE
// RUN: flambeau-opt %s | FileCheck %s --check-prefix=PLAIN

// DEBUG: arith.constant dense<{{.*}}> : tensor<3xf32> loc([[LOC:#loc[0-9]*]])
// DEBUG: [[LOC]] = loc("model.py":7:5)
// GENERIC: "arith.constant"() <{value = dense<[1.000000e+00, 2.000000e+00, 3.000000e+00]> : tensor<3xf32>}>
// ELIDE: arith.constant dense_resource<__elided__> : tensor<3xf32>
// PLAIN-NOT: loc(
// PLAIN: arith.constant dense<[1.000000e+00, 2.000000e+00, 3.000000e+00]> : tensor<3xf32>
// PLAIN-NOT: loc(
func.func @f() -> tensor<3xf32> {
  %0 = arith.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32> loc("model.py":7:5)
  return %0 : tensor<3xf32>
}
