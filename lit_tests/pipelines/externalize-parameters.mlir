// RUN: flambeau-opt %s --pass-pipeline='lower-to-torch{keep-facts=true},externalize-parameters{scope=net}' --split-input-file | FileCheck %s

// Parameters and buffers are read from the archive, once each; inputs stay arguments, and no facts are left.
// CHECK: "util.global"() {initial_value = #stream.parameter.named<"net"::"mask"> : tensor<3xi8>, sym_name = "net.mask", sym_visibility = "private", type = tensor<3xi8>}
// CHECK: "util.global"() {initial_value = #stream.parameter.named<"net"::"fc.weight"> : tensor<3x3xf32>
// CHECK-LABEL: func.func @forward
// CHECK-SAME: (%[[X:[a-z0-9]+]]: !torch.vtensor<[?,3],f32>) -> (!torch.vtensor<[?,3],f32>, !torch.vtensor<[3],ui8>)
// CHECK-NOT: flambeau.
// CHECK: %[[M:.*]] = "util.global.load"() {global = @net.mask} : () -> tensor<3xi8>
// CHECK: %[[MASK:.*]] = torch_c.from_builtin_tensor %[[M]] : tensor<3xi8> -> !torch.vtensor<[3],ui8>
// CHECK: %[[W:.*]] = "util.global.load"() {global = @net.fc.weight} : () -> tensor<3x3xf32>
// CHECK: torch.aten.mm %[[X]]
// CHECK: return %{{.*}}, %[[MASK]]
func.func @forward(%x: tensor<?x3xf32> {flambeau.role = "input", flambeau.name = "x", flambeau.dims = ["s0", 3]},
                   %w: tensor<3x3xf32> {flambeau.role = "parameter", flambeau.name = "fc.weight"},
                   %tied: tensor<3x3xf32> {flambeau.role = "parameter", flambeau.name = "fc.weight"},
                   %mask: tensor<3xui8> {flambeau.role = "buffer", flambeau.name = "mask"})
    -> (tensor<?x3xf32> {flambeau.output = 0 : i64}, tensor<3xui8> {flambeau.output = 1 : i64}) {
  %h = "flambeau.mm"(%x, %w) : (tensor<?x3xf32>, tensor<3x3xf32>) -> tensor<?x3xf32>
  %y = "flambeau.mm"(%h, %tied) : (tensor<?x3xf32>, tensor<3x3xf32>) -> tensor<?x3xf32>
  return %y, %mask : tensor<?x3xf32>, tensor<3xui8>
}

// -----

// A buffer that is updated is state: the new value goes to where the old one came from, and is no result.
// CHECK: "util.global"() {initial_value = #stream.parameter.named<"net"::"steps"> : tensor<i64>, is_mutable, sym_name = "net.steps"
// CHECK-LABEL: func.func @counts
// CHECK-SAME: (%[[X:[a-z0-9]+]]: !torch.vtensor<[2],f32>) -> !torch.vtensor<[2],f32>
// CHECK: %[[OLD:.*]] = "util.global.load"() {global = @net.steps}
// CHECK: %[[OLDT:.*]] = torch_c.from_builtin_tensor %[[OLD]]
// CHECK: %[[READ:.*]] = torch_c.to_builtin_tensor %[[OLDT]]
// CHECK: %[[SUM:.*]] = linalg.generic {{.*}} ins(%[[READ]] : tensor<i64>)
// CHECK: %[[NEW:.*]] = torch_c.from_builtin_tensor %[[SUM]]
// CHECK: %[[STORED:.*]] = torch_c.to_builtin_tensor %[[NEW]]
// CHECK: "util.global.store"(%[[STORED]]) {global = @net.steps} : (tensor<i64>) -> ()
// CHECK: return %[[X]] : !torch.vtensor<[2],f32>
func.func @counts(%x: tensor<2xf32>, %steps: tensor<i64> {flambeau.role = "buffer", flambeau.name = "steps"})
    -> (tensor<2xf32> {flambeau.output = 0 : i64}, tensor<i64> {flambeau.updates = 1 : i64}) {
  %new = "flambeau.add"(%steps, %steps) : (tensor<i64>, tensor<i64>) -> tensor<i64>
  return %x, %new : tensor<2xf32>, tensor<i64>
}

// -----

// What only a wrapper in the same process reads goes: the base that views share.
// CHECK-LABEL: func.func @views
// CHECK-SAME: -> !torch.vtensor<[2],f32>
func.func @views(%x: tensor<2xf32>) -> (tensor<2xf32> {flambeau.output = 0 : i64}, tensor<2xf32> {flambeau.base}) {
  %y = "flambeau.tanh"(%x) : (tensor<2xf32>) -> tensor<2xf32>
  // CHECK: math.tanh
  // CHECK: %[[Y:.*]] = torch_c.from_builtin_tensor
  // CHECK: return %[[Y]]
  return %y, %y : tensor<2xf32>, tensor<2xf32>
}
