//! `[audit]`.

use airssys_osl::audit::Durability;

use super::*;

#[test]
fn every_option_is_read() {
    let text = r#"
        [audit]
        durability = "durable"
        queue = "2MiB"
        queue_deadline = "3s"
        checkpoint_records = 7
        checkpoint_interval = "2s"
        segment = "1MiB"
        segment_age = "1h"
        key_interval = "10m"
        retention = { size = "1GiB", age = "30d", segments = 9 }
        denials = { burst = 5, per_second = 1 }
        redact = { below = "/home", names = ["*.pem"], actions = ["env.read"], key = "redact.key" }
        [audit.export.siem]
        to = "otlp"
        address = "127.0.0.1:4318"
        [audit.export.copy]
        to = "jsonl"
        file = "copy.jsonl"
        [audit.export.host]
        to = "syslog"
        [audit.anchor.far]
        to = "syslog"
        address = "192.0.2.1:514"
        every = "5m"
        [audit.anchor.near]
        to = "file"
        file = "anchors"
    "#;
    let audit = parse(&with(text)).unwrap().audit;
    assert_eq!(audit.options.durability, Durability::Durable);
    assert_eq!((audit.options.queue_bytes, audit.options.segment_bytes), (2 << 20, 1 << 20));
    assert_eq!(audit.options.retention.age, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!((audit.options.denials.burst, audit.options.retention.segments), (5, Some(9)));
    assert_eq!(audit.redact_key.unwrap().value, Path::new("/srv/system/redact.key"));
    let exports: Vec<_> = audit.exports.into_iter().map(|export| (export.name, export.to)).collect();
    let otlp =
        To::Otlp("127.0.0.1:4318".parse().unwrap(), "127.0.0.1:4318".to_owned(), "/v1/logs".to_owned());
    assert_eq!(
        exports,
        [
            ("siem".to_owned(), otlp),
            ("copy".to_owned(), To::File("/srv/system/copy.jsonl".into())),
            ("host".to_owned(), To::Syslog("/dev/log".into())),
        ]
    );
    let times: Vec<_> = audit.anchors.iter().map(|anchor| anchor.every.as_secs()).collect();
    assert_eq!(times, [300, 60]);
}

#[test]
fn what_is_wrong_with_it_is_told() {
    check(&with("[audit]\ndurability = \"forever\""), &[("forever", "\"none\" or \"batch\"", "")]);
    check(&with("[audit]\nsegment = \"0B\""), &[("0B", "must be a size", "")]);
    check(&with("[audit]\nredact = { below = \"home\" }"), &[("home", "must be absolute paths", "")]);
    check(&with("[audit]\nredact = { names = \"*a*\" }"), &[("*a*", "is no pattern", "one `*`")]);
    check(&with("[audit]\nredact = { actions = \"fs.raed\" }"), &[("fs.raed", "no action", "`fs.read`")]);
    check(&with("[audit.export.x]\nfile = \"y\""), &[("x", "`audit.export.x.to` is missing", "to =")]);
    check(&with("[audit.export.x]\nto = \"jsonl\""), &[("x", "`audit.export.x.file` is missing", "file =")]);
    let address = with("[audit.export.x]\nto = \"otlp\"\naddress = \"collector:4318\"");
    check(&address, &[("collector", "an address and a port", "")]);
    let unused = with("[audit.anchor.x]\nto = \"file\"\nfile = \"y\"\nsocket = \"z\"");
    check(&unused, &[("socket", "unknown key `socket` in `audit.anchor.x`", "")]);
}
