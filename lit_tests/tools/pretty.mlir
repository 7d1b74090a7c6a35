// The short form: one line per op, with its type, sizes by name, and the source line beside it.
// RUN: cd %S && flambeau-opt %s --pretty | FileCheck %s
// RUN: cd %S && flambeau-opt %s --pretty --pass-pipeline='functionalize,autodiff,cse' | FileCheck %s --check-prefix=JOINT
// RUN: cd %S && flambeau-opt %s --pretty --pass-pipeline='functionalize,cse,inline-calls,lower-to-torch' | FileCheck %s --check-prefix=TORCH

// CHECK: def graph(x: f32[s0,8] input, w: f32[8,3] parameter grad, calls: ref i64[] buffer) -> (f32[s0,3], f32[s0*3]):
// CHECK-NEXT:   ref_load = ref_load(calls){{ +}}i64[]{{ +}}# model.py:2  calls += 1
// CHECK-NEXT:   add = add(ref_load, 1){{ +}}i64[]{{ +}}# model.py:2
// CHECK-NEXT:   ref_store(calls, add, hidden=false){{ +}}# model.py:2
// CHECK-NEXT:   mm = mm(x, w){{ +}}f32[s0,3]{{ +}}# model.py:3  h = (x @ w).tanh()
// CHECK-NEXT:   tanh = tanh(mm){{ +}}f32[s0,3]{{ +}}# model.py:3
// CHECK-NEXT:   mul = mul(tanh, 2){{ +}}f32[s0,3]{{ +}}# model.py:4  return h * 2, h.view(-1)
// CHECK-NEXT:   view = view(tanh, shape=[s0*3]){{ +}}f32[s0*3]{{ +}}# model.py:4
// CHECK-NEXT:   return mul, view
// CHECK-EMPTY:
// CHECK-NEXT: private def helper(arg: f32[2]) -> (f32[2]):
// CHECK-NEXT:   call = call @other(arg){{ +}}f32[2]
// CHECK-NEXT:   return call
// CHECK-EMPTY:
// CHECK-NEXT: private def other(f32[2]) -> (f32[2]): is elsewhere
// CHECK-EMPTY:
// CHECK-NEXT: private def cond(i1[], f32[?]) -> (f32[?]): calls f if its first argument is true, else g

// JOINT: tangent: f32[?,3] tangent of result 0,
// JOINT: gradient of argument 1
// JOINT: mul(tangent, 2){{ +}}f32[s0,3]{{ +}}# backward of model.py:4

// TORCH: addi = arith.addi(arg, 1, {{.*}}){{ +}}i64{{ +}}# model.py:2
// TORCH: mm = torch.aten.mm(x, w){{ +}}f32[?,3]{{ +}}# model.py:3
// TORCH: tanh = math.tanh({{.*}}){{ +}}f32{{ +}}# model.py:3

func.func @graph(%x: tensor<?x8xf32> {flambeau.role = "input", flambeau.dims = ["s0", 8]} loc("x"),
                 %w: tensor<8x3xf32> {flambeau.role = "parameter", autograd.requires_grad} loc("w"),
                 %calls: !flambeau.ref<tensor<i64>> {flambeau.role = "buffer"} loc("calls")) -> (tensor<?x3xf32>, tensor<?xf32>) {
  %old = "flambeau.ref_load"(%calls) : (!flambeau.ref<tensor<i64>>) -> tensor<i64> loc("Inputs/model.py":2:0)
  %one = "flambeau.constant"() {value = dense<1> : tensor<i64>} : () -> tensor<i64> loc("Inputs/model.py":2:0)
  %new = "flambeau.add"(%old, %one) : (tensor<i64>, tensor<i64>) -> tensor<i64> loc("Inputs/model.py":2:0)
  "flambeau.ref_store"(%calls, %new) {hidden = false} : (!flambeau.ref<tensor<i64>>, tensor<i64>) -> () loc("Inputs/model.py":2:0)
  %m = "flambeau.mm"(%x, %w) : (tensor<?x8xf32>, tensor<8x3xf32>) -> tensor<?x3xf32> loc("Inputs/model.py":3:0)
  %h = "flambeau.tanh"(%m) : (tensor<?x3xf32>) -> tensor<?x3xf32> loc("Inputs/model.py":3:0)
  %two = "flambeau.constant"() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32> loc("Inputs/model.py":4:0)
  %n = "flambeau.dim"(%m) {index = 0 : i64} : (tensor<?x3xf32>) -> index loc("Inputs/model.py":4:0)
  %twos = "flambeau.expand"(%two, %n) {shape = array<i64: -1, 3>, operandSegmentSizes = array<i32: 1, 1>} : (tensor<f32>, index) -> tensor<?x3xf32> loc("Inputs/model.py":4:0)
  %y = "flambeau.mul"(%h, %twos) : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32> loc("Inputs/model.py":4:0)
  %three = arith.constant 3 : index
  %total = arith.muli %n, %three : index loc("Inputs/model.py":4:0)
  %z = "flambeau.view"(%h, %total) {shape = array<i64: -1>, operandSegmentSizes = array<i32: 1, 1>} : (tensor<?x3xf32>, index) -> tensor<?xf32> loc("Inputs/model.py":4:0)
  return %y, %z : tensor<?x3xf32>, tensor<?xf32>
}

func.func private @helper(%x: tensor<2xf32>) -> tensor<2xf32> {
  %0 = func.call @other(%x) : (tensor<2xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

func.func private @other(tensor<2xf32>) -> tensor<2xf32>

func.func private @cond(tensor<i1>, tensor<?xf32>) -> tensor<?xf32> attributes {flambeau.branches = [@f, @g]}
