//! An actor as text, which does what a test says where no fixture does.

use airssys_wasm::Component;

use crate::world::ENGINE;

/// Has its timer `tick` armed for a minute later.
pub(crate) const ARM: &str = "(call $arm)";

/// Sends the ledger `witness` its first number.
pub(crate) const TELL: &str = "(call $tell)";

/// Crashes.
pub(crate) const TRAP: &str = "(unreachable)";

/// An actor that does these things in its exports and answers nothing. Its state is empty.
pub(crate) fn actor(init: &str, handle: &str, snapshot: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (import "airssys:actor/types@0.1.0" (instance $types
                (type $m (record (field "sender" string) (field "subject" string) (field "payload" (list u8))))
                (export "message" (type (eq $m)))
                (type $r (enum "normal" "shutdown"))
                (export "exit-reason" (type (eq $r)))
                (type $e (variant (case "no-such-actor") (case "not-permitted") (case "too-large") (case "gone")
                    (case "timed-out") (case "no-reply")))
                (export "send-error" (type (eq $e)))
            ))
            (alias export $types "message" (type $message))
            (alias export $types "exit-reason" (type $exit))
            (alias export $types "send-error" (type $send-error))
            (import "airssys:actor/timers@0.1.0" (instance $timers
                (export "set" (func (param "name" string) (param "delay-ms" u64)))
            ))
            (import "airssys:actor/messaging@0.1.0" (instance $messaging
                (alias outer 1 $send-error (type $outer))
                (export "send-error" (type $error (eq $outer)))
                (export "send" (func (param "to" string) (param "subject" string) (param "payload" (list u8))
                    (result (result (error $error)))))
            ))
            (core module $memory
                (memory (export "memory") 1)
                (data (i32.const 16) "tick")
                (data (i32.const 32) "witness")
                (data (i32.const 48) "add")
                (data (i32.const 64) "0")
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192))
            )
            (core instance $m (instantiate $memory))
            (core func $set (canon lower (func $timers "set") (memory $m "memory")))
            (core func $send (canon lower (func $messaging "send") (memory $m "memory") (realloc (func $m "realloc"))))
            (core module $guest
                (import "" "set" (func $set (param i32 i32 i64)))
                (import "" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32)))
                (func $arm (call $set (i32.const 16) (i32.const 4) (i64.const 60000)))
                (func $tell (call $send (i32.const 32) (i32.const 7) (i32.const 48) (i32.const 3) (i32.const 64) (i32.const 1)
                    (i32.const 128)))
                (func (export "init") (param i32 i32) (result i32) {init} (i32.const 1024))
                (func (export "handle") (param i32 i32 i32 i32 i32 i32) (result i32) {handle} (i32.const 1024))
                (func (export "timer") (param i32 i32) (result i32) (i32.const 1024))
                (func (export "terminate") (param i32))
                (func (export "snapshot") (result i32) {snapshot} (i32.const 1024))
                (func (export "restore") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 1024))
            )
            (core instance $g (instantiate $guest (with "" (instance
                (export "set" (func $set))
                (export "send" (func $send))
            ))))
            (func $init (param "config" (list (tuple string string))) (result (result (error string)))
                (canon lift (core func $g "init") (memory $m "memory") (realloc (func $m "realloc"))))
            (func $handle (param "message" $message) (result (result (option (list u8)) (error string)))
                (canon lift (core func $g "handle") (memory $m "memory") (realloc (func $m "realloc"))))
            (func $timer (param "name" string) (result (result (error string)))
                (canon lift (core func $g "timer") (memory $m "memory") (realloc (func $m "realloc"))))
            (func $terminate (param "reason" $exit) (canon lift (core func $g "terminate")))
            (func $snapshot (result (result (list u8) (error string)))
                (canon lift (core func $g "snapshot") (memory $m "memory") (realloc (func $m "realloc"))))
            (func $restore (param "made-by" string) (param "taken-by" string) (param "snapshot" (list u8))
                (result (result (error string)))
                (canon lift (core func $g "restore") (memory $m "memory") (realloc (func $m "realloc"))))
            (instance $actor
                (export "init" (func $init))
                (export "handle-message" (func $handle))
                (export "handle-timer" (func $timer))
                (export "terminate" (func $terminate))
            )
            (export "airssys:actor/actor@0.1.0" (instance $actor))
            (instance $state (export "snapshot" (func $snapshot)) (export "restore" (func $restore)))
            (export "airssys:actor/state@0.1.0" (instance $state))
        )"#
    );
    wat::parse_str(text).unwrap()
}

pub(crate) async fn component(bytes: Vec<u8>) -> Component {
    Component::load(&ENGINE, bytes, None, || ()).await.unwrap().0
}
