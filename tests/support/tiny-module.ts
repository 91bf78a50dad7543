/**
 * A model in model IR text: a stack of two kinds of layers, routed and dense copies, a tied head and a look-ahead module. Small
 * enough to be read, and not like any model of `specs`.
 */
export const TINY = `model @Tiny f32
dims { T = ?, S = ?, B = ?, V = 11, D = 4, N = 3, E = 5, K = 2, F = 6, A = 2 }
root @Tiny
forward @Tiny.forward
losses balance
ahead mtp forward @Ahead.forward readout @Ahead.readout embed embed @Embedding.forward head embed @Embedding.transposed
expect params.total == 4 * (200 + 13)
expect cache.bytes == 35 within 0.05

block @Tiny : Tiny {
  dims { V = V, D = D }
  use embed = block @Embedding forward
  use trunk = stack { 1 of @Layer, 2 of @Layer.2 }
  use norm = block @Norm forward
  use head = alias embed transposed
  use mtp = ahead 2 of @Ahead
}

block @Embedding : Embedding {
  dims { V = V, D = D }
  param weight: f32[V, D] = normal(0.02)
}

block @Norm : Norm {
  dims { D = D }
  param weight: f32[D] = 1
}

block @Attention : Attention {
  dims { D = D, N = N }
  param wq: f32[D, N] = normal(0.02)
  param wk: f32[D, N] = normal(0.02)
  param wo: f32[N, D] = normal(0.02)
  cache keys: f32[N] = 0
}

block @Layer : Layer {
  dims { D = D }
  use mixer = block @Attention forward
  use ffn = block @Mixture forward
}

block @Layer.2 : Layer {
  dims { D = D }
  use mixer = block @Attention forward
  use ffn = block @Moe forward
}

block @Mixture : Mixture {
  dims { D = D, A = A }
  param gate: f32[D, A] = normal(0.02)
  use experts = block @Expert forward over A
}

block @Moe : Moe, Base {
  dims { D = D, E = E, K = K }
  param gate: f32[D, E] = normal(0.02)
  state bias: f32[E] = 0
  use experts = block @Expert forward over E
  on step @Moe.on_step
}

block @Expert : Expert {
  dims { D = D, F = F }
  param up: f32[D, F] = uniform(0.5)
  param shift: f32[F] = 0
  param down: f32[F, D] = normal(0.02)
}

block @Ahead : Ahead {
  dims { D = D }
  param join: f32[D] = 1
  use layer = block @Layer.2 forward
}

fn @Tiny.forward(%0 tokens: i32[T], %1 pos: i32[T]) -> (%6) {
  %2: f32[T, D] = model.call %0 {count = 1, first = 0, fn = "Embedding.forward", use = "embed"}
  %3: f32[T, D] = model.call %2, %1 {count = 1, first = 0, fn = "Layer.forward", use = "trunk"}
  %4: f32[T, D] = model.call %3, %1 {count = 2, first = 1, fn = "Layer.2.forward", use = "trunk"}
  %5: f32[T, D] = model.call %4 {count = 1, first = 0, fn = "Norm.forward", use = "norm"}
  %6: f32[T, V] = model.call %5 {count = 1, first = 0, fn = "Embedding.transposed", use = "embed"}
}

fn @Embedding.forward(%0 tokens: i32[T]) -> (%2) {
  %1: f32[V, D] = model.param {name = "weight"}
  %2: f32[T, D] = tensor.gather %1, %0 {dim = "V"}
}

fn @Embedding.transposed(%0 x: f32[T, D]) -> (%2) {
  %1: f32[V, D] = model.param {name = "weight"}
  %2: f32[T, V] = tensor.contract %0, %1
}

fn @Norm.forward(%0 x: f32[T, D]) -> (%2) {
  %1: f32[D] = model.param {name = "weight"}
  %2: f32[T, D] = math.mul %0, %1
}

fn @Layer.forward(%0 x: f32[T, D], %1 pos: i32[T]) -> (%5) {
  %2: f32[T, D] = model.call %0, %1 {count = 1, first = 0, fn = "Attention.forward", use = "mixer"}
  %3 h: f32[T, D] = math.add %0, %2
  %4: f32[T, D] = model.call %3 {count = 1, first = 0, fn = "Mixture.forward", use = "ffn"}
  %5: f32[T, D] = math.add %3, %4
}

fn @Layer.2.forward(%0 x: f32[T, D], %1 pos: i32[T]) -> (%5) {
  %2: f32[T, D] = model.call %0, %1 {count = 1, first = 0, fn = "Attention.forward", use = "mixer"}
  %3 h: f32[T, D] = math.add %0, %2
  %4: f32[T, D] = model.call %3 {count = 1, first = 0, fn = "Moe.forward", use = "ffn"}
  %5: f32[T, D] = math.add %3, %4
}

fn @Attention.forward(%0 x: f32[T, D], %1 pos: i32[T]) -> (%17) {
  %2: f32[D, N] = model.param {name = "wk"}
  %3: f32[T, N] = tensor.contract %0, %2
  %4 k: f32[S, N] = cache.append %3 {at = "S", cache = "keys", from = "T"}
  %5: f32[D, N] = model.param {name = "wq"}
  %6 q: f32[T, N] = tensor.contract %0, %5
  %7: f32[T, S] = tensor.contract %6, %4
  %8: i32[S] = program.input {name = "key.pos"}
  %9: i32[S] = program.input {name = "key.seq"}
  %10: i32[T] = program.input {name = "seq"}
  %11: bool[T, S] = math.le %8, %1
  %12: bool[T, S] = math.eq %9, %10
  %13: bool[T, S] = math.and %11, %12
  %14: f32[T, S] = nn.softmax %7, %13 {dim = "S"}
  %15: f32[T, N] = tensor.contract %14, %4
  %16: f32[N, D] = model.param {name = "wo"}
  %17: f32[T, D] = tensor.contract %15, %16
}

fn @Mixture.forward(%0 x: f32[T, D]) -> (%5) {
  %1: f32[D, A] = model.param {name = "gate"}
  %2: f32[T, A] = tensor.contract %0, %1
  %3: f32[T, A] = nn.softmax %2 {dim = "A"}
  %4: f32[T, A, D] = model.call %0 {count = 1, first = 0, fn = "Expert.forward", over = "A", use = "experts"}
  %5: f32[T, D] = tensor.contract %3, %4
}

fn @Moe.forward(%0 x: f32[T, D]) -> (%18) {
  %1: f32[D, E] = model.param {name = "gate"}
  %2: f32[T, E] = tensor.contract %0, %1
  %3 affinity: f32[T, E] = math.sigmoid %2
  %4: f32[E] = model.state {name = "bias"}
  %5: f32[T, E] = math.add %3, %4
  %6 chosen: i32[T, K] = tensor.top_k %5 {dim = "E", to = "K"}
  %7: bool[T] = program.input {name = "live"}
  %8: f32[T] = tensor.cast %7
  %9 load: f32[E] = tensor.scatter_add %8, %6 {dim = "E"}
  metric.emit %9 {name = "load"}
  %10: f32[E] = tensor.contract %3, %8
  %11: f32[E] = math.mul %9, %10
  %12: f32 = tensor.reduce %11 {kind = "sum"}
  %13: f32 = tensor.reduce %8 {kind = "sum"}
  loss.term %12, %13 {name = "balance"}
  %14: f32[T, K] = tensor.gather %3, %6 {dim = "E"}
  %15: f32[T, K, D] = moe.dispatch %0, %6 {experts = "E", slot = "K"}
  %16: f32[T, K, D] = model.call %15, %6 {count = 1, first = 0, fn = "Expert.forward.2", over = "E", slot = "K", use = "experts"}
  %18: f32[T, D] = moe.combine %16, %14, %6 {experts = "E", slot = "K"}
}

fn @Moe.on_step() -> () {
  %0: f32[E] = model.metric {name = "load"}
  %1: f32[E] = model.state {name = "bias"}
  %2: f32 = program.input {name = "train.rate"}
  %3: f32[E] = math.mul %0, %2
  %4: f32[E] = math.sub %1, %3
  model.update %4 {name = "bias"}
}

fn @Expert.forward(%0 x: f32[T, D]) -> (%7) {
  %1: f32[D, F] = model.param {name = "up"}
  %2: f32[T, F] = tensor.contract %0, %1
  %3: f32[F] = model.param {name = "shift"}
  %4: f32[T, F] = math.add %2, %3
  %5: f32[T, F] = math.silu %4
  %6: f32[F, D] = model.param {name = "down"}
  %7: f32[T, D] = tensor.contract %5, %6
}

fn @Expert.forward.2(%0 x: f32[T, K, D]) -> (%7) {
  %1: f32[D, F] = model.param {name = "up"}
  %2: f32[T, K, F] = tensor.contract %0, %1
  %3: f32[F] = model.param {name = "shift"}
  %4: f32[T, K, F] = math.add %2, %3
  %5: f32[T, K, F] = math.silu %4
  %6: f32[F, D] = model.param {name = "down"}
  %7: f32[T, K, D] = tensor.contract %5, %6
}

fn @Ahead.forward(%0 h: f32[T, D], %1 e: f32[T, D], %2 pos: i32[T]) -> (%6) {
  %3: f32[D] = model.param {name = "join"}
  %4: f32[T, D] = math.mul %1, %3
  %5: f32[T, D] = math.add %0, %4
  %6: f32[T, D] = model.call %5, %2 {count = 1, first = 0, fn = "Layer.2.forward", use = "layer"}
}

fn @Ahead.readout(%0 y: f32[T, D]) -> (%0) {
}
`;
