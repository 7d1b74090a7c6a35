// Every op on sizes means the same to the interpreter and to the compiled function: 7 rows, in steps of 3.
// RUN: flambeau-compile %s --pass-pipeline=lower-to-torch -o %t.vmfb
// RUN: flambeau-run %t.vmfb --input=7 --input=3 --expect=10 --expect=4 --expect=21 --expect=2 --expect=3 --expect=1 --expect=7 --expect=3
// RUN: flambeau-run %s --stage=functional --input=7 --input=3 --expect=10 --expect=4 --expect=21 --expect=2 --expect=3 --expect=1 --expect=7 --expect=3

func.func @f(%n: index, %k: index) -> (index, index, index, index, index, index, index, index) {
  %sum = arith.addi %n, %k : index
  %difference = arith.subi %n, %k : index
  %product = arith.muli %n, %k : index
  %down = arith.floordivsi %n, %k : index
  %up = arith.ceildivsi %n, %k : index
  %rest = arith.remsi %n, %k : index
  %most = arith.maxsi %n, %k : index
  %least = arith.minsi %n, %k : index
  return %sum, %difference, %product, %down, %up, %rest, %most, %least : index, index, index, index, index, index, index, index
}
