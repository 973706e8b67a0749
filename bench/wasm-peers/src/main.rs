//! `wasm-peers [ROUNDS]`: a message and its reply on Extism, for `cargo xtask bench wasm`.

#[path = "../../src/osl/figures.rs"]
#[allow(dead_code, reason = "what is asked of engines of policy is there too")]
mod figures;

use std::time::Instant;

use extism::{Manifest, Plugin, Wasm};
use figures::{Failure, figure};

/// As many bytes and calls as of ours.
const SIZES: [(&str, usize, u32); 3] =
    [("message-64", 64, 3_000), ("message-4k", 4 << 10, 3_000), ("message-1m", 1 << 20, 20)];

const ROUNDS: usize = 15;

/// Copies its input to its own memory and from there to its output, eight bytes a call, as `extism_pdk` for Rust does.
const ECHO: &str = r#"(module
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u64" (func $input_load (param i64) (result i64)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u64" (func $store (param i64 i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (memory (export "memory") 32)
  (func (export "echo") (result i32) (local $len i64) (local $at i64) (local $out i64)
    (local.set $len (call $input_length))
    (loop $in
      (i64.store (i32.wrap_i64 (local.get $at)) (call $input_load (local.get $at)))
      (local.set $at (i64.add (local.get $at) (i64.const 8)))
      (br_if $in (i64.lt_u (local.get $at) (local.get $len))))
    (local.set $out (call $alloc (local.get $len)))
    (local.set $at (i64.const 0))
    (loop $back
      (call $store (i64.add (local.get $out) (local.get $at)) (i64.load (i32.wrap_i64 (local.get $at))))
      (local.set $at (i64.add (local.get $at) (i64.const 8)))
      (br_if $back (i64.lt_u (local.get $at) (local.get $len))))
    (call $output_set (local.get $out) (local.get $len))
    (i32.const 0)))"#;

fn main() -> Result<(), Failure> {
    let rounds = std::env::args().nth(1).map_or(Ok(ROUNDS), |rounds| rounds.parse())?;
    let manifest = Manifest::new([Wasm::data(wat::parse_str(ECHO)?)]);
    let mut plugin = Plugin::new(&manifest, [], false)?;
    for (measure, len, calls) in SIZES {
        let payload: Vec<u8> = (0..len).map(|number| number as u8).collect();
        let answer: Vec<u8> = plugin.call("echo", payload.as_slice())?;
        if answer != payload {
            return Err("an echo is not what was called".into());
        }
        let mut times: Vec<f64> = Vec::new();
        for _ in 0..rounds.max(1) {
            let start = Instant::now();
            for _ in 0..calls {
                let answer: Vec<u8> = plugin.call("echo", payload.as_slice())?;
                std::hint::black_box(answer);
            }
            times.push(start.elapsed().as_nanos() as f64 / f64::from(calls));
        }
        times.sort_by(f64::total_cmp);
        figure(measure, "extism", times.get(times.len() / 2).copied().unwrap_or(f64::NAN));
    }
    Ok(())
}
